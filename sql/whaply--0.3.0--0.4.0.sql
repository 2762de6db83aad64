-- From 0.3.0 to 0.4.0: what a fresh 0.4.0 has, and every row. The worker may run meanwhile: it finds
-- the tables locked and tries again, and webhooks wait.

-- Where others may create objects, or have, this script could find theirs in the place of what it means, and
-- run it as a superuser; and the owner of a schema drops what is in it and puts something else there.
DO $$
DECLARE
    path text := pg_catalog.current_setting('search_path');
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF EXISTS (SELECT FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
                WHERE n.nspname = 'whaply' AND acl.privilege_type = 'CREATE'
                  AND (acl.grantee = 0 OR NOT EXISTS (SELECT FROM pg_roles r
                                                       WHERE r.oid = acl.grantee AND (r.rolsuper OR r.rolname = current_user))))
    THEN
        RAISE EXCEPTION 'the schema whaply is there already, and others may create objects in it'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SCHEMA whaply OWNER TO CURRENT_USER; REVOKE CREATE ON SCHEMA whaply FROM whoever has it; look at what is in it.';
    END IF;
    IF EXISTS (SELECT FROM (SELECT p.pronamespace, p.proowner FROM pg_proc p
                            UNION ALL SELECT o.oprnamespace, o.oprowner FROM pg_operator o) AS made (namespace, owner)
                 JOIN pg_namespace n ON n.oid = made.namespace AND n.nspname = 'whaply'
                 JOIN pg_roles r ON r.oid = made.owner AND NOT r.rolsuper AND r.rolname <> current_user)
    THEN
        RAISE EXCEPTION 'the schema whaply holds functions or operators of others'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Look at \df and \do whaply.* and drop them.';
    END IF;
    PERFORM pg_catalog.set_config('search_path', path, true);
END
$$;

-- All locks before the first change. Whoever holds one of these may want tenants next: such a session is
-- not waited for, which would be a deadlock, but let past.
DO $$
DECLARE
    before text := current_setting('lock_timeout');
    others text := 'whaply.health, whaply.unanswered_chats, whaply.instance_requests, whaply.processed_events, whaply.replies';
