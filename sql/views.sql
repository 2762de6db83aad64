-- What an operator asks. Views never show a key, a secret or a payload.

CREATE VIEW whaply.recent_activity AS
SELECT pe.processed_at, t.instance_name, m.chat_id, pe.message_id, pe.event_type, pe.action_taken, m.sender, m.text
  FROM whaply.processed_events pe
  JOIN whaply.tenants t ON t.id = pe.tenant_id
  LEFT JOIN whaply.messages m ON m.tenant_id = pe.tenant_id AND m.message_id = pe.message_id
 ORDER BY pe.id DESC;

CREATE VIEW whaply.resumable_sessions AS
SELECT s.id, t.instance_name, s.chat_id, s.pause_reason, s.last_human_at, now() - s.last_human_at AS idle_duration
  FROM whaply.sessions s
  JOIN whaply.tenants t ON t.id = s.tenant_id
 WHERE s.is_paused = true
   AND (s.paused_until <= now()
        OR (s.paused_until IS NULL
            AND (s.pause_reason IS NULL OR s.pause_reason IN ('human_takeover', 'other_sender'))
            AND s.last_human_at < now() - coalesce(t.auto_resume_after,
                                                   current_setting('whaply.auto_resume_after', true)::interval,
                                                   interval '2 hours')))
 ORDER BY s.last_human_at;

-- The few events that left a question without an answer.
CREATE INDEX idx_processed_events_unanswered ON whaply.processed_events (tenant_id, message_id)
    WHERE event_type = 'messages.upsert'
      AND action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode', 'ignored_unverified');

-- Who waits: the customer's questions after the last word of the business that nobody answers. A
-- fallback text and the parts of a reply that did not come to its end are no answer to them.
-- It goes out from the questions, since nearly every chat has none.
CREATE VIEW whaply.unanswered_chats AS
SELECT t.instance_name, s.chat_id, s.contact_name, s.is_paused, s.pause_reason, q.asked_at, now() - q.asked_at AS waiting_for,
       first.text, q.questions
  FROM whaply.tenants t
 CROSS JOIN LATERAL (
       SELECT coalesce(a.chat_id, m.chat_id) AS chat_id, array_agg(m.sent_at) AS times, array_agg(m.id) AS ids
         FROM whaply.processed_events e
         JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id
         LEFT JOIN whaply.chat_aliases a ON a.tenant_id = m.tenant_id AND a.jid = m.chat_id
        WHERE e.tenant_id = t.id AND e.event_type = 'messages.upsert'
          AND e.action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode',
                                 'ignored_unverified')
          AND m.sender IN ('customer', 'unverified') AND m.deleted_at IS NULL
        GROUP BY coalesce(a.chat_id, m.chat_id)) AS asked
  JOIN whaply.sessions s ON s.tenant_id = t.id AND s.chat_id = asked.chat_id
  CROSS JOIN LATERAL (
       SELECT array_agg(a.jid) || s.chat_id AS jids
         FROM whaply.chat_aliases a
        WHERE a.tenant_id = s.tenant_id AND a.chat_id = s.chat_id) AS names
  LEFT JOIN LATERAL (
       SELECT newest.sent_at, newest.id
         FROM unnest(names.jids) AS name (jid)
        CROSS JOIN LATERAL (
              SELECT m.sent_at, m.id
                FROM whaply.messages m
               WHERE m.tenant_id = s.tenant_id AND m.chat_id = name.jid
                 AND m.sender IN ('assistant', 'owner', 'operator', 'other') AND m.deleted_at IS NULL
                 AND NOT (m.sender = 'assistant' AND EXISTS (
                     SELECT FROM whaply.deliveries d LEFT JOIN whaply.replies r ON r.id = d.reply_id
                      WHERE d.tenant_id = m.tenant_id AND d.message_id = m.message_id
                        AND (d.kind = 'fallback' OR (d.kind = 'reply' AND r.state IN ('failed', 'cancelled')))))
               ORDER BY m.sent_at DESC, m.id DESC LIMIT 1) AS newest
        ORDER BY newest.sent_at DESC, newest.id DESC LIMIT 1) AS said ON true
  CROSS JOIN LATERAL (
       SELECT min(question.sent_at) AS asked_at, (array_agg(question.id ORDER BY question.sent_at, question.id))[1] AS first_id,
              count(*) AS questions
         FROM unnest(asked.times, asked.ids) AS question (sent_at, id)
        WHERE said.id IS NULL OR (question.sent_at, question.id) > (said.sent_at, said.id)) AS q
  JOIN whaply.messages first ON first.id = q.first_id
   -- A chat that was found to be another one is listed under that one's name.
 WHERE NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
   -- The assistant is about to answer, and it reads the chat.
   AND NOT EXISTS (SELECT FROM whaply.replies r
                    WHERE r.tenant_id = s.tenant_id AND r.chat_id = s.chat_id
                      AND r.state IN ('waiting', 'generating', 'sending'))
 ORDER BY q.asked_at;

