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
       'SELECT * FROM whaply.health',
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
SELECT code, message FROM story.error_of($$SELECT whaply.webhook_settings('nobody')$$);

ROLLBACK;
