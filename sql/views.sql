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

-- Who waits: the customer's questions after the last word of the business that nobody answers. A
-- fallback text and the parts of a reply that did not come to its end are no answer to them.
CREATE VIEW whaply.unanswered_chats AS
SELECT t.instance_name, s.chat_id, s.contact_name, s.is_paused, s.pause_reason, q.asked_at, now() - q.asked_at AS waiting_for,
       q.text, q.questions
  FROM whaply.sessions s
  JOIN whaply.tenants t ON t.id = s.tenant_id
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
       SELECT min(m.sent_at) AS asked_at, (array_agg(m.text ORDER BY m.sent_at, m.id))[1] AS text, count(*) AS questions
         FROM whaply.messages m
         JOIN whaply.processed_events e
           ON e.tenant_id = m.tenant_id AND e.message_id = m.message_id AND e.event_type = 'messages.upsert'
        WHERE m.tenant_id = s.tenant_id AND m.chat_id = ANY (names.jids)
          AND m.sender IN ('customer', 'unverified') AND m.deleted_at IS NULL
          AND e.action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode',
                                 'ignored_unverified')
          AND m.sent_at >= coalesce(said.sent_at, '-infinity')
          AND (said.id IS NULL OR (m.sent_at, m.id) > (said.sent_at, said.id))) AS q
 WHERE q.questions > 0
   -- A question is known as long as its event is kept: nobody has asked in a chat that did not change since
   -- the oldest of them. What may be of another chat changes none.
   AND (s.updated_at >= (SELECT e.processed_at - interval '1 hour' FROM whaply.processed_events e ORDER BY e.id LIMIT 1)
        OR (s.tenant_id, s.chat_id) IN (
            SELECT u.tenant_id, coalesce(a.chat_id, u.chat_id)
              FROM whaply.messages u LEFT JOIN whaply.chat_aliases a ON a.tenant_id = u.tenant_id AND a.jid = u.chat_id
             WHERE u.sender = 'unverified'))
   -- A chat that was found to be another one is listed under that one's name.
   AND NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
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

-- One row for each thing that needs a person; no row is good news.
CREATE VIEW whaply.health AS
SELECT NULL::varchar AS instance_name, 'worker' AS subject, 'no reply worker runs in this database' AS problem,
       'SELECT whaply.start_worker(); or set shared_preload_libraries = ''whaply''' AS what_to_do
 WHERE NOT pg_is_in_recovery() AND (whaply.worker_status() ->> 'pid') IS NULL
UNION ALL
SELECT NULL, 'worker', 'the setting whaply.worker is off: nothing is answered or sent',
       'ALTER SYSTEM SET whaply.worker = on; SELECT pg_reload_conf()'
 WHERE NOT coalesce(current_setting('whaply.worker', true)::boolean, true)
UNION ALL
SELECT t.instance_name, 'home', 'this database is a copy: the tenant is served elsewhere, nothing is sent from here',
       'SELECT whaply.adopt_tenants(); in the one database that shall speak'
  FROM whaply.tenants t WHERE t.home IS DISTINCT FROM whaply.home_id()
UNION ALL
SELECT t.instance_name, 'line', 'the WhatsApp line is ' || t.connection_state || ': answers wait',
       'scan the QR code of the instance in Evolution'
  FROM whaply.tenants t WHERE t.connection_state <> 'open'
UNION ALL
SELECT t.instance_name, 'replies', count(*) || ' replies failed in the last 24 hours, the last: ' ||
       (array_agg(coalesce(r.error, '?') ORDER BY r.finished_at DESC))[1],
       'SELECT * FROM whaply.failed_replies; then SELECT whaply.retry_replies(instance_name, since)'
  FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.state = 'failed' AND r.finished_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'deliveries', 'a message to ' || d.chat_id || ' is ' || d.state || ': ' || coalesce(d.error, '?'),
       'look at the chat; SELECT whaply.send_message(...) if it is not there'
  FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id
 WHERE d.state = 'uncertain' OR (d.state = 'failed' AND d.finished_at > now() - interval '24 hours')
