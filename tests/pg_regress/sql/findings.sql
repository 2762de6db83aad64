-- Guards view health as to the server and its work: versions, overdue work, failing tenants, failed set-ups, used-up ids;
-- how bad each is, and that the worst stands first. What needs a server of its own is in the tests of `health`.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, debounce)
VALUES ('loja', 'http://127.0.0.1:1', '0'), ('outra', 'http://127.0.0.1:1', '0');
LOCK TABLE whaply.refused_webhooks IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM whaply.refused_webhooks;
CREATE TEMP VIEW finding AS SELECT * FROM whaply.health WHERE subject <> 'worker';
SELECT * FROM finding;

-- The library and the extension of different versions.
SAVEPOINT versions;
SELECT whaply.server_status() ->> 'library' = extversion AS same FROM pg_extension WHERE extname = 'whaply';
UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'whaply';
SELECT severity, subject, replace(problem, whaply.server_status() ->> 'library', 'LIBRARY') AS problem, what_to_do FROM finding;
UPDATE pg_extension SET extversion = whaply.server_status() ->> 'previous' WHERE extname = 'whaply';
SELECT severity, subject, replace(replace(problem, whaply.server_status() ->> 'library', 'LIBRARY'),
                                  whaply.server_status() ->> 'previous', 'PREVIOUS') AS problem, what_to_do FROM finding;
UPDATE pg_extension SET extversion = '99.10.0' WHERE extname = 'whaply';
SELECT severity, subject, replace(problem, whaply.server_status() ->> 'library', 'LIBRARY') AS problem, what_to_do FROM finding;
ROLLBACK TO versions;

-- What waits in a transaction of this test the worker cannot see. A minute is no finding, and an open line is needed.
SELECT action FROM story.tell(story.message('M1'));
SELECT whaply.send_message('loja', '5511999990002', 'Já respondo') IS NOT NULL AS queued,
       whaply.send_message('loja', '5511999990002', 'Um momento') IS NOT NULL AS queued_behind_it;
UPDATE whaply.replies SET due_at = now() - interval '50 seconds';
SELECT * FROM finding;
UPDATE whaply.replies SET due_at = now() - interval '90 seconds';
SELECT severity, instance_name, subject, problem, what_to_do FROM finding;
UPDATE whaply.deliveries SET due_at = now() - interval '601 seconds';
SELECT severity, instance_name, subject, problem FROM finding;
UPDATE whaply.tenants SET connection_state = 'connecting' WHERE instance_name = 'loja';
SELECT severity, instance_name, subject, problem FROM finding;
UPDATE whaply.tenants SET connection_state = 'open' WHERE instance_name = 'loja';
DELETE FROM whaply.deliveries;

-- A tenant that gets answers again is less ill than one that gets none.
UPDATE whaply.replies SET state = 'failed', error = 'no such key', finished_at = now() - interval '2 hours';
INSERT INTO whaply.sessions (tenant_id, chat_id) SELECT id, 'a' FROM whaply.tenants WHERE instance_name = 'outra';
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, answered_at, finished_at, error)
SELECT t.id, 'a', state, now(), now(), at, at, error
  FROM whaply.tenants t,
       (VALUES ('failed', now() - interval '2 hours', 'overloaded'), ('sent', now() - interval '1 hour', NULL)) AS of (state, at, error)
 WHERE t.instance_name = 'outra';
SELECT severity, instance_name, subject, problem FROM finding;
DELETE FROM whaply.replies;

-- A set-up that failed, as long as it is the tenant's newest. The worker writes the state; it cannot see this one.
SELECT whaply.connect_instance('loja', 'https://db.example.com/webhook') IS NOT NULL AS asked,
       whaply.connect_instance('outra', 'https://db.example.com/webhook') IS NOT NULL AS asked;
UPDATE whaply.connect_requests SET state = 'failed', error = 'Evolution knows no such key', finished_at = '2026-01-02 03:04';
SELECT severity, instance_name, subject, problem, what_to_do FROM finding;
SELECT whaply.connect_instance('outra', 'https://db.example.com/webhook') IS NOT NULL AS asked_again;
SELECT severity, instance_name, subject FROM finding;
DELETE FROM whaply.connect_requests;

-- What the worker has met. What is refused is not told as overdue, too; a former secret goes by itself.
SELECT action FROM story.tell(story.message('M2', jid => '5511999990003@s.whatsapp.net'));
UPDATE whaply.replies SET due_at = now() - interval '601 seconds';
INSERT INTO whaply.findings (tenant_id, subject, object, problem, first_at)
SELECT tenant_id, 'refused', 'reply ' || id, 'the rule of the house', '2026-01-02 03:04' FROM whaply.replies;
SELECT severity, instance_name, subject, regexp_replace(problem, 'reply \d+', 'reply ID') AS problem, what_to_do FROM finding;
INSERT INTO whaply.findings (tenant_id, subject, object, problem, first_at)
SELECT tenant_id, 'refused', 'delivery 7', 'another rule', '2026-01-02 03:05' FROM whaply.replies;
SELECT problem FROM finding;
DELETE FROM whaply.findings;
DELETE FROM whaply.replies;
INSERT INTO whaply.findings (tenant_id, subject, object, problem)
SELECT t.id, 'secret', key.name, key.name || ' names env:KEY, which is not set or empty'
  FROM whaply.tenants t,
       unnest('{evo_api_key,llm_api_key,webhook_secret,webhook_secret_before,webhook_jwt_key}'::text[]) AS key (name)
 WHERE t.instance_name = 'loja';
SELECT severity, subject, problem, what_to_do FROM finding;
DELETE FROM whaply.findings;

-- Serial ids end at 2^31 - 1. No ROLLBACK takes a setval back.
SELECT last_value AS kept, is_called AS kept_called FROM whaply.processed_events_id_seq \gset
SELECT setval('whaply.processed_events_id_seq', 1073741823) AS below_half;
SELECT * FROM finding;
SELECT setval('whaply.processed_events_id_seq', 1073741824) AS half;
SELECT severity, subject, problem, what_to_do FROM finding;
SELECT setval('whaply.processed_events_id_seq', 1932735283) AS nine_tenths;
SELECT severity, subject, problem FROM finding;
-- Whoever may not read a sequence can read the rest.
CREATE ROLE health_reader;
GRANT USAGE ON SCHEMA whaply TO health_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA whaply TO health_reader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA whaply TO health_reader;
SET LOCAL ROLE health_reader;
SELECT count(*) FROM whaply.health WHERE subject = 'worker' AND severity <> 'critical';
RESET ROLE;
SELECT setval('whaply.processed_events_id_seq', :kept, :'kept_called') = :kept AS as_before;

-- The worst first.
UPDATE whaply.tenants SET connection_state = CASE instance_name WHEN 'loja' THEN 'connecting' ELSE 'close' END;
INSERT INTO whaply.refused_webhooks (reason, refused) VALUES ('invalid', 1);
SELECT severity, instance_name, subject FROM finding;

ROLLBACK;
