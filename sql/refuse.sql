-- Where the extension cannot work it says so before it makes anything.
--
-- Where others may create objects, or have, this script could find theirs in the place of what it means, and
-- run it as a superuser; and the owner of a schema drops what is in it and puts something else there.
DO $$
DECLARE
    path text := pg_catalog.current_setting('search_path');
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'whaply needs a database in UTF8, this one is in %', current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0';
    END IF;
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
