-- Guards grant_access and revoke_access: what each level may and may not, for which tenants, by a claim or
-- not; and what is refused, and how it is told.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, llm_api_key, webhook_secret, mode)
SELECT name, 'http://127.0.0.1:1', 's3cret', 's3cret', 's3cret', 'off' FROM unnest(ARRAY['loja', 'outra']) AS name;
CREATE ROLE regress_whaply_post;
CREATE ROLE regress_whaply_op;
CREATE ROLE regress_whaply_admin;
CREATE ROLE regress_whaply_member IN ROLE regress_whaply_op;
CREATE ROLE regress_whaply_web;
CREATE ROLE regress_whaply_person LOGIN;
GRANT USAGE ON SCHEMA story TO PUBLIC;

-- What is refused.
SELECT call, code, message, hint
  FROM unnest(ARRAY[
       $$SELECT whaply.grant_access('no_such_role', 'ingest')$$,
       $$SELECT whaply.grant_access(123456789::regrole, 'ingest')$$,
       $$SELECT whaply.grant_access(NULL, 'ingest')$$,
       $$SELECT whaply.grant_access('regress_whaply_op', NULL)$$,
       $$SELECT whaply.grant_access('regress_whaply_op', 'owner')$$,
       $$SELECT whaply.grant_access('regress_whaply_op', 'operator', 'Loja')$$,
       $$SELECT whaply.grant_access('regress_whaply_op', 'operator', 'loja', 'instance')$$,
       $$SELECT whaply.grant_access('regress_whaply_web', 'operator', claim => '')$$,
       $$SELECT whaply.grant_access('regress_whaply_person', 'operator', claim => 'instance')$$,
       $$SELECT whaply.revoke_access('regress_whaply_op', 'owner')$$]) WITH ORDINALITY AS calls (call, place),
       LATERAL story.error_of(call)
 ORDER BY place;
SELECT count(*) AS granted FROM whaply.access;

SELECT whaply.grant_access('regress_whaply_post', 'ingest') AS new, whaply.grant_access('regress_whaply_post', 'ingest') AS again;
SELECT whaply.grant_access('regress_whaply_op', 'operator', 'loja');
SELECT whaply.grant_access('regress_whaply_admin', 'admin');
SELECT whaply.grant_access('regress_whaply_web', 'operator', claim => 'app_metadata.instances');

-- Ingest posts, and nothing else.
SET LOCAL ROLE regress_whaply_post;
SELECT whaply.ingest(story.message('A')) ->> 'action' AS action;
SELECT call, code
  FROM unnest(ARRAY[
       'SELECT FROM whaply.tenants', 'SELECT FROM whaply.messages', 'SELECT FROM whaply.health', 'SELECT FROM whaply.access',
       'SELECT FROM whaply.tenant_settings', $$SELECT whaply.pause_session('loja', '5511999990001')$$,
       $$SELECT whaply.webhook_settings('loja')$$, $$SELECT whaply.grant_access('regress_whaply_post', 'admin')$$])
       WITH ORDINALITY AS calls (call, place), LATERAL story.error_of(call)
 ORDER BY place;
RESET ROLE;

-- An operator reads and steers, by membership too; it posts nothing, and changes no row by hand.
SET LOCAL ROLE regress_whaply_member;
SELECT text FROM whaply.messages;
SELECT whaply.pause_session('loja', '5511999990001') AS paused, whaply.send_message('loja', '5511999990001', 'Olá') > 0 AS sent;
SELECT call, code
  FROM unnest(ARRAY[
       $$SELECT whaply.ingest('{}')$$, 'SELECT evo_api_key FROM whaply.tenants', 'SELECT evo_server_url FROM whaply.tenants',
       'SELECT * FROM whaply.tenants', 'SELECT qr_code FROM whaply.connect_requests', 'SELECT t FROM whaply.tenants t',
       $$UPDATE whaply.tenants SET mode = 'on'$$, $$UPDATE whaply.sessions SET is_paused = false$$, 'DELETE FROM whaply.messages',
       $$INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('new', 'http://127.0.0.1')$$,
       'TRUNCATE whaply.messages', 'SELECT FROM whaply.access', $$SELECT nextval('whaply.messages_id_seq')$$,
       $$SELECT whaply.instance_qr('loja')$$, $$SELECT whaply.webhook_settings('loja')$$, 'SELECT whaply.adopt_tenants()',
       'SELECT whaply.stop_worker()', 'SELECT whaply.auto_resume()', 'SELECT whaply.archive_messages(1)',
       $$CREATE TABLE whaply.mine ()$$, 'CREATE TRIGGER t BEFORE INSERT ON whaply.messages EXECUTE FUNCTION whaply.touch_updated_at()'])
       WITH ORDINALITY AS calls (call, place), LATERAL story.error_of(call)
 ORDER BY place;
RESET ROLE;

