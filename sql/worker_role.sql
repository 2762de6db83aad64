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
