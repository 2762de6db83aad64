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

CREATE VIEW whaply.unanswered_chats AS
SELECT t.instance_name, s.chat_id, s.contact_name, s.is_paused, s.pause_reason, q.asked_at, now() - q.asked_at AS waiting_for,
       q.text
  FROM whaply.sessions s
  JOIN whaply.tenants t ON t.id = s.tenant_id
  CROSS JOIN LATERAL (
       SELECT m.sent_at AS asked_at, m.text, m.sender, m.message_id, m.tenant_id
         FROM whaply.messages m
        WHERE m.tenant_id = s.tenant_id AND m.chat_id = s.chat_id AND m.sender IS NOT NULL
          AND m.deleted_at IS NULL
        ORDER BY m.sent_at DESC, m.id DESC LIMIT 1) AS q
  JOIN whaply.processed_events e
    ON e.tenant_id = q.tenant_id AND e.message_id = q.message_id AND e.event_type = 'messages.upsert'
 WHERE q.sender = 'customer'
   AND e.action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode')
   AND NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
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
SELECT t.instance_name, 'secret', 'the tenant has no webhook_secret: its webhooks are refused',
       'UPDATE whaply.tenants SET webhook_secret = ...; or ALTER SYSTEM SET whaply.require_secret = off and reload'
  FROM whaply.tenants t WHERE t.webhook_secret IS NULL;