-- An admin sets keys and reads none, whatever it tries; it chooses no URL, since a key goes there.
SET LOCAL ROLE regress_whaply_admin;
UPDATE whaply.tenants SET llm_api_key = 'vault:LLM', webhook_secret = 'n3w', system_prompt = 'Be kind.' WHERE instance_name = 'loja';
SELECT instance_name, evo_api_key, llm_api_key, webhook_secret, webhook_secret_before, webhook_jwt_key FROM whaply.tenant_settings;
SELECT call, code
  FROM unnest(ARRAY[
       $$UPDATE whaply.tenants SET llm_api_key = 'x' RETURNING llm_api_key$$,
       'UPDATE whaply.tenants SET system_prompt = evo_api_key',
       $$UPDATE whaply.tenants SET mode = 'on' WHERE llm_api_key LIKE 's%'$$,
       $$UPDATE whaply.tenants SET evo_server_url = 'https://elsewhere.example'$$,
       $$UPDATE whaply.tenants SET llm_base_url = 'https://elsewhere.example'$$,
       'UPDATE whaply.tenants SET home = NULL', 'UPDATE whaply.tenants SET id = 7', 'DELETE FROM whaply.tenants',
       $$SELECT whaply.connect_instance('loja', 'https://elsewhere.example')$$, 'SELECT whaply.archive_messages(1)',
       'LOCK TABLE whaply.tenants IN ACCESS EXCLUSIVE MODE',
       'ALTER TABLE whaply.tenants DISABLE ROW LEVEL SECURITY', 'DROP POLICY seen ON whaply.tenants'])
       WITH ORDINALITY AS calls (call, place), LATERAL story.error_of(call)
 ORDER BY place;
SELECT pg_has_role('whaply_worker', 'MEMBER') AS may_become_the_worker;
SELECT whaply.worker_status() IS NOT NULL AS status, whaply.auto_resume() IS NOT NULL AS resumed;
RESET ROLE;
-- A URL that a superuser has named may be named again.
SELECT whaply.connect_instance('outra', 'https://db.example.com/webhook') > 0 AS asked;
SET LOCAL ROLE regress_whaply_admin;
SELECT whaply.connect_instance('outra', 'https://db.example.com/webhook') > 0 AS asked;
RESET ROLE;

-- A claim counts for the role that it was granted to, and names what it sees.
SET LOCAL ROLE regress_whaply_web;
SELECT set_config('request.jwt.claims', '', true);
SELECT instance_name FROM whaply.tenants ORDER BY 1;
SELECT set_config('request.jwt.claims', '{', true);
SELECT instance_name FROM whaply.tenants ORDER BY 1;
SELECT set_config('request.jwt.claims', '{"instances": "loja", "app_metadata": {"instances": null}}', true);
SELECT instance_name FROM whaply.tenants ORDER BY 1;
SELECT set_config('request.jwt.claims', '{"app_metadata": {"instances": "loja"}}', true);
SELECT instance_name FROM whaply.tenants ORDER BY 1;
SELECT whaply.pause_session('loja', '5511999990003') AS its_own;
SELECT code FROM story.error_of($$SELECT whaply.pause_session('outra', '5511999990003')$$);
SELECT set_config('request.jwt.claims', '{"app_metadata": {"instances": ["loja", "outra", 7]}}', true);
SELECT instance_name FROM whaply.tenants ORDER BY 1;
RESET ROLE;
-- Nor does it see anything once it could log in and choose its claims.
ALTER ROLE regress_whaply_web LOGIN;
SET LOCAL ROLE regress_whaply_web;
SELECT count(*) AS seen FROM whaply.tenants;
RESET ROLE;
ALTER ROLE regress_whaply_web NOLOGIN;
-- Who only inherits from it, and sets the claim itself, sees nothing by it.
GRANT regress_whaply_web TO regress_whaply_person;
SET LOCAL ROLE regress_whaply_person;
SELECT count(*) AS seen FROM whaply.tenants;
RESET ROLE;
SET LOCAL ROLE regress_whaply_member;
SELECT instance_name FROM whaply.tenants ORDER BY 1;
RESET ROLE;

-- What is taken back is gone; what another level still gives stays.
SELECT whaply.grant_access('regress_whaply_op', 'operator', 'outra'), whaply.grant_access('regress_whaply_op', 'ingest', 'loja');
SELECT whaply.revoke_access('regress_whaply_op', 'operator', 'loja') AS had, whaply.revoke_access('regress_whaply_op', 'operator', 'loja') AS again;
SET LOCAL ROLE regress_whaply_op;
SELECT instance_name FROM whaply.tenants ORDER BY 1;
SELECT whaply.ingest(story.message('B')) ->> 'action' AS action;
SELECT code FROM story.error_of(format('SELECT whaply.ingest(%L)', story.message('C', instance => 'outra')));
RESET ROLE;
SELECT whaply.revoke_access('regress_whaply_op', 'operator') AS had;
SELECT code, message, hint FROM story.error_of($$SELECT whaply.revoke_access('regress_whaply_admin', 'admin', 'loja')$$);
SET LOCAL ROLE regress_whaply_op;
SELECT code FROM story.error_of('SELECT FROM whaply.tenants');
SELECT whaply.ingest(story.message('D')) ->> 'action' AS action;
RESET ROLE;
SELECT whaply.revoke_access('regress_whaply_op', 'ingest'), whaply.revoke_access('regress_whaply_admin', 'admin'),
       whaply.revoke_access('regress_whaply_post', 'ingest'), whaply.revoke_access('regress_whaply_web', 'operator', claim => 'app_metadata.instances');
SELECT count(*) AS left_in_access FROM whaply.access;
SELECT count(*) AS left_in_catalogs FROM pg_shdepend
 WHERE refobjid IN (SELECT oid FROM pg_roles WHERE rolname ~ '^regress_whaply') AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database());

-- With a tenant goes the access to it.
SELECT whaply.grant_access('regress_whaply_op', 'operator', 'outra');
DELETE FROM whaply.tenants WHERE instance_name = 'outra';
SET LOCAL ROLE regress_whaply_op;
SELECT count(*) AS seen FROM whaply.tenants;
RESET ROLE;
ROLLBACK;
