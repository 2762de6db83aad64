-- What needs a person. It shows no key, no secret, no payload, and changes nothing.

-- One row for each finding, the worst first; no row is good news. critical: customers get no answer, or
-- will get none. warning: something is lost, or will become critical. info: to know.
CREATE VIEW whaply.health AS
WITH server AS MATERIALIZED (
    SELECT whaply.server_status() AS status)
-- Names of tables and databases bring a collation of their own.
SELECT found.instance_name, found.subject, found.problem COLLATE "default" AS problem,
       found.what_to_do COLLATE "default" AS what_to_do, found.severity
  FROM (
SELECT NULL::varchar AS instance_name, 'worker' AS subject, 'no reply worker runs in this database' AS problem,
       'SELECT whaply.start_worker(); or set shared_preload_libraries = ''whaply''' AS what_to_do, 'critical' AS severity
 WHERE NOT pg_is_in_recovery() AND (whaply.worker_status() ->> 'pid') IS NULL
UNION ALL
SELECT NULL, 'worker', 'the setting whaply.worker is off: nothing is answered or sent',
       'ALTER SYSTEM SET whaply.worker = on; SELECT pg_reload_conf()', 'critical'
 WHERE NOT coalesce(current_setting('whaply.worker', true)::boolean, true)
UNION ALL
SELECT NULL, 'worker', format('the server has no process left for a reply worker of database %I', d.datname)
       || CASE WHEN d.datname = current_database() THEN '' ELSE '; whether it has whaply is not known' END,
       format('raise max_worker_processes, which is %s, and restart the server: whaply needs one for each database, and two more',
              current_setting('max_worker_processes')),
       CASE WHEN d.datname = current_database() THEN 'critical' ELSE 'warning' END
  FROM server
 CROSS JOIN jsonb_array_elements_text(server.status -> 'databases_without_process') AS lacking (oid)
  JOIN pg_database d ON d.oid = lacking.oid::oid
UNION ALL
SELECT NULL, 'worker', (server.status ->> 'databases_left_out') || ' databases are beyond what whaply can look after: '
       || 'if they have it, nothing is answered there',
       'move some to another server; databases that take no connections, and templates, do not count', 'warning'
  FROM server WHERE (server.status ->> 'databases_left_out')::bigint > 0
UNION ALL
SELECT NULL, 'version', format('the library is version %s, the extension in this database %s: ', server.status ->> 'library', x.extversion)
       || CASE x.extversion WHEN server.status ->> 'previous' THEN 'it is served as before, without what is new'
                            ELSE 'nothing is answered until they are the same' END,
       CASE WHEN string_to_array(x.extversion, '.')::integer[] > string_to_array(server.status ->> 'library', '.')::integer[]
            THEN 'restart the server, so that it loads the library of that version'
            ELSE 'ALTER EXTENSION whaply UPDATE, in this database' END,
       CASE x.extversion WHEN server.status ->> 'previous' THEN 'warning' ELSE 'critical' END
  FROM server JOIN pg_extension x ON x.extname = 'whaply' AND x.extversion <> server.status ->> 'library'
UNION ALL
SELECT NULL, 'listener', 'nothing listens at whaply.listen: ' || CASE listener.reason
       WHEN 'standby' THEN 'this server is a standby'
       WHEN 'not_preloaded' THEN 'whaply is not in shared_preload_libraries'
       WHEN 'several_databases' THEN 'several databases have the extension, and whaply.database names none'
       WHEN 'wrong_database' THEN 'the database that whaply.database names is not there, or has no extension whaply'
       WHEN 'no_database' THEN 'no reply worker has found the extension in any database'
       WHEN 'stopped' THEN 'stop_worker() was called in the database that it serves'
       WHEN 'no_process' THEN 'the server has no process left for it'
       WHEN 'ends' THEN 'its process ended, and is started again'
       ELSE coalesce(listener.error, 'the address cannot be used') END,
       CASE listener.reason
       WHEN 'standby' THEN 'nothing, while another server is the primary: it listens once it is promoted'
       WHEN 'not_preloaded' THEN 'add whaply to shared_preload_libraries and restart the server'
       WHEN 'several_databases' THEN
            format('ALTER SYSTEM SET whaply.database = %L, if it is this one; SELECT pg_reload_conf()', current_database())
       WHEN 'wrong_database' THEN
            format('CREATE EXTENSION whaply there; or ALTER SYSTEM SET whaply.database = %L, if it is this one, and '
                   || 'SELECT pg_reload_conf()', current_database())
       WHEN 'no_database' THEN 'SELECT whaply.start_worker()'
       WHEN 'stopped' THEN 'SELECT whaply.start_worker() there'
       WHEN 'no_process' THEN format('raise max_worker_processes, which is %s, and restart the server',
                                     current_setting('max_worker_processes'))
       WHEN 'ends' THEN 'if it stays so, the server''s log says why'
       ELSE 'free the address, which is tried again every few seconds; or ALTER SYSTEM SET whaply.listen = another, and '
            || 'SELECT pg_reload_conf()' END,
       CASE listener.reason WHEN 'standby' THEN 'info' WHEN 'stopped' THEN 'warning' ELSE 'critical' END
  FROM server
 CROSS JOIN LATERAL jsonb_to_record(server.status -> 'listener') AS listener (state text, reason text, error text)
 WHERE listener.state = 'down'
UNION ALL
SELECT t.instance_name, 'home', 'this database is a copy: the tenant is served elsewhere, nothing is sent from here',
       'SELECT whaply.adopt_tenants(); in the one database that shall speak', 'critical'
  FROM whaply.tenants t WHERE t.home IS DISTINCT FROM whaply.home_id()
UNION ALL
SELECT t.instance_name, 'line', 'the WhatsApp line is ' || t.connection_state || ': answers wait',
       'scan the QR code of the instance in Evolution',
       CASE t.connection_state WHEN 'connecting' THEN 'warning' ELSE 'critical' END
  FROM whaply.tenants t WHERE t.connection_state <> 'open'
UNION ALL
SELECT t.instance_name, 'connect', 'connect_instance failed at ' || to_char(newest.finished_at, 'YYYY-MM-DD HH24:MI') || ': '
       || coalesce(newest.error, '?'),
       format('mend that; then SELECT whaply.connect_instance(%L, webhook_url) again', t.instance_name),
       CASE t.connection_state WHEN 'open' THEN 'warning' ELSE 'critical' END
  FROM whaply.tenants t
 CROSS JOIN LATERAL (
       SELECT r.state, r.error, r.finished_at FROM whaply.connect_requests r
        WHERE r.tenant_id = t.id ORDER BY r.id DESC LIMIT 1) AS newest
 WHERE newest.state = 'failed'
UNION ALL
-- Of a chat only what is first: the rest waits for that.
SELECT t.instance_name, 'queue', count(*) || CASE count(*) WHEN 1 THEN ' answer or message is' ELSE ' answers and messages are' END
       || ' overdue, the oldest by ' || date_trunc('second', now() - min(waiting.due_at)),
       'if the worker runs: SELECT state, query, wait_event FROM pg_stat_activity WHERE backend_type = ''whaply reply worker''; '
       || 'and raise max_in_flight of the tenant, or whaply.worker_threads',
       CASE WHEN min(waiting.due_at) < now() - interval '10 minutes' THEN 'critical' ELSE 'warning' END
  FROM (SELECT r.tenant_id, r.due_at, 'reply ' || r.id AS object FROM whaply.replies r
         WHERE r.state = 'waiting' AND r.due_at < now() - interval '1 minute'
         UNION ALL
        SELECT d.tenant_id, d.due_at, 'delivery ' || d.id FROM whaply.deliveries d
         WHERE d.state = 'pending' AND d.due_at < now() - interval '1 minute'
           AND NOT EXISTS (SELECT FROM whaply.deliveries o
                            WHERE o.tenant_id = d.tenant_id AND o.chat_id = d.chat_id
                              AND o.state IN ('pending', 'sending', 'uncertain') AND o.id < d.id)) AS waiting
  JOIN whaply.tenants t ON t.id = waiting.tenant_id
 -- Where the line is closed, another database speaks, or PostgreSQL refuses it, that is the finding.
 WHERE coalesce(t.connection_state, 'open') = 'open' AND t.home = whaply.home_id()
   AND NOT EXISTS (SELECT FROM whaply.findings f
                    WHERE f.tenant_id = t.id AND f.subject = 'refused' AND f.object = waiting.object)
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'refused', 'PostgreSQL refuses what whaply writes of ' || count(*)
       || CASE count(*) WHEN 1 THEN ' row' ELSE ' rows' END || ' since ' || to_char(min(f.first_at), 'YYYY-MM-DD HH24:MI')
       || ', the last: ' || (array_agg(f.object || ': ' || f.problem ORDER BY f.first_at DESC, f.object))[1],
       'mend what refuses them: a trigger, a CHECK or a policy that is not whaply''s; each is tried again within 5 minutes', 'critical'
  FROM whaply.findings f JOIN whaply.tenants t ON t.id = f.tenant_id
 WHERE f.subject = 'refused'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'replies', failed.replies || CASE failed.replies WHEN 1 THEN ' reply' ELSE ' replies' END
       || ' failed in the last 24 hours, the last: ' || failed.error,
       'SELECT * FROM whaply.failed_replies; then SELECT whaply.retry_replies(instance_name, since)',
       CASE WHEN EXISTS (SELECT FROM whaply.replies r
                          WHERE r.tenant_id = t.id AND r.answered_at > failed.last_at AND r.state = 'sent')
            THEN 'warning' ELSE 'critical' END
  FROM whaply.tenants t
  JOIN (SELECT r.tenant_id, count(*) AS replies, max(r.finished_at) AS last_at,
               (array_agg(coalesce(r.error, '?') ORDER BY r.finished_at DESC))[1] AS error
          FROM whaply.replies r
         WHERE r.state = 'failed' AND r.finished_at > now() - interval '24 hours'
         GROUP BY r.tenant_id) AS failed ON failed.tenant_id = t.id
UNION ALL
SELECT t.instance_name, 'deliveries', 'a message to ' || d.chat_id || ' is ' || d.state || ': ' || coalesce(d.error, '?'),
       'look at the chat; SELECT whaply.send_message(...) if it is not there', 'warning'
  FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id
 WHERE d.state = 'uncertain' OR (d.state = 'failed' AND d.finished_at > now() - interval '24 hours')
UNION ALL
SELECT t.instance_name, 'loop', count(*) || ' chats are paused: more answers than answers_per_chat or answers_per_tenant allow; '
       || 'perhaps a machine is on the other side',
       'SELECT * FROM whaply.sessions WHERE pause_reason = ''loop_guard''; they resume by themselves at paused_until', 'warning'
  FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id
 WHERE s.is_paused AND s.pause_reason = 'loop_guard' AND s.paused_until > now()
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'unverified', count(*) || ' messages of the last 24 hours may stand in the wrong chat and got no answer: '
       || 'several customers wrote at once, and the Cloud API did not prove whose they are',
       'read them: SELECT * FROM whaply.messages WHERE sender = ''unverified''; '
       || 'UPDATE whaply.tenants SET on_unverified = ''answer'' trusts them', 'warning'
  FROM whaply.messages m JOIN whaply.tenants t ON t.id = m.tenant_id
 WHERE m.sender = 'unverified' AND m.created_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'greeting', 'the owner''s words "' || left(w.text, 60) || CASE WHEN length(w.text) > 60 THEN '…' ELSE '' END
       || '" came within 10 s in ' || w.chats || ' chats: are they WhatsApp Business''s own message?',
       format('if so: UPDATE whaply.tenants SET auto_reply_texts = array_append(auto_reply_texts, %L) WHERE instance_name = %L',
              w.text, t.instance_name), 'info'
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
                   || 'if it is there, somebody else posts', t.instance_name) END,
       CASE r.reason WHEN 'invalid' THEN 'info' ELSE 'warning' END
  FROM whaply.refused_webhooks r LEFT JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.last_at > now() - interval '24 hours'
