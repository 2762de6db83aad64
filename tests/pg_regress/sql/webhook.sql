-- Guards the front door for PostgREST: no secret, no entry; and whoever may call it can do nothing else.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, webhook_secret) VALUES
    ('loja', 'http://127.0.0.1:1', 'right'), ('sem-segredo', 'http://127.0.0.1:1', NULL);

-- PostgREST answers with the status in PT401 and PT404. Without headers, with others, with a wrong secret.
SELECT * FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('A')));
SELECT headers, error.code, error.message
  FROM unnest(ARRAY['{}', '{"x-whaply-secret": "wrong"}', '{"x-whaply-secret": ""}', '{"x-whaply-secret": null}',
                    '{"authorization": "Bearer right"}', 'no json']) WITH ORDINALITY AS requests (headers, place),
       LATERAL set_config('request.headers', headers, true) AS header,
       LATERAL story.error_of(format('SELECT whaply.webhook(%L)', story.message('A'))) AS error
 ORDER BY place;
SELECT set_config('request.headers', '{"x-whaply-secret": "right"}', true);
SELECT * FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('A', instance => 'nobody')));
-- The secret of one tenant opens no other, and a tenant without a secret lets nobody in.
SELECT code FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('A', instance => 'sem-segredo')));
SELECT * FROM story.rows();

-- The right one.
SELECT whaply.webhook(story.message('A')::json) - 'tenant_id' - 'reply_id' AS answer;
SELECT whaply.webhook(story.message('A')::json) ->> 'duplicate' AS duplicate;
-- All that PostgREST 12 to 14 sets for a request before it calls the function. It reads Authorization itself.
SELECT count(*) AS settings FROM (
    SELECT set_config('search_path', '"hooks", "public"', true), set_config('request.jwt.claims', '{"role":"evolution"}', true),
           set_config('request.method', 'POST', true), set_config('request.path', '/rpc/webhook', true),
           set_config('request.headers', '{"accept":"application/json, text/plain, */*","content-type":"application/json",'
               '"host":"127.0.0.1:3000","user-agent":"axios/1.7.9","x-whaply-secret":"right"}', true),
           set_config('request.cookies', '{}', true)) AS request;
SELECT whaply.webhook(story.message('P', jid => '5511999990003@s.whatsapp.net')::json) ->> 'action' AS action;
RESET search_path;
SELECT set_config('request.headers', '{"x-whaply-secret": "right"}', true);

-- The secret before the last change holds for a day, and not where the secret was taken away.
UPDATE whaply.tenants SET webhook_secret = 'new' WHERE instance_name = 'loja';
SELECT whaply.webhook(story.message('A')::json) ->> 'duplicate' AS duplicate;
SELECT set_config('request.headers', '{"x-whaply-secret": "new"}', true);
SELECT whaply.webhook(story.message('A')::json) ->> 'duplicate' AS duplicate;
SELECT set_config('request.headers', '{"x-whaply-secret": "right"}', true);
UPDATE whaply.tenants SET webhook_secret_changed_at = now() - interval '24 hours 1 second' WHERE instance_name = 'loja';
SELECT code FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('A')));
UPDATE whaply.tenants SET webhook_secret_changed_at = now(), webhook_secret = NULL WHERE instance_name = 'loja';
SELECT code FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('A')));
UPDATE whaply.tenants SET webhook_secret = 'right' WHERE instance_name = 'loja';

-- What JSON allows and jsonb does not is repaired, in keys and values, and stored.
SELECT whaply.webhook(replace(replace(replace(
       jsonb_set(story.message('N<nul>', 'Oi<nul> <half> \u0000', jid => '5511999990004@s.whatsapp.net<nul>'),
                 '{data,odd<nul>}', '["<half><nul><half>", "<number>", {"<half>": 1, "k<nul>": 2, "k": 3}]')::text,
       '<nul>', '\u0000'), '<half>', '\ud83d'), '"<number>"', '1e400, -1e200000, 1e-20000')::json) ->> 'action' AS action;
