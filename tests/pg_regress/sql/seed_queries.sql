-- Guards that every published query runs unchanged under this search_path. Two of them name the
-- schema 'public'; they run with 'whaply' in its place and must find the four tables.
-- What holds ids or the time of today goes to /dev/null, or to a table of which less is printed.

BEGIN;
SET search_path TO whaply;

-- Verify tables created.
CREATE TEMP TABLE found AS
SELECT table_name
FROM information_schema.tables
WHERE table_schema = 'whaply'
  AND table_name IN ('tenants', 'sessions', 'messages', 'processed_events');
SELECT table_name FROM found ORDER BY table_name;

-- Insert test tenant: RETURNING shows a random secret.
\o /dev/null
INSERT INTO tenants (instance_name, evo_server_url, system_prompt, llm_provider)
VALUES (
    'demo-instance',
    'https://your-evolution-api.com',
    'You are a helpful WhatsApp assistant. Be professional and friendly.',
    'anthropic'
)
RETURNING *;
\o
\echo :ROW_COUNT returned
SELECT id AS demo FROM tenants WHERE instance_name = 'demo-instance' \gset
SELECT instance_name, evo_server_url, evo_api_key, system_prompt, llm_provider,
       created_at = now() AS is_new, updated_at = now() AS is_unchanged, mode, length(webhook_secret) AS secret
  FROM tenants;

-- A second tenant, and a day of messages, events and pauses. Where the query reads no clock the
-- times are fixed.
INSERT INTO tenants (instance_name, evo_server_url) VALUES ('other-instance', 'https://other.example.com')
RETURNING id AS other \gset
INSERT INTO sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at) VALUES
    (:demo, '5511999990001@s.whatsapp.net', true, 'human_takeover', now() - interval '3 hours'),
    (:demo, '5511999990002@s.whatsapp.net', true, 'human_takeover', now() - interval '1 hour'),
    (:demo, '5511999990003@s.whatsapp.net', false, NULL, now() - interval '9 hours'),
    (:other, '5511999990004@s.whatsapp.net', true, 'human_takeover', now() - interval '5 hours');
INSERT INTO messages (tenant_id, chat_id, message_id, from_me, message_type, text, raw, created_at) VALUES
    (:demo, '5511999990001@s.whatsapp.net', 'A1', false, 'conversation', 'Oi', '{}', now() - interval '1 hour'),
    (:demo, '5511999990001@s.whatsapp.net', 'A2', false, 'conversation', 'Tem?', '{}', now() - interval '1 hour'),
    (:demo, '5511999990001@s.whatsapp.net', 'A3', true, 'conversation', 'Tem sim', '{}', now() - interval '50 minutes'),
    (:demo, '5511999990001@s.whatsapp.net', 'A4', false, 'conversation', 'yesterday', '{}', now() - interval '25 hours'),
    (:demo, '5511999990001@s.whatsapp.net', 'A5', true, 'conversation', 'last season', '{}', now() - interval '91 days'),
    (:other, '5511999990004@s.whatsapp.net', 'A1', true, 'conversation', 'Ola', '{}', now() - interval '2 hours');
INSERT INTO processed_events (tenant_id, message_id, event_type, action_taken, processed_at) VALUES
    (:demo, 'A1', 'messages.upsert', 'ai_replied', '2025-10-21 14:00:00+00'),
    (:demo, 'A3', 'send.message', 'own_echo', '2025-10-21 14:00:07+00'),
    (:other, 'A1', 'messages.upsert', 'paused', '2025-10-21 14:00:05+00');

-- Check for duplicate events: no rows.
SELECT
    tenant_id,
    message_id,
    event_type,
    COUNT(*) as count
FROM processed_events
GROUP BY tenant_id, message_id, event_type
HAVING COUNT(*) > 1;

-- View recent activity.
SELECT
    pe.processed_at,
    t.instance_name,
    pe.message_id,
    pe.event_type,
    pe.action_taken
FROM processed_events pe
JOIN tenants t ON pe.tenant_id = t.id
ORDER BY pe.processed_at DESC
LIMIT 50;

-- Find paused sessions ready for auto-resume.
CREATE TEMP TABLE ready AS
SELECT
    s.id,
    t.instance_name,
    s.chat_id,
    s.last_human_at,
    NOW() - s.last_human_at as idle_duration
