-- Fills an empty installation with what months of a busy house leave behind, at scale 1: 200 tenants,
-- 1,000,000 sessions, 5,000,000 messages, 10,000,000 processed events, 1,000,000 replies and as many
-- deliveries, over the last 30 days. `large_tables.scale` ('0.1': a tenth) is set by the caller. It runs
-- nothing of whaply, and fails where there are rows already.
--
-- Rows come as they would have come: by time, so that ids grow with it, the ids of messages as random
-- as WhatsApp's. Secondary indexes are dropped and made again, which makes it minutes and not hours;
-- they come out denser than life leaves them.

-- No checks of foreign keys, no triggers.
SET session_replication_role = replica;
SET synchronous_commit = off;

-- What is dropped now and made again below. Sessions keep theirs, which replies and deliveries name.
CREATE TEMP TABLE dropped AS
SELECT c.conrelid::regclass AS on_table, c.conname AS name, true AS is_constraint, c.contype <> 'p' AS comes_last,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) AS definition
  FROM pg_constraint c
 WHERE c.contype IN ('p', 'u')
   AND c.conrelid IN ('whaply.messages'::regclass, 'whaply.processed_events'::regclass)
UNION ALL
SELECT i.indrelid::regclass, i.indexrelid::regclass::text, false, true, pg_get_indexdef(i.indexrelid)
  FROM pg_index i
 WHERE i.indrelid IN ('whaply.messages'::regclass, 'whaply.processed_events'::regclass, 'whaply.replies'::regclass,
                      'whaply.deliveries'::regclass)
   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u'));

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM dropped LOOP
        EXECUTE CASE WHEN one.is_constraint THEN format('ALTER TABLE %s DROP CONSTRAINT %I', one.on_table, one.name)
                     ELSE 'DROP INDEX ' || one.name END;
    END LOOP;
END
$$;

INSERT INTO whaply.tenants (instance_name, evo_server_url, llm_api_key, webhook_secret)
SELECT 'large-' || n, 'http://127.0.0.1:1', 'none', 'secret-of-large-' || n
  FROM generate_series(1, 200) AS n;

-- A conversation is ten messages within a minute: the customer's and the assistant's in turn, with two
-- answers on record; then a human takes over and has the last word, but in one of a thousand. Its number is
-- `n / 10` of message n. One chat in five is active: it has two or three conversations, days apart.
CREATE TEMP TABLE sizes AS
SELECT (1000000 * scale)::bigint AS sessions, (200000 * scale)::bigint AS active, (5000000 * scale)::bigint AS messages,
       30 * interval '1 day' / (5000000 * scale)::float8 AS pace, now() - interval '30 days' AS beginning,
       (SELECT min(id) FROM whaply.tenants) AS first_tenant
  FROM (SELECT current_setting('large_tables.scale')::numeric AS scale) AS wanted;

CREATE FUNCTION pg_temp.jid(chat bigint) RETURNS text IMMUTABLE LANGUAGE sql
    RETURN '55119' || lpad(chat::text, 8, '0') || '@s.whatsapp.net';
CREATE FUNCTION pg_temp.message_id(n bigint) RETURNS text IMMUTABLE LANGUAGE sql
    RETURN '3EB0' || upper(substr(md5(n::text), 1, 18));
-- Neighbours in time are strangers in the indexes.
CREATE FUNCTION pg_temp.chat_of(conversation bigint, active bigint) RETURNS bigint IMMUTABLE LANGUAGE sql
    RETURN conversation * 7919 % active;

-- One chat in 500 is with a human, one in 5,000 on hold. Who is not active wrote in the year before.
INSERT INTO whaply.sessions (tenant_id, chat_id, contact_name, reply_jid, is_paused, pause_reason, last_human_at, last_message_at,
                             created_at, updated_at)
SELECT s.first_tenant + n % 200, pg_temp.jid(n), 'Cliente ' || n, pg_temp.jid(n), n % 500 = 7,
       CASE WHEN n % 5000 = 7 THEN 'manual' WHEN n % 500 = 7 THEN 'human_takeover' END,
       CASE WHEN n % 20 = 7 THEN now() - n % 7200 * interval '1 second' END, wrote_at, s.beginning - interval '1 year', wrote_at
  FROM sizes s, generate_series(0, s.sessions - 1) AS n,
       LATERAL (SELECT CASE WHEN n < s.active THEN now() - n * 7919 % 2592000 * interval '1 second'
                            ELSE s.beginning - n * 7919 % 31536000 * interval '1 second' END AS wrote_at) AS chat;