UNION ALL
SELECT t.instance_name, 'secret', 'the tenant has no webhook_secret: its webhooks are refused',
       'UPDATE whaply.tenants SET webhook_secret = ...; or ALTER SYSTEM SET whaply.require_secret = off and reload', 'critical'
  FROM whaply.tenants t JOIN whaply.masked_keys() k ON k.tenant_id = t.id
 WHERE k.webhook_secret IS NULL AND k.webhook_jwt_key IS NULL
UNION ALL
SELECT t.instance_name, 'secret', f.problem || ': ' || CASE f.object
       WHEN 'llm_api_key' THEN 'no answer can be generated'
       WHEN 'evo_api_key' THEN 'nothing can be sent'
       WHEN 'webhook_secret_before' THEN 'webhooks with the former secret are refused'
       ELSE 'webhooks that present it get status 503, and are lost when Evolution gives them up' END,
       'mend the source, or name another one in tenants.' || f.object || '; it is read again every few seconds',
       CASE f.object WHEN 'webhook_secret_before' THEN 'info' ELSE 'critical' END
  FROM whaply.findings f JOIN whaply.tenants t ON t.id = f.tenant_id
 WHERE f.subject = 'secret'
UNION ALL
SELECT NULL, 'archive', 'whaply_worker may not delete from whaply.messages_archive: neither keep_messages, keep_raw nor an '
       || 'admin''s forget_chat reaches what is in it',
       'SELECT whaply.archive_messages(36500), as a superuser: it moves only what is older than a century', 'warning'
  FROM pg_roles r
 WHERE r.rolname = 'whaply_worker' AND NOT has_table_privilege(r.oid, to_regclass('whaply.messages_archive'), 'DELETE')