CREATE VIEW whaply.tenant_stats AS
SELECT t.instance_name,
       count(*) FILTER (WHERE m.from_me = false) AS inbound_count,
       count(*) FILTER (WHERE m.from_me = true) AS outbound_count,
       count(*) FILTER (WHERE m.sender = 'assistant') AS assistant_count,
       count(m.id) AS total_count
  FROM whaply.tenants t
  LEFT JOIN whaply.messages m ON m.tenant_id = t.id AND m.created_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
 ORDER BY total_count DESC, t.instance_name;

-- For the days below. Replies end nearly in the order of their rows.
CREATE INDEX idx_replies_finished_at ON whaply.replies USING brin (finished_at) WITH (autosummarize = on);

-- The last 31 days of each tenant, by the calendar of its own timezone. A message counts on the day on
-- which it came, a reply or a failure on the day on which it ended.
CREATE VIEW whaply.tenant_stats_daily AS
WITH zones AS MATERIALIZED (
    SELECT z.name FROM pg_timezone_names z),
clocks AS MATERIALIZED (
    -- A name that this server does not know counts as UTC, as in the prompt.
    SELECT t.id AS tenant_id, t.instance_name, coalesce(z.name, 'UTC') AS zone
      FROM whaply.tenants t
      LEFT JOIN zones z ON z.name = coalesce(t.timezone, current_setting('whaply.timezone', true))),
said AS (
    SELECT m.tenant_id, (m.created_at AT TIME ZONE c.zone)::date AS day,
           count(*) FILTER (WHERE NOT m.from_me) AS inbound_count,
           count(*) FILTER (WHERE m.from_me) AS outbound_count,
           count(*) FILTER (WHERE m.sender = 'assistant') AS assistant_count,
           count(*) AS total_count
      FROM whaply.messages m JOIN clocks c USING (tenant_id)
     WHERE m.created_at > now() - interval '33 days'
     GROUP BY 1, 2),
answered AS (
    SELECT r.tenant_id, (r.finished_at AT TIME ZONE c.zone)::date AS day,
           count(*) FILTER (WHERE r.state = 'sent') AS reply_count,
           count(*) FILTER (WHERE r.state = 'failed') AS failed,
           sum(r.input_tokens) AS input_tokens,
           sum(r.output_tokens) AS output_tokens,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY r.finished_at - r.first_sent_at)
               FILTER (WHERE r.state = 'sent') AS latencies
      FROM whaply.replies r JOIN clocks c USING (tenant_id)
     WHERE r.finished_at > now() - interval '33 days'
     GROUP BY 1, 2),