-- Every second customer is known by a LID, too.
INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id, created_at)
SELECT s.first_tenant + n % 200, 100000000000000 + n || '@lid', pg_temp.jid(n), s.beginning
  FROM sizes s, generate_series(0, s.sessions - 1, 2) AS n;

INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, message_type, text, raw, created_at, sent_at, sender, reply_id,
                             status)
SELECT s.first_tenant + chat % 200, pg_temp.jid(chat), pg_temp.message_id(n), is_ours, 'conversation',
       'Mensagem ' || n || ': bom dia, tudo bem? Queria saber o preço e o prazo de entrega, por favor.',
       CASE WHEN NOT is_ours THEN
       '{"event": "messages.upsert", "instance": "large", "data": {"key": {"id": "3EB0C5A1B2C3D4E5F60718", "fromMe": false,
         "remoteJid": "5511999990001@s.whatsapp.net"}, "pushName": "Cliente", "status": "DELIVERY_ACK", "message": {"conversation":
         "Mensagem: bom dia, tudo bem? Queria saber o preço e o prazo de entrega, por favor.", "messageContextInfo":
         {"deviceListMetadata": {"senderTimestamp": "1761055200", "recipientTimestamp": "1761055200"}, "deviceListMetadataVersion": 2}},
         "messageType": "conversation", "messageTimestamp": 1761055200, "instanceId": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d",
         "source": "android"}, "destination": "https://example.com/webhook", "date_time": "2025-10-21T11:00:00.000Z",
         "sender": "5511988880000@s.whatsapp.net", "server_url": "http://localhost:8080"}'::jsonb END,
       at, at, CASE WHEN NOT is_ours THEN 'customer' WHEN turn = 9 THEN 'owner' ELSE 'assistant' END,
       CASE WHEN turn < 4 THEN n / 10 * 2 + turn / 2 END, CASE WHEN is_ours THEN 'READ' END
  FROM sizes s, generate_series(1, s.messages) AS n,
       LATERAL (SELECT pg_temp.chat_of(n / 10, s.active) AS chat, n % 10 AS turn, n % 2 = 1 AND n % 10000 <> 39 AS is_ours,
                       s.beginning + n * s.pace AS at) AS message;

-- Two for each message: that it came, and how far it came.
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken, processed_at)
SELECT s.first_tenant + pg_temp.chat_of(n / 10, s.active) % 200, pg_temp.message_id(n),
       CASE WHEN half % 2 = 0 THEN 'messages.upsert' ELSE 'messages.update' END,
       CASE WHEN half % 2 = 1 THEN 'status_updated' WHEN n % 10 >= 8 THEN CASE WHEN n % 2 = 1 AND n % 10000 <> 39 THEN 'paused' ELSE 'ignored_paused' END
            WHEN n % 2 = 0 THEN 'ai_replied' ELSE 'own_echo' END,
       s.beginning + n * s.pace
  FROM sizes s, generate_series(2, 2 * s.messages + 1) AS half, LATERAL (SELECT half / 2 AS n) AS message;

-- One in 10,000 has failed.
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, attempt, seen, first_sent_at, text, provider, model, input_tokens,
                            output_tokens, created_at, claimed_at, answered_at, finished_at)
SELECT s.first_tenant + chat % 200, pg_temp.jid(chat), CASE WHEN n % 10000 = 7 THEN 'failed' ELSE 'sent' END, at, 1, 1, at,
       'Bom dia! O preço está na página do produto, e o prazo é de três dias úteis.', 'openai', 'modelo', 900, 60, at, at,
       CASE WHEN n % 10000 <> 7 THEN at END, at
  FROM sizes s, generate_series(1, s.messages / 5) AS n,
       LATERAL (SELECT pg_temp.chat_of(n / 2, s.active) AS chat, s.beginning + 5 * n * s.pace AS at) AS answer;

INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, attempt, attempted_at, message_id, created_at,
                               finished_at)
SELECT tenant_id, chat_id, id, 'reply', text, state, 1, created_at,
       CASE WHEN state = 'sent' THEN pg_temp.message_id(id / 2 * 10 + 1 + id % 2 * 2) END, created_at, created_at
  FROM whaply.replies ORDER BY id;

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM dropped ORDER BY comes_last LOOP
        EXECUTE one.definition;
    END LOOP;
END
$$;

RESET session_replication_role;
RESET synchronous_commit;
DROP TABLE dropped, sizes;