UNION ALL
SELECT NULL, 'role', 'the role whaply_worker is missing: nothing is answered, sent or stored',
       'ALTER ROLE ... RENAME TO whaply_worker, if it was renamed', 'critical'
 WHERE to_regrole('whaply_worker') IS NULL
UNION ALL
SELECT NULL, 'role', 'the role whaply_worker can log in, has members, or can do more than it needs: it reads every key',
       'ALTER ROLE whaply_worker NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS; and REVOKE what \drg or \du '
       || 'shows of it', 'warning'
  FROM pg_roles r
 WHERE r.rolname = 'whaply_worker'
   AND (r.rolcanlogin OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
        OR EXISTS (SELECT FROM pg_auth_members m WHERE r.oid IN (m.roleid, m.member)))
UNION ALL
SELECT NULL, 'role', format('%s may put triggers on %s: such a trigger runs as whaply_worker and reads every key', granted.role,
                            string_agg(granted.object, ', ' ORDER BY granted.object)),
       format('REVOKE ALL ON ALL TABLES IN SCHEMA whaply FROM %s; then SELECT whaply.grant_access(role, level)', granted.role),
       'warning'
  FROM (SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role, c.oid::regclass::text AS object
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'whaply'
         CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
         WHERE c.relkind IN ('r', 'p') AND acl.privilege_type = 'TRIGGER' AND acl.grantee <> c.relowner
           AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = acl.grantee AND r.rolsuper)) AS granted
 GROUP BY granted.role