BEGIN
    FOR attempt IN 1..300 LOOP
        BEGIN
            -- Who wants tenants queues behind us: they must not wait for long.
            PERFORM set_config('lock_timeout', '1s', true);
            LOCK TABLE whaply.tenants IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', others);
            PERFORM set_config('lock_timeout', before, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    RAISE EXCEPTION 'a session holds the tables of whaply and does not end its transaction'
        USING ERRCODE = 'lock_not_available',
              HINT = 'SELECT pid, state, query FROM pg_stat_activity ORDER BY xact_start; then repeat.';
END
$$;

CREATE FUNCTION whaply.seen_tenants(level text DEFAULT 'operator') RETURNS SETOF integer
    STABLE PARALLEL RESTRICTED SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'seen_tenants_wrapper';
CREATE FUNCTION whaply.masked_keys()
    RETURNS TABLE (tenant_id integer, evo_server_url text, evo_api_key text, llm_base_url text, llm_api_key text,
                   webhook_secret text, webhook_secret_before text, webhook_jwt_key text)
    STRICT STABLE PARALLEL RESTRICTED SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'masked_keys_wrapper';
CREATE FUNCTION whaply.shown_codes() RETURNS TABLE (request_id bigint, qr_code text, pairing_code text)
    STRICT STABLE PARALLEL RESTRICTED SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'shown_codes_wrapper';

-- These run as whaply_worker once they have noted who called, and look for names where only the system puts any.
DO $$
DECLARE
    pinned regprocedure;
BEGIN
    FOR pinned IN
        SELECT oid FROM pg_catalog.pg_proc
         WHERE pronamespace = 'whaply'::regnamespace AND prolang = (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'c')
           AND proname NOT IN ('home_id', 'draw_qr', 'extension_created')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', pinned);
    END LOOP;
END
$$;
ALTER FUNCTION whaply.ingest(jsonb) SECURITY INVOKER;

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
CREATE OR REPLACE VIEW whaply.instance_requests AS
SELECT r.id, t.instance_name, r.state, r.error, whaply.draw_qr(c.qr_code) AS qr, c.pairing_code, r.qr_at,
       r.created_at, r.updated_at, r.finished_at
  FROM whaply.connect_requests r
  JOIN whaply.tenants t ON t.id = r.tenant_id
  LEFT JOIN whaply.shown_codes() c ON c.request_id = r.id
 ORDER BY r.id DESC;

-- A key or secret of a tenant may name its source in place of itself: env:NAME, file:/path, vault:NAME.
-- Whether the server reads that source is whaply.secret_sources' matter; here it is only refused what
-- can be none, without printing the row, which holds keys, nor the value, which may be one.
CREATE FUNCTION whaply.check_sources() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    SELECT column_name, kind INTO wrong
      FROM (VALUES ('evo_api_key', NEW.evo_api_key::text), ('llm_api_key', NEW.llm_api_key),
                   ('webhook_secret', NEW.webhook_secret), ('webhook_jwt_key', NEW.webhook_jwt_key))
           AS given (column_name, value)
     CROSS JOIN LATERAL (SELECT substring(value FROM '^\s*(env|file|vault):') AS kind) AS named
     WHERE NOT CASE kind
               WHEN 'env' THEN value ~ '^env:[A-Za-z_][A-Za-z0-9_]*$'
               WHEN 'file' THEN value ~ '^file:/[^[:cntrl:]]*[^/[:cntrl:]]$' AND value !~ '/\.\.?(/|$)'
               WHEN 'vault' THEN value ~ '^vault:[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$'
               END
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'tenants.% begins with %:, but names no source', wrong.column_name, wrong.kind
            USING ERRCODE = 'check_violation', SCHEMA = 'whaply', TABLE = 'tenants', COLUMN = wrong.column_name,
                  HINT = 'Allowed: the secret itself, env:NAME, file:/path (absolute, without ..), vault:NAME.';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER check_sources
    BEFORE INSERT OR UPDATE OF evo_api_key, llm_api_key, webhook_secret, webhook_jwt_key
    ON whaply.tenants FOR EACH ROW EXECUTE FUNCTION whaply.check_sources();

-- Ids beyond 2^31. The published schema has integer ids; widen_ids() makes them bigint, once, where a
-- database has lived long enough to need it.
--
-- pg_dump writes CREATE EXTENSION for these tables, whatever they became, and their rows as data: a
-- restored database must know that its ids are bigint before the first row comes, and before the views
-- that people made of the tables. What pg_dump restores earlier than any extension are schemas and
-- collations. So widen_ids() leaves a collation behind, which belongs to no extension and sorts nothing:
-- where this script finds it, the tables begin wide.

CREATE FUNCTION whaply.widen_ids() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    narrow regclass[];
    one regclass;
    others text;
    views text;
    kept jsonb;
    command text;
    patience text := current_setting('lock_timeout');
    has_locks boolean := false;
BEGIN
    -- In the order in which ingest locks them. The archive is the user's own, and may be missing.
    SELECT array_agg(a.attrelid::regclass ORDER BY t.place) INTO narrow
      FROM unnest('{sessions,messages,messages_archive,processed_events}'::name[]) WITH ORDINALITY AS t (name, place)
      JOIN pg_attribute a ON a.attrelid = to_regclass(format('whaply.%I', t.name))
     WHERE a.attname = 'id' AND a.atttypid = 'integer'::regtype;

    -- Readers lock these tables in any order: whoever holds one is let past rather than waited for,
    -- which could be a deadlock, and whoever comes meanwhile waits for a moment only.
    FOR attempt IN 1..300 LOOP
        EXIT WHEN has_locks OR narrow IS NULL;
        BEGIN
            PERFORM set_config('lock_timeout', '1s', true);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', narrow[1]);
            FOREACH one IN ARRAY narrow LOOP
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', one);
            END LOOP;
            has_locks := true;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', patience, true);
    IF narrow IS NOT NULL AND NOT has_locks THEN
        RAISE EXCEPTION 'a session holds the tables of whaply and does not end its transaction'
            USING ERRCODE = 'lock_not_available',
                  HINT = 'SELECT pid, state, query FROM pg_stat_activity ORDER BY xact_start; then repeat.';
    END IF;

    -- A column that a view reads keeps its type. Our views are made anew, with what was granted on them;
    -- somebody else's are not ours to drop.
    WITH RECURSIVE reading (view) AS (
        SELECT r.ev_class
          FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
          JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = ANY (narrow::oid[]) AND a.attname = 'id'
        UNION
        SELECT r.ev_class
          FROM reading JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reading.view
          JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_class <> reading.view),
    known AS (
        SELECT reading.view, EXISTS (
                   SELECT FROM pg_depend m JOIN pg_extension e ON e.oid = m.refobjid AND e.extname = 'whaply'
                    WHERE m.classid = 'pg_class'::regclass AND m.objid = reading.view
                      AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e') AS is_ours
          FROM reading),
    -- What is granted on a view (column: 0) and on its columns, to whom but its owner.
    granted AS (
        SELECT k.view, string_agg(format('GRANT %s%s ON %s TO %s%s', x.privilege_type,
                       coalesce(' (' || quote_ident(g.attname) || ')', ''), k.view::regclass,
                       CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,
                       CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), '; ') AS commands
          FROM known k JOIN pg_class c ON c.oid = k.view
         CROSS JOIN LATERAL (SELECT c.relacl AS acl, NULL::name AS attname
                             UNION ALL SELECT attacl, attname FROM pg_attribute WHERE attrelid = c.oid) AS g
         CROSS JOIN LATERAL aclexplode(g.acl) AS x
         WHERE x.grantee <> c.relowner
         GROUP BY k.view),
    described AS (
        SELECT k.view, string_agg(CASE d.objsubid
                   WHEN 0 THEN format('COMMENT ON VIEW %s IS %L', k.view::regclass, d.description)
                   ELSE format('COMMENT ON COLUMN %s.%I IS %L', k.view::regclass, a.attname, d.description) END, '; ')
                   AS commands
          FROM known k JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = k.view
          LEFT JOIN pg_attribute a ON a.attrelid = k.view AND a.attnum = d.objsubid
         GROUP BY k.view)
    SELECT string_agg(k.view::regclass::text, ', ') FILTER (WHERE NOT k.is_ours),
           string_agg(k.view::regclass::text, ', ') FILTER (WHERE k.is_ours),
           jsonb_agg(jsonb_build_object(
               'name', k.view::regclass, 'definition', pg_get_viewdef(k.view), 'owner', c.relowner::regrole,
               'options', array_to_string(c.reloptions, ', '), 'grants', granted.commands,
               'comments', described.commands) ORDER BY k.view) FILTER (WHERE k.is_ours)
      INTO others, views, kept
      FROM known k JOIN pg_class c ON c.oid = k.view
      LEFT JOIN granted USING (view) LEFT JOIN described USING (view);
    IF others IS NOT NULL THEN
        RAISE EXCEPTION 'these views read ids that would change their type: %', others
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = 'Drop them, SELECT whaply.widen_ids() again, and create them again.';
    END IF;

    FOR one IN SELECT v ->> 'name' FROM jsonb_array_elements(kept) AS v LOOP
        EXECUTE format('ALTER EXTENSION whaply DROP VIEW %s', one);
    END LOOP;
    IF views IS NOT NULL THEN
        EXECUTE format('DROP VIEW %s', views);
    END IF;

    FOREACH one IN ARRAY coalesce(narrow, '{}') LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN id TYPE bigint', one);
        IF pg_get_serial_sequence(one::text, 'id') IS NOT NULL THEN
            EXECUTE format('ALTER SEQUENCE %s AS bigint', pg_get_serial_sequence(one::text, 'id'));
        END IF;
    END LOOP;

    FOR kept IN SELECT v FROM jsonb_array_elements(kept) AS v LOOP
        EXECUTE format('CREATE VIEW %s %s AS %s', kept ->> 'name',
                       'WITH (' || nullif(kept ->> 'options', '') || ')', kept ->> 'definition');
        -- What default privileges have granted to it, nobody has meant.
        FOR command IN
            SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
                                   CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END)
              FROM pg_class c, aclexplode(c.relacl) AS x
             WHERE c.oid = (kept ->> 'name')::regclass AND x.grantee <> c.relowner
        LOOP
            EXECUTE command;
        END LOOP;
        EXECUTE format('ALTER VIEW %s OWNER TO %s', kept ->> 'name', kept ->> 'owner');
        EXECUTE coalesce(kept ->> 'comments', '');
        EXECUTE format('ALTER EXTENSION whaply ADD VIEW %s', kept ->> 'name');
        -- After that: what an extension brings along is no grant to pg_dump.
        EXECUTE coalesce(kept ->> 'grants', '');
    END LOOP;

    IF NOT EXISTS (SELECT FROM pg_collation
                    WHERE collname = 'ids_are_bigint' AND collnamespace = 'whaply'::regnamespace) THEN
        CREATE COLLATION whaply.ids_are_bigint FROM pg_catalog."C";
        COMMENT ON COLLATION whaply.ids_are_bigint IS
            'Sorts nothing: it tells CREATE EXTENSION whaply, when a dump is restored, that ids are bigint. Keep it';
    END IF;
    RETURN narrow IS NOT NULL;
END
$$;

CREATE FUNCTION whaply.forget_chat(instance_name text, chat_id text) RETURNS jsonb
    SET search_path TO pg_catalog, pg_temp LANGUAGE c AS 'MODULE_PATHNAME', 'forget_chat_wrapper';

-- What an operator sees.
CREATE FUNCTION whaply.server_status() RETURNS jsonb
    STRICT LANGUAGE c AS 'MODULE_PATHNAME', 'server_status_wrapper';

-- The few events that left a question without an answer.
CREATE INDEX idx_processed_events_unanswered ON whaply.processed_events (tenant_id, message_id)
    WHERE event_type = 'messages.upsert'
      AND action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode', 'ignored_unverified');

-- Who waits: the customer's questions after the last word of the business that nobody answers. A
-- fallback text and the parts of a reply that did not come to its end are no answer to them.
-- It goes out from the questions, since nearly every chat has none.
CREATE OR REPLACE VIEW whaply.unanswered_chats AS
SELECT t.instance_name, s.chat_id, s.contact_name, s.is_paused, s.pause_reason, q.asked_at, now() - q.asked_at AS waiting_for,
       first.text, q.questions
  FROM whaply.tenants t
 CROSS JOIN LATERAL (
       SELECT coalesce(a.chat_id, m.chat_id) AS chat_id, array_agg(m.sent_at) AS times, array_agg(m.id) AS ids
         FROM whaply.processed_events e
         JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id
         LEFT JOIN whaply.chat_aliases a ON a.tenant_id = m.tenant_id AND a.jid = m.chat_id
        WHERE e.tenant_id = t.id AND e.event_type = 'messages.upsert'
          AND e.action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode',
                                 'ignored_unverified')
          AND m.sender IN ('customer', 'unverified') AND m.deleted_at IS NULL
        GROUP BY coalesce(a.chat_id, m.chat_id)) AS asked
  JOIN whaply.sessions s ON s.tenant_id = t.id AND s.chat_id = asked.chat_id
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
       SELECT min(question.sent_at) AS asked_at, (array_agg(question.id ORDER BY question.sent_at, question.id))[1] AS first_id,
              count(*) AS questions
         FROM unnest(asked.times, asked.ids) AS question (sent_at, id)
        WHERE said.id IS NULL OR (question.sent_at, question.id) > (said.sent_at, said.id)) AS q
  JOIN whaply.messages first ON first.id = q.first_id
   -- A chat that was found to be another one is listed under that one's name.
 WHERE NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
   -- The assistant is about to answer, and it reads the chat.
   AND NOT EXISTS (SELECT FROM whaply.replies r
                    WHERE r.tenant_id = s.tenant_id AND r.chat_id = s.chat_id
                      AND r.state IN ('waiting', 'generating', 'sending'))
 ORDER BY q.asked_at;