-- What failed with its reply is counted there.
undelivered AS (
    SELECT d.tenant_id, (d.finished_at AT TIME ZONE c.zone)::date AS day, count(*) AS failed
      FROM whaply.deliveries d JOIN clocks c USING (tenant_id) LEFT JOIN whaply.replies r ON r.id = d.reply_id
     WHERE d.state = 'failed' AND d.finished_at > now() - interval '33 days' AND r.state IS DISTINCT FROM 'failed'
     GROUP BY 1, 2)
SELECT c.instance_name, day,
       coalesce(said.inbound_count, 0) AS inbound_count,
       coalesce(said.outbound_count, 0) AS outbound_count,
       coalesce(said.assistant_count, 0) AS assistant_count,
       coalesce(said.total_count, 0) AS total_count,
       coalesce(answered.reply_count, 0) AS reply_count,
       coalesce(answered.failed, 0) + coalesce(undelivered.failed, 0) AS error_count,
       coalesce(answered.input_tokens, 0) AS input_tokens,
       coalesce(answered.output_tokens, 0) AS output_tokens,
       answered.latencies[1] AS latency_p50,
       answered.latencies[2] AS latency_p95
  FROM said FULL JOIN answered USING (tenant_id, day) FULL JOIN undelivered USING (tenant_id, day)
  JOIN clocks c USING (tenant_id)
 WHERE day > (now() AT TIME ZONE c.zone)::date - 31
 ORDER BY day DESC, c.instance_name;

CREATE VIEW whaply.reply_queue AS
SELECT r.id, t.instance_name, r.chat_id, r.state, r.due_at, r.attempt, r.deferrals, r.error,
       count(d.id) FILTER (WHERE d.state = 'sent') AS parts_sent,
       count(d.id) AS parts
  FROM whaply.replies r
  JOIN whaply.tenants t ON t.id = r.tenant_id
  LEFT JOIN whaply.deliveries d ON d.reply_id = r.id
 WHERE r.state IN ('waiting', 'generating', 'sending')
 GROUP BY r.id, t.instance_name
 ORDER BY r.due_at, r.id;

CREATE VIEW whaply.failed_replies AS
SELECT r.id, t.instance_name, r.chat_id, r.finished_at, r.attempt, r.provider, r.model, r.error
  FROM whaply.replies r
  JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.state = 'failed'
 ORDER BY r.finished_at DESC;

-- Every setting of the tenants; of a key only whether it is set, or where it comes from.
CREATE VIEW whaply.tenant_settings AS
SELECT t.id, t.instance_name, k.evo_server_url, k.evo_api_key, t.system_prompt, t.llm_provider, t.created_at, t.updated_at,
       t.mode, t.test_chats, k.llm_base_url, t.llm_model, k.llm_api_key, t.max_tokens, t.history_limit, t.max_in_flight,
       t.debounce, t.debounce_max, t.auto_resume_after, t.age_limit, t.reply_expiry, t.on_failure, t.on_other_sender,
       t.on_uncertain, t.fallback_text, k.webhook_secret, t.timezone, t.auto_reply_texts, t.groups, t.connection_state,
       t.home, t.answers_per_chat, t.answers_per_tenant, t.answer_window, t.resume_word, t.hold_word,
       t.answer_after_pause, t.on_unverified, t.own_lids, k.webhook_secret_before, t.webhook_secret_changed_at,
       k.webhook_jwt_key
  FROM whaply.tenants t
  JOIN whaply.masked_keys() k ON k.tenant_id = t.id
 ORDER BY t.instance_name;

-- What connect_instance was asked for, the newest first. A QR code is there until it was scanned.
CREATE VIEW whaply.instance_requests AS
SELECT r.id, t.instance_name, r.state, r.error, whaply.draw_qr(c.qr_code) AS qr, c.pairing_code, r.qr_at,
       r.created_at, r.updated_at, r.finished_at
  FROM whaply.connect_requests r
  JOIN whaply.tenants t ON t.id = r.tenant_id
  LEFT JOIN whaply.shown_codes() c ON c.request_id = r.id
 ORDER BY r.id DESC;