UNION ALL
SELECT NULL, 'ids', format('%s %% of the ids that whaply.%s can have are used: after %s nothing is stored', floor(ids.used * 100),
                           ids.relname, ids.last_id),
       'SELECT whaply.widen_ids(), at an hour when the tables may be locked',
       CASE WHEN ids.used < 0.9 THEN 'warning' ELSE 'critical' END
  FROM (SELECT c.relname, last_id, value / last_id AS used
          FROM pg_depend d
          JOIN pg_class c ON c.oid = d.refobjid
          JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'whaply'
          JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          JOIN pg_sequence s ON s.seqrelid = d.objid
         CROSS JOIN LATERAL (
               SELECT least(s.seqmax, CASE a.atttypid WHEN 'integer'::regtype THEN 2147483647 ELSE s.seqmax END)::numeric AS last_id,
                      CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
                           THEN pg_sequence_last_value(s.seqrelid) END AS value) AS counted
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a') AS ids
 WHERE ids.used >= 0.5
UNION ALL
-- Autovacuum begins at these bounds. What lies there three times over, it cannot remove or has no time for.
SELECT NULL, 'bloat', format('%s dead rows lie in whaply.%s, beside %s that live', u.n_dead_tup, u.relname, u.n_live_tup),
       format('SELECT pid, xact_start, state FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY xact_start: an old '
              || 'transaction keeps them, or a slot, or a prepared one; then VACUUM whaply.%I', u.relname), 'warning'
  FROM pg_stat_user_tables u
  JOIN pg_class c ON c.oid = u.relid
 CROSS JOIN LATERAL (
       SELECT max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_threshold') AS rows,
              max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_scale_factor') AS share
         FROM pg_options_to_table(c.reloptions) AS o) AS own
 WHERE u.schemaname = 'whaply'
   AND u.n_dead_tup > 10000 + 3 * (coalesce(own.rows, current_setting('autovacuum_vacuum_threshold'))::float8
                                   + coalesce(own.share, current_setting('autovacuum_vacuum_scale_factor'))::float8
                                     * greatest(c.reltuples, 0))
       ) AS found
 ORDER BY array_position('{critical,warning,info}'::text[], found.severity), subject, instance_name, problem;