-- For the days below. Replies end nearly in the order of their rows.
CREATE INDEX idx_replies_finished_at ON whaply.replies USING brin (finished_at) WITH (autosummarize = on);

-- The last 31 days of each tenant, by the calendar of its own timezone. A message counts on the day on
-- which it came, a reply or a failure on the day on which it ended.
CREATE VIEW whaply.tenant_stats_daily AS
WITH zones AS MATERIALIZED (
    SELECT z.name FROM pg_timezone_names z),
clocks AS MATERIALIZED (
    -- A name that this server does not know counts as UTC, as in the prompt.
    SELECT t.id AS tenant_id, t.instance_name, coalesce(z.name, 'UTC') AS zone
      FROM whaply.tenants t
      LEFT JOIN zones z ON z.name = coalesce(t.timezone, current_setting('whaply.timezone', true))),
said AS (
    SELECT m.tenant_id, (m.created_at AT TIME ZONE c.zone)::date AS day,
           count(*) FILTER (WHERE NOT m.from_me) AS inbound_count,
           count(*) FILTER (WHERE m.from_me) AS outbound_count,
           count(*) FILTER (WHERE m.sender = 'assistant') AS assistant_count,
           count(*) AS total_count
      FROM whaply.messages m JOIN clocks c USING (tenant_id)
     WHERE m.created_at > now() - interval '33 days'
     GROUP BY 1, 2),