FROM sessions s
JOIN tenants t ON s.tenant_id = t.id
WHERE s.is_paused = TRUE
  AND s.last_human_at < NOW() - INTERVAL '2 hours'
ORDER BY s.last_human_at ASC;
SELECT instance_name, chat_id, idle_duration FROM ready ORDER BY last_human_at;

-- Message statistics by tenant.
SELECT
    t.instance_name,
    COUNT(*) FILTER (WHERE m.from_me = FALSE) as inbound_count,
    COUNT(*) FILTER (WHERE m.from_me = TRUE) as outbound_count,
    COUNT(*) as total_count
FROM messages m
JOIN tenants t ON m.tenant_id = t.id
WHERE m.created_at > NOW() - INTERVAL '24 hours'
GROUP BY t.instance_name
ORDER BY total_count DESC;

-- Slow queries.
\o /dev/null
EXPLAIN ANALYZE
SELECT * FROM sessions
WHERE is_paused = TRUE
  AND last_human_at < NOW() - INTERVAL '2 hours';
\o

-- auto_resume_paused_sessions(hours_inactive): silent for 5 hours, 3 hours, and 1 hour.
SELECT auto_resume_paused_sessions(6);
SELECT auto_resume_paused_sessions(2);
SELECT chat_id, is_paused FROM sessions ORDER BY chat_id;

-- cleanup_old_processed_events(days_to_keep).
UPDATE processed_events SET processed_at = now() - CASE event_type
    WHEN 'send.message' THEN interval '31 days' ELSE interval '8 days' END;
INSERT INTO processed_events (tenant_id, message_id, event_type, action_taken)
VALUES (:demo, 'A9', 'messages.upsert', 'ai_queued');
SELECT cleanup_old_processed_events(30);
SELECT cleanup_old_processed_events(7);
SELECT message_id, action_taken FROM processed_events ORDER BY message_id;

-- Clean up processed events older than 7 days
UPDATE processed_events SET processed_at = now() - interval '8 days';
DELETE FROM processed_events
WHERE processed_at < NOW() - INTERVAL '7 days';
\echo :ROW_COUNT deleted

-- Archive old messages (move to archive table)
-- Create archive table first:
CREATE TABLE messages_archive (LIKE messages INCLUDING ALL);

-- Move messages older than 90 days
WITH deleted AS (
    DELETE FROM messages
    WHERE created_at < NOW() - INTERVAL '90 days'
    RETURNING *
)
INSERT INTO messages_archive
SELECT * FROM deleted;
\echo :ROW_COUNT moved
SELECT message_id, text FROM messages_archive ORDER BY message_id;
SELECT count(*) AS messages_left FROM messages;

-- Database size monitoring: the four tables, and ours.
CREATE TEMP TABLE sizes AS
SELECT
    schemaname,
    tablename,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size
FROM pg_tables
WHERE schemaname = 'whaply'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;
SELECT schemaname, tablename, size ~ '^\d+ (bytes|kB|MB)$' AS has_size FROM sizes ORDER BY tablename;

-- The rules that its troubleshooting names.
SELECT code, message FROM story.error_of($$INSERT INTO tenants (instance_name, evo_server_url) VALUES ('demo-instance', 'http://x')$$);
SELECT code, message FROM story.error_of(format(
    $$INSERT INTO sessions (tenant_id, chat_id) VALUES (%s, '5511999990001@s.whatsapp.net')$$, :demo));
SELECT code, message FROM story.error_of(format(
    $$INSERT INTO messages (tenant_id, chat_id, message_id) VALUES (%s, 'x', 'A1')$$, :demo));
INSERT INTO processed_events (tenant_id, message_id, event_type) VALUES (:demo, 'A1', 'messages.upsert');
SELECT code, message FROM story.error_of(format(
    $$INSERT INTO processed_events (tenant_id, message_id, event_type) VALUES (%s, 'A1', 'messages.upsert')$$, :demo));
SELECT code, message FROM story.error_of($$INSERT INTO sessions (tenant_id, chat_id) VALUES (0, 'x')$$);

-- A tenant takes all of its own with it, and nothing else.
DELETE FROM tenants WHERE id = :demo;
SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM messages) AS messages,
       (SELECT count(*) FROM processed_events) AS processed_events;

ROLLBACK;
