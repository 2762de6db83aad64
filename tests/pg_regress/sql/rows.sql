-- Guards whose rows a role sees: of every table and view, the list of which is the catalog's, a tenant's role
-- gets its tenant's rows and nothing else; and what a function does for it stays within them too.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, llm_api_key, webhook_secret, webhook_jwt_key, mode, home)
SELECT name, 'http://user:s3cret@127.0.0.1:1/?key=s3cret', 's3cret', 's3cret', 's3cret', 's3cret', 'off', 'elsewhere'
  FROM unnest(ARRAY['loja', 'outra']) AS name;
-- A row of each tenant in each table: of two chats, in the second of which no reply is open.
CREATE FUNCTION story.chat(instance text, second boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT CASE instance WHEN 'loja' THEN '551199999000' ELSE '551199999009' END || second::integer || '@s.whatsapp.net'
$$;
INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at)
SELECT id, story.chat(instance_name, second), true, 'human_takeover', now() - interval '3 hours'
  FROM whaply.tenants, unnest(ARRAY[false, true]) AS second;
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
SELECT id, story.chat(instance_name, true), instance_name, 'of ' || instance_name, 'unverified' FROM whaply.tenants;
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
SELECT id, instance_name, 'messages.upsert', 'ignored_unverified' FROM whaply.tenants;
INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) SELECT id, instance_name || '-lid', story.chat(instance_name) FROM whaply.tenants;
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, error, finished_at)
SELECT id, story.chat(instance_name), state, now(), now(), 'error of ' || instance_name, CASE state WHEN 'failed' THEN now() END
  FROM whaply.tenants, unnest(ARRAY['failed', 'waiting']) AS state;
INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state)
SELECT tenant_id, chat_id, id, 'reply', 'text for ' || chat_id, 'uncertain' FROM whaply.replies WHERE state = 'failed';
INSERT INTO whaply.refused_webhooks (tenant_id, reason, refused) SELECT id, 'wrong_secret', 7 FROM whaply.tenants;
INSERT INTO whaply.refused_webhooks (reason, refused) VALUES ('too_fast', 9);
INSERT INTO whaply.findings (tenant_id, subject, object, problem) SELECT id, 'secret', 'llm_api_key', 'not set' FROM whaply.tenants;
INSERT INTO whaply.connect_requests (tenant_id, webhook_url, state, qr_code, pairing_code)
SELECT id, 'https://db.example.com/webhook', 'scan_qr', 'code-of-' || instance_name, 'pair-' || instance_name FROM whaply.tenants;

CREATE ROLE regress_whaply_operator;
CREATE ROLE regress_whaply_loja;
CREATE ROLE regress_whaply_nobody;
GRANT USAGE ON SCHEMA whaply, story TO regress_whaply_nobody;
SELECT whaply.grant_access('regress_whaply_loja', 'operator', 'loja');
SELECT whaply.grant_access('regress_whaply_operator', 'operator');