answered AS (
    SELECT r.tenant_id, (r.finished_at AT TIME ZONE c.zone)::date AS day,
           count(*) FILTER (WHERE r.state = 'sent') AS reply_count,
           count(*) FILTER (WHERE r.state = 'failed') AS failed,
           sum(r.input_tokens) AS input_tokens,
           sum(r.output_tokens) AS output_tokens,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY r.finished_at - r.first_sent_at)
               FILTER (WHERE r.state = 'sent') AS latencies
      FROM whaply.replies r JOIN clocks c USING (tenant_id)
     WHERE r.finished_at > now() - interval '33 days'
     GROUP BY 1, 2),
-- What failed with its reply is counted there.
undelivered AS (
    SELECT d.tenant_id, (d.finished_at AT TIME ZONE c.zone)::date AS day, count(*) AS failed
      FROM whaply.deliveries d JOIN clocks c USING (tenant_id) LEFT JOIN whaply.replies r ON r.id = d.reply_id
     WHERE d.state = 'failed' AND d.finished_at > now() - interval '33 days' AND r.state IS DISTINCT FROM 'failed'
     GROUP BY 1, 2)
SELECT c.instance_name, day,
       coalesce(said.inbound_count, 0) AS inbound_count,
       coalesce(said.outbound_count, 0) AS outbound_count,
       coalesce(said.assistant_count, 0) AS assistant_count,
       coalesce(said.total_count, 0) AS total_count,
       coalesce(answered.reply_count, 0) AS reply_count,
       coalesce(answered.failed, 0) + coalesce(undelivered.failed, 0) AS error_count,
       coalesce(answered.input_tokens, 0) AS input_tokens,
       coalesce(answered.output_tokens, 0) AS output_tokens,
       answered.latencies[1] AS latency_p50,
       answered.latencies[2] AS latency_p95
  FROM said FULL JOIN answered USING (tenant_id, day) FULL JOIN undelivered USING (tenant_id, day)
  JOIN clocks c USING (tenant_id)
 WHERE day > (now() AT TIME ZONE c.zone)::date - 31
 ORDER BY day DESC, c.instance_name;

-- What the reply worker meets and no other table tells: view health shows it. It goes when it is over.
CREATE TABLE whaply.findings (
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    subject         text NOT NULL CHECK (subject IN ('refused', 'secret')),
    object          text NOT NULL,
    problem         text NOT NULL,
    first_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject, object)
);

SELECT pg_catalog.pg_extension_config_dump('whaply.findings', '');

-- One row for each finding, the worst first; no row is good news. critical: customers get no answer, or
-- will get none. warning: something is lost, or will become critical. info: to know.
CREATE OR REPLACE VIEW whaply.health AS
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

-- Who may do what: grant_access turns a level into plain GRANTs, which pg_dump keeps, and notes for which
-- tenants, by the names of roles: numbers of roles do not survive a restore.

CREATE TABLE whaply.access (
    role_name       name NOT NULL,
    level           text NOT NULL CHECK (level IN ('ingest', 'operator', 'admin')),
    tenant_id       integer REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    claim           text,
    granted_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (tenant_id IS NULL OR claim IS NULL)
);

CREATE UNIQUE INDEX idx_access_once
    ON whaply.access (role_name, level, coalesce(tenant_id, 0), coalesce(claim, ''));
CREATE INDEX idx_access_tenant ON whaply.access (tenant_id) WHERE tenant_id IS NOT NULL;
-- Without it a publication of all tables would make revoke_access fail: it has no primary key.
ALTER TABLE whaply.access REPLICA IDENTITY FULL;

SELECT pg_catalog.pg_extension_config_dump('whaply.access', '');