SELECT message_id, chat_id, text, jsonb_path_query_array(raw, '$.data.odd[0,2,3,4]') AS odd,
       (raw #>> '{data,odd,1}')::numeric = 1e400 AS number_stays
  FROM whaply.messages WHERE message_id LIKE 'N%';
-- What then is no event is refused.
SELECT code, message FROM story.error_of(format('SELECT whaply.webhook(%L)', repeat('[', 128) || repeat(']', 128)));
SELECT code, message FROM story.error_of($$SELECT whaply.webhook('{"instance": "\u0000", "event": "call"}')$$);

-- Bad input is told as ingest tells it.
SELECT * FROM story.error_of($$SELECT whaply.webhook('{"instance": "loja"}')$$);
SELECT code, message FROM story.error_of('SELECT whaply.webhook(NULL)');

-- PostgREST hands its raw body to one unnamed argument of type json, and to no overloaded function.
SELECT oid::regprocedure AS webhook, proargnames, prosecdef FROM pg_proc
 WHERE proname = 'webhook' AND pronamespace = 'whaply'::regnamespace;

-- A role that may call it and nothing else.
CREATE ROLE regress_whaply_evolution;
GRANT USAGE ON SCHEMA whaply TO regress_whaply_evolution;
GRANT EXECUTE ON FUNCTION whaply.webhook(json) TO regress_whaply_evolution;
SELECT story.message('B') AS body, story.message('C') AS other_body \gset
SET LOCAL ROLE regress_whaply_evolution;
SELECT whaply.webhook(:'body') ->> 'action' AS action;
SELECT statement, error.code, error.message
  FROM unnest(ARRAY[
       format('SELECT whaply.ingest(%L)', '{}'),
       format('SELECT whaply.receive(%L)', '{}'),
       'SELECT webhook_secret FROM whaply.tenants',
       'SELECT text FROM whaply.messages',
       'SELECT * FROM whaply.recent_activity',
       'DELETE FROM whaply.processed_events',
       $$SELECT nextval('whaply.messages_id_seq')$$,
       $$SELECT whaply.webhook_settings('loja')$$,
       $$SELECT whaply.pause_session('loja', '5511999990001')$$,
       $$SELECT whaply.send_message('loja', '5511999990001', 'Oi')$$,
       'SELECT whaply.stop_worker()',
       'SELECT whaply.adopt_tenants()',
       'SET whaply.require_secret = off']) WITH ORDINALITY AS statements (statement, place),
       LATERAL story.error_of(statement) AS error
 ORDER BY place;
-- (Which of its rights is missed first depends on PostgreSQL's version.)
SELECT code FROM story.error_of('SELECT * FROM whaply.health');
SELECT set_config('request.headers', '{}', true);
SELECT code FROM story.error_of(format('SELECT whaply.webhook(%L)', :'other_body'));
RESET ROLE;
SELECT message_id, sender FROM whaply.messages ORDER BY message_id;

-- Where something before it has checked already.
SET LOCAL whaply.require_secret = off;
SELECT whaply.webhook(story.message('D', jid => '5511999990002@s.whatsapp.net')::json) ->> 'action' AS action;
SELECT code FROM story.error_of(format('SELECT whaply.webhook(%L)', story.message('E', instance => 'nobody')));

-- What to enter in Evolution.
SELECT jsonb_pretty(whaply.webhook_settings('loja'));
SELECT whaply.webhook_settings('sem-segredo') #> '{webhook,headers}' AS headers;
-- Evolution makes a token of the header jwt_key, and does not send the header.
UPDATE whaply.tenants SET webhook_jwt_key = 'key' WHERE instance_name = 'loja';
SELECT whaply.webhook_settings('loja') #> '{webhook,headers}' AS headers;
SELECT code, message FROM story.error_of($$SELECT whaply.webhook_settings('nobody')$$);

ROLLBACK;
