-- Guards the surface: every object of the extension, and every privilege on one, stand in this file's expected
-- result. What changes it is meant, or a mistake. (Settings and their contexts: settings.sql.)

BEGIN;
-- Every object. From PostgreSQL 17 on the types of rows are members too, which every table and view has.
SELECT pg_describe_object(classid, objid, objsubid) AS object
  FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'whaply')
   AND NOT (classid = 'pg_type'::regclass
            AND EXISTS (SELECT FROM pg_type t WHERE t.typrelid <> 0 AND objid IN (t.oid, t.typarray)))
 ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C";
-- How functions run: with whose rights, with which settings.
SELECT p.oid::regprocedure AS function, p.prosecdef AS definer, p.provolatile AS volatile, p.proparallel AS parallel, p.proconfig AS settings,
       CASE WHEN p.proowner = n.nspowner THEN 'the schema''s owner' ELSE p.proowner::regrole::text END AS owner
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'whaply'
 ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[] AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS rows, pg_get_expr(p.polwithcheck, p.polrelid) AS new_rows
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'whaply'::regnamespace
 ORDER BY 1, 2;
-- Every view reads with the rights of whoever asks or, before PostgreSQL 15, leaves out what they do not see.
SELECT c.relname AS view_for_everybody
  FROM pg_class c
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'v'
   AND NOT CASE WHEN current_setting('server_version_num')::integer >= 150000
                THEN c.reloptions @> '{security_invoker=true}'
                ELSE c.reloptions @> '{security_barrier=true}' AND pg_get_viewdef(c.oid) ~ 'seen_tenants' END;

-- Every privilege: of the worker's role, and of each level for all tenants and for one.
CREATE ROLE regress_whaply_ingest;
CREATE ROLE regress_whaply_operator;
CREATE ROLE regress_whaply_admin;
CREATE ROLE regress_whaply_admin_of_one;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
SELECT whaply.grant_access('regress_whaply_ingest', 'ingest'), whaply.grant_access('regress_whaply_operator', 'operator'),
       whaply.grant_access('regress_whaply_admin', 'admin'), whaply.grant_access('regress_whaply_admin_of_one', 'admin', 'loja');
CREATE TEMP VIEW acl AS
SELECT 'schema whaply' AS object, nspowner AS owner, acl.* FROM pg_namespace, aclexplode(nspacl) AS acl WHERE nspname = 'whaply'
UNION ALL
SELECT oid::regclass::text, relowner, acl.* FROM pg_class, aclexplode(relacl) AS acl WHERE relnamespace = 'whaply'::regnamespace
UNION ALL
SELECT c.oid::regclass || '.' || attname, relowner, acl.*
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl) AS acl WHERE relnamespace = 'whaply'::regnamespace
UNION ALL
SELECT oid::regprocedure::text, proowner, acl.* FROM pg_proc, aclexplode(proacl) AS acl WHERE pronamespace = 'whaply'::regnamespace;
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee, object,
       string_agg(privilege_type || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END, ', ' ORDER BY privilege_type) AS privileges
  FROM acl WHERE grantee <> owner
 GROUP BY grantee, object ORDER BY (CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END) COLLATE "C", object COLLATE "C";
-- Without a list of its own, PostgreSQL's defaults hold, and those give functions to everybody.
SELECT oid::regprocedure AS function_with_defaults FROM pg_proc WHERE pronamespace = 'whaply'::regnamespace AND proacl IS NULL;
-- Settings that choose a URL, a file, a role or a database are not even a superuser's session's.
SELECT name, context FROM pg_settings
 WHERE name ~ '^whaply\..*(url|key|token|source|listen|database|prox|address|role|file|directory|ca)' AND context NOT IN ('sighup', 'postmaster')
   AND name <> 'whaply.max_tokens'
 ORDER BY name;
ROLLBACK;
