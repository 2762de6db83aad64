-- Where the extension cannot work it says so before it makes anything.
DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'whaply needs a database in UTF8, this one is in %', current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0';
    END IF;
    -- The owner of a schema drops what is in it and puts something else there.
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
                WHERE n.nspname = 'whaply' AND acl.privilege_type = 'CREATE'
                  AND (acl.grantee = 0 OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                                                       WHERE r.oid = acl.grantee AND (r.rolsuper OR r.rolname = current_user))))
    THEN
        RAISE EXCEPTION 'the schema whaply is there already, and others may create objects in it'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SCHEMA whaply OWNER TO CURRENT_USER; REVOKE CREATE ON SCHEMA whaply FROM whoever has it; look at what is in it.';
    END IF;
END
$$;