UNION ALL
SELECT t.instance_name, 'loop', count(*) || ' chats are paused: more answers than answers_per_chat or answers_per_tenant allow; '
       || 'perhaps a machine is on the other side',
       'SELECT * FROM whaply.sessions WHERE pause_reason = ''loop_guard''; they resume by themselves at paused_until'
  FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id
 WHERE s.is_paused AND s.pause_reason = 'loop_guard' AND s.paused_until > now()
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'unverified', count(*) || ' messages of the last 24 hours may stand in the wrong chat and got no answer: '
       || 'several customers wrote at once, and the Cloud API did not prove whose they are',
       'read them: SELECT * FROM whaply.messages WHERE sender = ''unverified''; '
       || 'UPDATE whaply.tenants SET on_unverified = ''answer'' trusts them'
  FROM whaply.messages m JOIN whaply.tenants t ON t.id = m.tenant_id
 WHERE m.sender = 'unverified' AND m.created_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'greeting', 'the owner''s words "' || left(w.text, 60) || CASE WHEN length(w.text) > 60 THEN '…' ELSE '' END
       || '" came within 10 s in ' || w.chats || ' chats: are they WhatsApp Business''s own message?',
       format('if so: UPDATE whaply.tenants SET auto_reply_texts = array_append(auto_reply_texts, %L) WHERE instance_name = %L',
              w.text, t.instance_name)
  FROM (SELECT DISTINCT n.tenant_id, n.text FROM whaply.messages n
         WHERE n.sender = 'owner' AND n.text IS NOT NULL AND n.created_at > now() - interval '24 hours') AS said
  JOIN whaply.tenants t ON t.id = said.tenant_id
  CROSS JOIN LATERAL (
       SELECT said.text, count(DISTINCT coalesce(a.chat_id, o.chat_id)) AS chats
         FROM whaply.messages o
         LEFT JOIN whaply.chat_aliases a ON a.tenant_id = o.tenant_id AND a.jid = o.chat_id
        WHERE o.tenant_id = said.tenant_id AND o.sender = 'owner' AND md5(o.text) = md5(said.text) AND o.text = said.text
          AND o.created_at > now() - interval '30 days'
          AND EXISTS (SELECT FROM whaply.messages c
                       WHERE c.tenant_id = o.tenant_id AND c.chat_id = o.chat_id
                         AND c.sender IN ('customer', 'assistant', 'operator')
                         AND c.sent_at BETWEEN o.sent_at - interval '10 seconds' AND o.sent_at)) AS w
 WHERE w.chats > 1
   AND NOT EXISTS (SELECT FROM unnest(t.auto_reply_texts) AS known (text) WHERE btrim(known.text) = btrim(w.text))
UNION ALL
SELECT t.instance_name, 'webhooks', r.refused || CASE r.refused WHEN 1 THEN ' post was' ELSE ' posts were' END
       || ' refused since ' || to_char(r.first_at, 'YYYY-MM-DD HH24:MI') || ', the last at '
       || to_char(r.last_at, 'YYYY-MM-DD HH24:MI') || ': ' || r.reason,
       CASE r.reason
       WHEN 'unknown_instance' THEN 'INSERT INTO whaply.tenants (instance_name, ...): no tenant has the instance that was named, '
            || 'or delete the webhook in Evolution'
       WHEN 'too_large' THEN CASE WHEN t.id IS NULL
            THEN 'end the webhook''s URL with /webhook/INSTANCE, which tells whose it is; and switch off the option base64'
            ELSE format('switch off the option base64 of the webhook of instance %L in Evolution, and restart the instance',
                        t.instance_name) END
       WHEN 'invalid' THEN 'see what posts there: it is not an event of Evolution API'
       WHEN 'too_fast' THEN 'Evolution repeats them, nothing is lost; if it is no fault there, raise whaply.webhook_rate'
       WHEN 'expired_token' THEN format('compare the clocks of Evolution''s machine and of this one; or enter the secret in place of '
                                        || 'jwt_key: SELECT whaply.webhook_settings(%L)', t.instance_name)
       ELSE format('enter the header in the webhook of the instance in Evolution: SELECT whaply.webhook_settings(%L); '
                   || 'if it is there, somebody else posts', t.instance_name) END
  FROM whaply.refused_webhooks r LEFT JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.last_at > now() - interval '24 hours'
UNION ALL
SELECT t.instance_name, 'secret', 'the tenant has no webhook_secret: its webhooks are refused',
       'UPDATE whaply.tenants SET webhook_secret = ...; or ALTER SYSTEM SET whaply.require_secret = off and reload'
  FROM whaply.tenants t JOIN whaply.masked_keys() k ON k.tenant_id = t.id
 WHERE k.webhook_secret IS NULL AND k.webhook_jwt_key IS NULL
UNION ALL
SELECT NULL, 'role', 'the role whaply_worker is missing: nothing is answered, sent or stored',
       'ALTER ROLE ... RENAME TO whaply_worker, if it was renamed'
 WHERE to_regrole('whaply_worker') IS NULL;
