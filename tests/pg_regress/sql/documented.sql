-- Guards what a person finds with \d+ and \df+, what pg_dump keeps, and who may do what by default:
-- every list below that is not a count is empty.

-- Without a comment. A column that carries name and meaning of a published one needs none.
SELECT c.oid::regclass AS relation_without_comment
  FROM pg_class c
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'v')
   AND obj_description(c.oid, 'pg_class') IS NULL
 ORDER BY c.relname;
SELECT p.oid::regprocedure AS function_without_comment
  FROM pg_proc p
 WHERE p.pronamespace = 'whaply'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
 ORDER BY p.proname;
SELECT c.relname AS relation, a.attname AS column_without_comment
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NULL
   AND a.attname NOT IN ('id', 'tenant_id', 'chat_id', 'message_id', 'text', 'created_at', 'updated_at')
   AND (c.relname, a.attname) NOT IN (
       ('sessions', 'is_paused'), ('messages', 'from_me'),
       ('processed_events', 'event_type'), ('processed_events', 'processed_at'))
 ORDER BY c.relname, a.attnum;
SELECT obj_description('whaply'::regnamespace, 'pg_namespace') IS NOT NULL AS schema_has_comment;

-- Not a member of the extension, so that DROP EXTENSION would leave it or refuse. The schema is none:
-- CREATE EXTENSION makes it beforehand, and messages_archive, the user's own, may live there.
CREATE TEMP VIEW object AS
SELECT 'pg_class'::regclass AS catalog, oid, oid::regclass::text AS name, relkind::text AS kind
  FROM pg_class WHERE relnamespace = 'whaply'::regnamespace AND relkind NOT IN ('i', 'c', 't')
UNION ALL
SELECT 'pg_proc'::regclass, oid, oid::regprocedure::text, 'f' FROM pg_proc WHERE pronamespace = 'whaply'::regnamespace;
SELECT name AS not_a_member
  FROM object o
 WHERE NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
                    WHERE d.classid = o.catalog AND d.objid = o.oid AND d.refclassid = 'pg_extension'::regclass
                      AND d.deptype = 'e' AND x.extname = 'whaply')
 ORDER BY name;
SELECT kind, count(*) FROM object GROUP BY kind ORDER BY kind;

-- What everybody may do: nothing.
SELECT p.oid::regprocedure AS function_for_everybody
  FROM pg_proc p
 WHERE p.pronamespace = 'whaply'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
 ORDER BY p.proname;
SELECT c.relname AS relation_for_everybody
  FROM pg_class c
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'v', 'S')
   AND (c.relkind = 'S' AND has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE')
        OR c.relkind <> 'S' AND (
           has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
           OR has_any_column_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')))
 ORDER BY c.relname;
SELECT has_schema_privilege('public', 'whaply', 'USAGE, CREATE') AS schema_for_everybody;
-- A function with the rights of its owner must not look for names where others can put some.
SELECT p.oid::regprocedure AS definer_without_search_path
  FROM pg_proc p
 WHERE p.pronamespace = 'whaply'::regnamespace AND p.prosecdef
   AND NOT coalesce(p.proconfig, '{}') && ARRAY['search_path=pg_catalog, pg_temp']
 ORDER BY p.proname;

-- What pg_dump would leave out: rows of these tables, values of these sequences.
SELECT c.relname AS not_dumped
  FROM pg_class c
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'S')
   AND c.oid <> ALL ((SELECT extconfig FROM pg_extension WHERE extname = 'whaply')::oid[])
 ORDER BY c.relname;
SELECT cardinality(extconfig) AS dumped, extrelocatable, extnamespace::regnamespace AS schema
  FROM pg_extension WHERE extname = 'whaply';
-- A condition would leave rows out.
SELECT condition FROM pg_extension, unnest(extcondition) AS condition WHERE extname = 'whaply' AND condition <> '';