-- How many rows of a relation are seen, and how many of them speak of the other tenant. Only the columns
-- that the role may read.
CREATE FUNCTION story.seen(relation regclass, OUT rows bigint, OUT of_outra bigint, OUT secrets bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    columns text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
      FROM pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND has_column_privilege(relation, attnum, 'SELECT');
    EXECUTE format($q$
        SELECT count(*),
               count(*) FILTER (WHERE r::text ~ 'outra|551199999009' OR to_jsonb(r) ->> 'tenant_id' = current_setting('story.outra')),
               count(*) FILTER (WHERE r::text ~ 's3cret|code-of|pair-')
          FROM (SELECT %s FROM %s) AS r $q$, coalesce(columns, 'NULL'), relation) INTO rows, of_outra, secrets;
END
$$;
CREATE TEMP VIEW relations AS
SELECT oid, relname, relkind FROM pg_class
 WHERE relnamespace = 'whaply'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relname <> 'messages_archive';
GRANT SELECT ON relations TO PUBLIC;
SELECT set_config('story.outra', id::text, true) IS NOT NULL AS known FROM whaply.tenants WHERE instance_name = 'outra';

-- The superuser sees what there is to see: every relation has rows of the other tenant, but for what is of none.
SELECT relname, seen.rows > 0 AS has_rows, seen.of_outra > 0 AS has_rows_of_outra
  FROM relations, story.seen(oid) WHERE NOT (rows > 0 AND of_outra > 0) ORDER BY relname;

-- A tenant's role sees its own, and no relation is closed to it but the list of roles.
SET LOCAL ROLE regress_whaply_loja;
SELECT relname FROM relations WHERE NOT has_any_column_privilege(oid, 'SELECT') ORDER BY relname;
SELECT relname, seen.rows > 0 AS has_rows, seen.of_outra, seen.secrets
  FROM relations, story.seen(oid) WHERE has_any_column_privilege(oid, 'SELECT') ORDER BY relname;
SELECT instance_name, evo_server_url, evo_api_key, llm_api_key, webhook_secret, webhook_secret_before, webhook_jwt_key
  FROM whaply.tenant_settings;
RESET ROLE;

-- Who operates all of them sees both, and what is of no tenant.
SET LOCAL ROLE regress_whaply_operator;
SELECT relname, seen.of_outra > 0 AS has_rows_of_outra, seen.secrets
  FROM relations, story.seen(oid) WHERE has_any_column_privilege(oid, 'SELECT') ORDER BY relname;
SELECT count(*) AS of_no_tenant FROM whaply.refused_webhooks WHERE tenant_id IS NULL AND refused = 9;
RESET ROLE;

-- Who was granted a table by hand and no access sees nothing.
GRANT SELECT ON whaply.messages TO regress_whaply_nobody;
GRANT EXECUTE ON FUNCTION whaply.seen_tenants(text) TO regress_whaply_nobody;
SET LOCAL ROLE regress_whaply_nobody;
SELECT count(*) FROM whaply.messages;
RESET ROLE;

-- Functions: another tenant is as unknown as one that is not there.
SELECT max(id) FILTER (WHERE state = 'failed') AS failed_of_outra, max(id) FILTER (WHERE state = 'waiting') AS open_of_outra
  FROM whaply.replies WHERE chat_id = '5511999990090@s.whatsapp.net' \gset
SET LOCAL ROLE regress_whaply_loja;
SELECT whaply.resume_session('loja', '5511999990000@s.whatsapp.net') AS of_its_own;
SELECT call, code, message
  FROM unnest(ARRAY[
       $$SELECT whaply.pause_session('outra', '5511999990090@s.whatsapp.net')$$,
       $$SELECT whaply.resume_session('outra', '5511999990090@s.whatsapp.net')$$,
       $$SELECT whaply.resume_sessions('outra', 'human_takeover')$$,
       $$SELECT whaply.send_message('outra', '5511999990090@s.whatsapp.net', 'Oi')$$,
       $$SELECT whaply.retry_replies('outra', now() - interval '1 day')$$,
       $$SELECT whaply.instance_state('outra')$$,
       $$SELECT whaply.instance_state('nobody')$$]) WITH ORDINALITY AS calls (call, place), LATERAL story.error_of(call)
 ORDER BY place;
SELECT whaply.retry_reply(:failed_of_outra) AS retried, whaply.cancel_reply(:open_of_outra) AS cancelled;
RESET ROLE;
SELECT chat_id, state, count(*) FROM whaply.replies GROUP BY chat_id, state ORDER BY chat_id, state;

-- A function of the role's own that runs with its rights acts for it, whoever calls.
CREATE FUNCTION story.pause(chat text) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$SELECT whaply.pause_session('loja', chat)$$;
ALTER FUNCTION story.pause(text) OWNER TO regress_whaply_loja;
SET LOCAL ROLE regress_whaply_nobody;
SELECT story.pause('5511999990000@s.whatsapp.net') AS through_its_function;
SELECT code, message FROM story.error_of($$SELECT whaply.pause_session('loja', '5511999990000@s.whatsapp.net')$$);
RESET ROLE;

-- Every table with rows of a tenant has the switch and the policies; a new one must not be forgotten.
SELECT c.relname AS without_policies
  FROM pg_class c
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'messages_archive'
   AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'whaply_worker'))
 ORDER BY c.relname;
SELECT c.relname, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
 WHERE c.relnamespace = 'whaply'::regnamespace AND p.polname <> 'whaply_worker'
   AND concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) !~ 'seen_tenants';
ROLLBACK;
