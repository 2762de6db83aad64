-- wrk's load: messages of customers, each with an id of its own, chats and ids at random. Its arguments:
-- a file of chats (instance, secret, the body before and after the id; by tab), the number of the run, and
-- after how many messages the same ids come again (0: never). It never looks at what is answered.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("lane", threads)
end

function init(arguments)
  run, repeat_after = tonumber(arguments[2]), tonumber(arguments[3])
  before, after = {}, {}
  for line in io.lines(arguments[1]) do
    local instance, secret, head, tail = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$")
    local headers = "POST /webhook HTTP/1.1\r\nHost: " .. wrk.host .. "\r\nContent-Type: application/json\r\n" ..
      "x-whaply-secret: " .. secret .. "\r\nContent-Length: " .. (#head + 32 + #tail) .. "\r\n\r\n"
    before[#before + 1], after[#after + 1] = headers .. head, tail
  end
  start_over()
end

-- The same run and lane make the same messages again.
function start_over()
  sent = 0
  math.randomseed(run * 256 + lane)
end

function request()
  if repeat_after > 0 and sent >= repeat_after then start_over() end
  sent = sent + 1
  local chat = math.random(#before)
  -- What makes it unique comes last: real ids have no order, and meet the indexes as strangers.
  local id = string.format("AC%08X%08X%02X%04X3F7A91C5", math.random(0, 0xffffffff), sent, lane, run)
  return before[chat] .. id .. after[chat]
end

function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format("RESULT %d %d %d %d\n", summary.requests, summary.duration, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout))
end
