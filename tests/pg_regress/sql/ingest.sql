-- Guards the door: bad input gets a clear error and stores nothing; keys and file contents are cut;
-- what PostgreSQL or Rust cannot hold is taken all the same; a second delivery acts no second time.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');

-- Not an object, no event, no instance.
SELECT * FROM story.error_of($$SELECT whaply.ingest('[1]')$$);
SELECT * FROM story.error_of($$SELECT whaply.ingest('"text"')$$);
SELECT * FROM story.error_of($$SELECT whaply.ingest('{"instance":"loja","data":{}}')$$);
SELECT * FROM story.error_of($$SELECT whaply.ingest('{"event":" ","instance":"loja"}')$$);
SELECT * FROM story.error_of($$SELECT whaply.ingest('{"event":"messages.upsert","data":{}}')$$);
SELECT * FROM story.error_of($$SELECT whaply.ingest('{"event":"messages.upsert","instance":7}')$$);

-- No message id, in each event that must have one; no chat; a list in place of a message.
SELECT event, error.*
  FROM unnest('{messages.upsert,send.message,messages.edited,messages.delete}'::text[]) AS event,
       LATERAL story.error_of(format('SELECT whaply.ingest(%L)',
               story.webhook(event, '{"key":{"remoteJid":"5511999990001@s.whatsapp.net"}}'))) AS error
 ORDER BY event;
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)', story.webhook('messages.upsert', '{"key":{"id":"A"}}')));
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)',
    story.webhook('messages.upsert', '[{"key":{"id":"A"}},{"key":{"id":"B"}}]')));

-- Identifiers that no column holds: 256 characters, one too many.
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)', story.message(repeat('A', 256))));
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)',
    story.message('A', jid => repeat('1', 241) || '@s.whatsapp.net')));
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)', story.message('A', instance => repeat('l', 256))));

-- An unknown instance, names have their case; NULL; nested too deeply.
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)', story.message('A', instance => 'LOJA')));
SELECT * FROM story.error_of('SELECT whaply.ingest(NULL)');
SELECT * FROM story.error_of(format('SELECT whaply.ingest(%L)',
    story.message('A', content => (repeat('[', 200) || repeat(']', 200))::jsonb)));

SELECT * FROM story.rows();

-- An event nobody knows is no error, and neither is one that says nothing.
SELECT whaply.ingest(story.webhook('something.new', '{"id":1}')) - 'tenant_id' AS unknown_event;
SELECT whaply.ingest(story.webhook('messages.update', '{}')) ->> 'action' AS receipt_of_nothing;
SELECT whaply.ingest(story.webhook('messages.upsert', NULL) - 'data' || '{"event":"call"}') ->> 'action' AS no_data;
SELECT * FROM story.rows();

-- The same event in another spelling is the same event; answered as the first was.
SELECT whaply.ingest(story.message('A1')) - 'tenant_id' - 'reply_id' AS first;
SELECT whaply.ingest(story.message('A1', event => 'MESSAGES_UPSERT')) ->> 'action' AS action,
       whaply.ingest(story.message('A1', event => 'messages-upsert')) ->> 'duplicate' AS duplicate;
SELECT message_id, event_type, action_taken FROM whaply.processed_events ORDER BY id;
SELECT * FROM story.rows();

-- The ids of the answer name the tenant and the reply, which is the one of the message before.
SELECT whaply.ingest(story.message('A2', 'E o preço?')) AS answer \gset
SELECT t.instance_name, r.chat_id, r.state, r.wanted
  FROM jsonb_to_record(:'answer') AS answer (tenant_id integer, reply_id bigint)
  JOIN whaply.tenants t ON t.id = answer.tenant_id
  JOIN whaply.replies r ON r.id = answer.reply_id AND r.tenant_id = t.id;

-- What is stored of a message.
SELECT chat_id, message_id, from_me, message_type, text, sender, status,
       sent_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS has_its_time, raw ->> 'event' AS event
  FROM whaply.messages ORDER BY id;
-- A time ahead of the server's clock becomes the clock's.
SELECT whaply.ingest(story.message('A3', age => '-1 hour')) ->> 'action' AS action;
SELECT sent_at <= clock_timestamp() AS is_past FROM whaply.messages WHERE message_id = 'A3';

-- A key is cut wherever it stands, file contents keep their length, all else stays.
SELECT whaply.ingest(story.message('B1', type => 'imageMessage', content => '{
    "imageMessage": {"caption": "Tem esse?", "mimetype": "image/jpeg", "jpegThumbnail": {"0": 255, "1": 216},
                     "contextInfo": {"quotedMessage": {"imageMessage": {"jpegThumbnail": "/9j/4AAQ"}}}},
    "base64": "aGVsbG8="}') || '{"apikey": "secret-1", "extra": {"ApiKey": "secret-2", "kept": 1}}') ->> 'action' AS action;
SELECT text, raw #> '{data,message}' AS message, raw -> 'extra' AS extra, raw ? 'apikey' AS has_key,
       raw::text LIKE '%secret%' AS has_secret
  FROM whaply.messages WHERE message_id = 'B1';

-- messageType is cut to its column.
SELECT whaply.ingest(story.message('B2', type => repeat('é', 60))) ->> 'action' AS action;
SELECT message_type = repeat('é', 50) AS is_cut FROM whaply.messages WHERE message_id = 'B2';

-- A number that no float holds; a NUL and half a surrogate pair, which jsonb refuses and json takes.
SELECT whaply.ingest(story.message('C1') || '{"odd": 1e400}') ->> 'action' AS action;
SELECT (raw ->> 'odd')::numeric = 1e400 AS is_kept FROM whaply.messages WHERE message_id = 'C1';
SELECT code FROM story.error_of($$SELECT whaply.ingest('{"event":"call","instance":"loja","data":"\u0000"}')$$);
SET LOCAL whaply.require_secret = off;
SELECT whaply.webhook(replace(replace(story.message('C2', 'a<NUL>b<HALF>c')::text,
                              '<NUL>', '\u0000'), '<HALF>', '\ud83d')::json) ->> 'action' AS action;
SELECT text = E'ab\uFFFDc' AS is_mended, raw #>> '{data,message,conversation}' = text AS is_mended_in_raw
  FROM whaply.messages WHERE message_id = 'C2';
SELECT * FROM story.error_of(format('SELECT whaply.webhook(%L)', repeat('[', 200) || repeat(']', 200)));

-- The webhook is one transaction: what comes after it takes it back.
SAVEPOINT before;
SELECT whaply.ingest(story.message('D1', jid => '5511999990009@s.whatsapp.net')) ->> 'action' AS action;
ROLLBACK TO before;
SELECT story.session('5511999990009@s.whatsapp.net'), count(*) FROM whaply.messages WHERE message_id = 'D1';

ROLLBACK;