-- The one list of what a level may do. Keys, codes and URLs are in none; a column that comes to a table later
-- is in none until it is written here.
CREATE FUNCTION whaply.privileges_of(level text, of_all_tenants boolean)
    RETURNS TABLE (privilege text, object text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.privilege, p.object
      FROM (VALUES
        ('any', false, 'USAGE', 'SCHEMA whaply'),

        ('ingest', false, 'EXECUTE', 'FUNCTION whaply.ingest(jsonb)'),
        ('ingest', false, 'EXECUTE', 'FUNCTION whaply.webhook(json)'),

        ('operator', false, 'SELECT (id, instance_name, system_prompt, llm_provider, created_at, updated_at, mode, test_chats, '
            'llm_model, max_tokens, history_limit, max_in_flight, debounce, debounce_max, auto_resume_after, age_limit, '
            'reply_expiry, on_failure, on_other_sender, on_uncertain, fallback_text, timezone, auto_reply_texts, groups, '
            'connection_state, home, answers_per_chat, answers_per_tenant, answer_window, resume_word, hold_word, '
            'answer_after_pause, on_unverified, own_lids, webhook_secret_changed_at)', 'TABLE whaply.tenants'),
        ('operator', false, 'SELECT (id, tenant_id, state, due_at, attempt, error, qr_at, claimed_at, opened_at, created_at, '
            'updated_at, finished_at)', 'TABLE whaply.connect_requests'),
        ('operator', false, 'SELECT', 'TABLE whaply.sessions'),
        ('operator', false, 'SELECT', 'TABLE whaply.messages'),
        ('operator', false, 'SELECT', 'TABLE whaply.processed_events'),
        ('operator', false, 'SELECT', 'TABLE whaply.chat_aliases'),
        ('operator', false, 'SELECT', 'TABLE whaply.replies'),
        ('operator', false, 'SELECT', 'TABLE whaply.deliveries'),
        ('operator', false, 'SELECT', 'TABLE whaply.refused_webhooks'),
        ('operator', false, 'SELECT', 'TABLE whaply.findings'),
        ('operator', false, 'SELECT', 'TABLE whaply.recent_activity'),
        ('operator', false, 'SELECT', 'TABLE whaply.resumable_sessions'),
        ('operator', false, 'SELECT', 'TABLE whaply.unanswered_chats'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_stats'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_stats_daily'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_settings'),
        ('operator', false, 'SELECT', 'TABLE whaply.reply_queue'),
        ('operator', false, 'SELECT', 'TABLE whaply.failed_replies'),
        ('operator', false, 'SELECT', 'TABLE whaply.instance_requests'),
        ('operator', false, 'SELECT', 'TABLE whaply.health'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.seen_tenants(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.masked_keys()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.shown_codes()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.draw_qr(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.home_id()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.worker_status()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.server_status()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.instance_state(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.pause_session(text, text, text, interval)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.resume_session(text, text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.resume_sessions(text, text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.send_message(text, text, text, boolean)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.retry_reply(bigint)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.retry_replies(text, timestamptz)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.cancel_reply(bigint)'),

        -- Not evo_server_url nor llm_base_url: whoever chooses where a key goes can read it there.
        ('admin', false, 'UPDATE (evo_api_key, system_prompt, llm_provider, mode, test_chats, llm_model, llm_api_key, max_tokens, '
            'history_limit, max_in_flight, debounce, debounce_max, auto_resume_after, age_limit, reply_expiry, on_failure, '
            'on_other_sender, on_uncertain, fallback_text, webhook_secret, timezone, auto_reply_texts, groups, answers_per_chat, '
            'answers_per_tenant, answer_window, resume_word, hold_word, answer_after_pause, on_unverified, webhook_jwt_key)',
            'TABLE whaply.tenants'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.connect_instance(text, text)'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.instance_qr(text)'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.forget_chat(text, text)'),
        -- What acts on every tenant.
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.auto_resume()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.auto_resume_paused_sessions(double precision)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.cleanup_old_processed_events(integer)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.archive_messages(integer)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.adopt_tenants()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.start_worker()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.stop_worker()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.wait_until_idle(interval)')
      ) AS p (given_by, only_of_all, privilege, object)
     WHERE (p.given_by IN ('any', privileges_of.level) OR privileges_of.level = 'admin')
       AND (privileges_of.of_all_tenants OR NOT p.only_of_all)
$$;

-- Checks what both functions below are given, and finds the tenant.
CREATE FUNCTION whaply.check_access(role regrole, level text, instance_name text, claim text,
                                    OUT role_name name, OUT tenant_id integer)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    can_log_in boolean;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION '% must not be NULL', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give every argument a value.';
    END IF;
    IF level NOT IN ('ingest', 'operator', 'admin') THEN
        RAISE EXCEPTION 'level is not valid: there is no level "%"', level
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give ''ingest'', ''operator'' or ''admin''.';
    END IF;
    SELECT r.rolname, r.rolcanlogin INTO role_name, can_log_in FROM pg_roles r WHERE r.oid = role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role % does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'CREATE ROLE it first.';
    END IF;
    IF instance_name IS NOT NULL THEN
        SELECT t.id INTO tenant_id FROM whaply.tenants t WHERE t.instance_name = check_access.instance_name;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no tenant for the instance "%"', instance_name
                USING ERRCODE = 'no_data_found', HINT = 'Insert the tenant first. The name is the one in Evolution, with its case.';
        END IF;
    END IF;
    IF claim IS NULL THEN
        RETURN;
    END IF;
    IF instance_name IS NOT NULL THEN
        RAISE EXCEPTION 'claim is not valid: it names the tenants, and so does instance_name'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one of the two.';
    END IF;
    IF claim !~ '^[^.]+(\.[^.]+)*$' THEN
        RAISE EXCEPTION 'claim is not valid: it names no claim'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give a name as in ''instance'', or a path as in ''app_metadata.instances''.';
    END IF;
    IF can_log_in THEN
        RAISE EXCEPTION 'claim is not valid: role % can log in, and would choose its claims itself', role
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Claims are for a NOLOGIN role that PostgREST switches to: there nobody else sets request.jwt.claims.';
    END IF;
END
$$;

CREATE FUNCTION whaply.grant_access(role regrole, level text, instance_name text DEFAULT NULL, claim text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    checked record := whaply.check_access(role, level, instance_name, claim);
    granted record;
BEGIN
    FOR granted IN SELECT * FROM whaply.privileges_of(level, instance_name IS NULL AND claim IS NULL) LOOP
        EXECUTE format('GRANT %s ON %s TO %I', granted.privilege, granted.object, checked.role_name);
    END LOOP;
    INSERT INTO whaply.access (role_name, level, tenant_id, claim)
    VALUES (checked.role_name, grant_access.level, checked.tenant_id, grant_access.claim) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

CREATE FUNCTION whaply.revoke_access(role regrole, level text, instance_name text DEFAULT NULL, claim text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    checked record := whaply.check_access(role, level, instance_name, NULL);
    revoked record;
    changed boolean;
BEGIN
    DELETE FROM whaply.access a
     WHERE a.role_name = checked.role_name AND a.level = revoke_access.level
       AND (instance_name IS NULL AND revoke_access.claim IS NULL
            OR a.tenant_id = checked.tenant_id OR a.claim = revoke_access.claim);
    changed := FOUND;
    IF NOT changed AND (instance_name IS NOT NULL OR claim IS NOT NULL)
       AND EXISTS (SELECT FROM whaply.access a
                    WHERE a.role_name = checked.role_name AND a.level = revoke_access.level
                      AND a.tenant_id IS NULL AND a.claim IS NULL) THEN
        RAISE EXCEPTION 'role % has level % for all tenants, from which one cannot be taken', role, level
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'revoke_access(role, level) first, then grant_access for those it is to keep.';
    END IF;
    -- What another level, or the same one for another tenant, still gives stays.
    FOR revoked IN
        SELECT * FROM whaply.privileges_of(level, true)
        EXCEPT
        SELECT kept.* FROM whaply.access a,
               LATERAL whaply.privileges_of(a.level, a.tenant_id IS NULL AND a.claim IS NULL) AS kept
         WHERE a.role_name = checked.role_name
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM %I', revoked.privilege, revoked.object, checked.role_name);
    END LOOP;
    RETURN changed;
END
$$;

-- The role that all of whaply runs as: the reply worker, the listener, and every function once it has noted
-- who called. Its rights end at this schema, so that nothing anybody plants runs with more.
--
-- A role is the whole server's: another database's extension may have made it, or somebody else, to become
-- a member of it and read every key.

DO $$
DECLARE
    found record;
BEGIN
    BEGIN
        CREATE ROLE whaply_worker NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
    SELECT r.rolcanlogin OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls AS is_strong,
           EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE r.oid IN (m.roleid, m.member)) AS has_company
      INTO found
      FROM pg_catalog.pg_roles r WHERE r.rolname = 'whaply_worker';
    IF found.is_strong THEN
        RAISE EXCEPTION 'the role whaply_worker can do more than it needs'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER ROLE whaply_worker NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;';
    END IF;
    IF found.has_company THEN
        RAISE EXCEPTION 'the role whaply_worker has members, who would read every key, or is a member of another role'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'REVOKE what \drg or \du shows of it; nobody needs to become this role.';
    END IF;
END
$$;

GRANT USAGE ON SCHEMA whaply TO whaply_worker;
GRANT SELECT, UPDATE ON whaply.tenants TO whaply_worker;
GRANT SELECT, INSERT, UPDATE ON whaply.connect_requests TO whaply_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON whaply.sessions, whaply.messages, whaply.processed_events, whaply.chat_aliases,
    whaply.replies, whaply.deliveries, whaply.refused_webhooks, whaply.findings
   TO whaply_worker;
GRANT SELECT ON whaply.access TO whaply_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA whaply TO whaply_worker;
GRANT EXECUTE ON FUNCTION whaply.home_id(), whaply.receive(json) TO whaply_worker;

-- An archive that is there already: the extension was dropped and made anew, or is updated. Whoever owns a
-- table can put triggers on it, which would run as whaply_worker: one of somebody else's is left alone.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_class a
                 JOIN pg_catalog.pg_class m ON m.oid = 'whaply.messages'::regclass
                 JOIN pg_catalog.pg_roles r ON r.oid = a.relowner
                WHERE a.oid = to_regclass('whaply.messages_archive') AND (r.rolsuper OR r.oid = m.relowner)) THEN
        GRANT SELECT, INSERT, UPDATE (raw), DELETE ON TABLE whaply.messages_archive TO whaply_worker;
    END IF;
END
$$;

-- The one function with the rights of its owner: these are then not more than the worker's own.
ALTER FUNCTION whaply.webhook(json) OWNER TO whaply_worker;

-- Whose rows a role sees. All policies ask whaply.seen_tenants, once a statement. They stand here, in the
-- extension's script, since pg_dump keeps of an extension's tables the grants but no policies.

DO $$
DECLARE
    keyed name;
    seen CONSTANT text := '%s = ANY (ARRAY(SELECT whaply.seen_tenants(%L)))';
BEGIN
    FOREACH keyed IN ARRAY ARRAY['tenants', 'sessions', 'messages', 'processed_events', 'chat_aliases', 'replies',
                                 'deliveries', 'refused_webhooks', 'connect_requests', 'findings', 'access'] LOOP
        EXECUTE format('ALTER TABLE whaply.%I ENABLE ROW LEVEL SECURITY', keyed);
        -- Constant, so that the planner drops it together with what other policies ask.
        EXECUTE format('CREATE POLICY whaply_worker ON whaply.%I TO whaply_worker USING (true)', keyed);
        IF keyed <> 'access' THEN
            EXECUTE format('CREATE POLICY seen ON whaply.%I FOR SELECT USING (' || seen || ')', keyed,
                           CASE keyed WHEN 'tenants' THEN 'id'
                                      -- Of no tenant: an instance that nobody has.
                                      WHEN 'refused_webhooks' THEN 'coalesce(tenant_id, 0)'
                                      ELSE 'tenant_id' END, 'operator');
        END IF;
    END LOOP;
    -- What else may be done to a row of tenants is granted by column. 0: the tenants yet to come.
    EXECUTE format('CREATE POLICY changed ON whaply.tenants FOR UPDATE USING (' || seen || ')', 'id', 'admin');
    EXECUTE format('CREATE POLICY deleted ON whaply.tenants FOR DELETE USING (' || seen || ')', 'id', 'admin');
    EXECUTE format('CREATE POLICY made ON whaply.tenants FOR INSERT WITH CHECK (' || seen || ')', '0', 'admin');
END
$$;

-- From PostgreSQL 15 on a view can read with the rights of whoever asks it. Before, it reads with its owner's,
-- past all policies: there its definition itself leaves out what the asking role does not see, before any
-- function of that role's own has looked at it.
DO $$
DECLARE
    shown regclass;
    definition text;
    path text := current_setting('search_path');
    -- Outside of quotes, which an even number of them tells: a view's text may name a table, too.
    no_words CONSTANT text := '(?=(?:[^'']*''[^'']*'')*[^'']*$)';
BEGIN
    -- So that a definition is told with every schema in it.
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    FOR shown IN
        SELECT c.oid FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'v'
           -- Views of people's own in the schema are left as they are.
           AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relname
    LOOP
        IF current_setting('server_version_num')::integer >= 150000 THEN
            EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', shown);
        ELSE
            definition := pg_catalog.pg_get_viewdef(shown);
            definition := regexp_replace(definition, '\mwhaply\.tenants (\w+)' || no_words,
                '(SELECT * FROM whaply.tenants WHERE id = ANY (ARRAY(SELECT whaply.seen_tenants()))) \1', 'g');
            definition := regexp_replace(definition, '\mwhaply\.refused_webhooks (\w+)' || no_words,
                '(SELECT * FROM whaply.refused_webhooks WHERE coalesce(tenant_id, 0) = ANY (ARRAY(SELECT whaply.seen_tenants()))) \1', 'g');
            IF definition !~ 'seen_tenants' THEN
                RAISE EXCEPTION 'view % does not say whose rows it shows', shown;
            END IF;
            EXECUTE format('CREATE OR REPLACE VIEW %s WITH (security_barrier = true) AS %s', shown, definition);
        END IF;
    END LOOP;
    PERFORM set_config('search_path', path, true);
END
$$;

-- Whoever posts goes on: a role that was granted ingest by hand, or every role there is, where it was granted to
-- PUBLIC. (A webhook that was refused would be lost.)
INSERT INTO whaply.access (role_name, level)
SELECT DISTINCT r.rolname, 'ingest'
  FROM pg_catalog.pg_proc p, aclexplode(p.proacl) AS acl
  JOIN pg_catalog.pg_roles r
    ON r.oid = acl.grantee OR (acl.grantee = 0 AND NOT r.rolsuper AND r.rolname !~ '^(pg_|whaply_worker$)')
 WHERE p.oid = 'whaply.ingest(jsonb)'::regprocedure AND acl.grantee <> p.proowner AND acl.privilege_type = 'EXECUTE';

COMMENT ON TABLE whaply.findings IS 'What the reply worker meets and no other table tells: view health shows it, and it goes when it is over';
COMMENT ON COLUMN whaply.findings.subject IS 'refused: a row that PostgreSQL does not let the worker change. secret: a column of tenants whose source cannot be read';
COMMENT ON COLUMN whaply.findings.object IS 'reply ID, delivery ID, session ID, event ID; the name of the column';
COMMENT ON COLUMN whaply.findings.problem IS 'Why, in the words of PostgreSQL or of whaply. Never a secret';
COMMENT ON COLUMN whaply.findings.first_at IS 'When it was first met';
COMMENT ON TABLE whaply.access IS 'Which role may do what for which tenants: written by grant_access and revoke_access, asked by seen_tenants';
COMMENT ON COLUMN whaply.access.role_name IS 'By name, since numbers of roles do not survive a restore. A role that is renamed loses its access';
COMMENT ON COLUMN whaply.access.level IS 'ingest, operator, admin';
COMMENT ON COLUMN whaply.access.tenant_id IS 'NULL: all tenants, or those that the claim names';
COMMENT ON COLUMN whaply.access.claim IS 'The claim of request.jwt.claims that names the instances: one, or an array of them';
COMMENT ON COLUMN whaply.access.granted_at IS 'When it was granted';
COMMENT ON VIEW whaply.tenant_settings IS 'Every setting of the tenants. A key is ''***'', or the source that it names; NULL: not set. A URL without its password';
COMMENT ON FUNCTION whaply.seen_tenants(text) IS 'The ids of the tenants that the caller sees with a level (ingest, operator, admin): what every policy asks. 0 too, if it sees all: those yet to come';
COMMENT ON FUNCTION whaply.masked_keys() IS 'What tenant_settings shows of the keys and URLs of the tenants that the caller sees';
COMMENT ON FUNCTION whaply.shown_codes() IS 'What instance_requests shows of QR and pairing codes: those of the tenants whose admin the caller is';
COMMENT ON FUNCTION whaply.privileges_of(text, boolean) IS 'The privileges of a level: for all tenants, or for some';
COMMENT ON FUNCTION whaply.check_access(regrole, text, text, text) IS 'Checks the arguments of grant_access and revoke_access';
COMMENT ON FUNCTION whaply.grant_access(regrole, text, text, text) IS 'Lets a role do what a level allows: ingest (post), operator (read chats, pause, resume, send), admin. For all tenants; for one, by instance_name; or for those that a claim of request.jwt.claims names, for a role that PostgREST switches to. Returns whether it is new. Errors: 42704 (role), 22023 (level, claim), P0002 (instance), 22004 (NULL)';
COMMENT ON FUNCTION whaply.revoke_access(regrole, text, text, text) IS 'Takes a level back: all of it, or for one instance or claim. Returns whether the role had it';

REVOKE ALL ON FUNCTION whaply.seen_tenants(text), whaply.masked_keys(), whaply.shown_codes(),
    whaply.privileges_of(text, boolean), whaply.check_access(regrole, text, text, text),
    whaply.grant_access(regrole, text, text, text), whaply.revoke_access(regrole, text, text, text) FROM PUBLIC;

COMMENT ON VIEW whaply.tenant_stats_daily IS 'The last 31 days by tenant and day of its timezone: messages, replies sent, errors (replies and messages that failed), tokens, and the time from the first question to the end of the answer. A day without anything has no row';
COMMENT ON VIEW whaply.health IS 'One row for each thing that needs a person, the worst first (severity: critical, warning, info); empty is good';
COMMENT ON FUNCTION whaply.server_status() IS '{library, previous, listener: {state, reason, error}, databases_without_process, databases_left_out}: what view health tells of the processes of whaply in this server. previous: the version whose tables the library serves too. state: off, starting, open, down';

REVOKE ALL ON FUNCTION whaply.server_status() FROM PUBLIC;

COMMENT ON FUNCTION whaply.wait_until_idle(interval) IS 'Waits until the worker has nothing open; false if the time is over first. What waits for a line that is closed does not count. For tests: not in a transaction that has written';

COMMENT ON COLUMN whaply.tenants.evo_api_key IS 'The instance''s token, or Evolution''s global key, sent as the header apikey; or its source: env:NAME, file:/path, vault:NAME';
COMMENT ON COLUMN whaply.tenants.llm_api_key IS 'The key for llm_base_url, or for the provider itself; or its source: env:NAME, file:/path, vault:NAME. NULL: the source named by the GUC';
COMMENT ON COLUMN whaply.tenants.webhook_secret IS 'The value of the header x-whaply-secret of this tenant''s webhook; or its source (env:NAME, file:/path, vault:NAME), which the listener reads and webhook(json) does not';
COMMENT ON COLUMN whaply.tenants.webhook_jwt_key IS 'The jwt_key among the headers of the webhook in Evolution, which makes a token of it (HS256) for each event; the listener takes it in place of the secret. Or its source. NULL: no tokens';
COMMENT ON COLUMN whaply.processed_events.action_taken IS 'paused, resumed, held, ai_queued, ai_replied, ai_failed, superseded, cancelled_paused, drafted, own_echo, pending_echo, other_sender, edited, edited_early, deleted, deleted_early, already_stored, forgotten, ignored_…';
COMMENT ON FUNCTION whaply.check_sources() IS 'Trigger: refuses a key or secret that begins like the name of a source and names none (23514), without printing it';
COMMENT ON FUNCTION whaply.forget_chat(text, text) IS 'Removes a chat (JID, LID or phone number), under all its names: messages, archived ones too, session, replies, deliveries. The ids of its events stay, so that a repeated webhook does not bring it back; a new message begins a new chat. Waits for the end of a call to Evolution that is on its way. Warns of tables where messages may be kept and where it does not look. Returns how many rows went. Errors: P0002 (unknown instance), 22023 (no JID, LID or phone number), 22004 (NULL), 42501 (messages_archive is not open to whaply_worker), 55000 (a call is on its way, and this transaction cannot see its end)';
COMMENT ON FUNCTION whaply.widen_ids() IS 'Makes the ids of sessions, messages, processed_events and messages_archive bigint, in place; dumps keep it. Locks and rewrites these tables. Returns whether there was anything to do. Errors: 2BP01 (a view of yours reads such an id), 55P03 (a session holds the tables)';

REVOKE ALL ON FUNCTION whaply.check_sources(), whaply.forget_chat(text, text), whaply.widen_ids() FROM PUBLIC;

-- What default privileges of whoever runs this have given away of the new objects, nobody has meant.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT granted.object, CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END AS role
          FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
         CROSS JOIN LATERAL (
               SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, acl.grantee, c.relowner
                 FROM pg_catalog.pg_class c, aclexplode(c.relacl) AS acl
                WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                UNION ALL
               SELECT 'FUNCTION ' || p.oid::regprocedure, acl.grantee, p.proowner
                 FROM pg_catalog.pg_proc p, aclexplode(p.proacl) AS acl
                WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid) AS granted (object, grantee, owner)
         WHERE e.extname = 'whaply' AND granted.grantee NOT IN (granted.owner, 'whaply_worker'::regrole)
           -- What is new: its membership was written by this transaction or one within it.
           AND age(d.xmin) <= 0
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', given.object, given.role);
    END LOOP;
END
$$;
