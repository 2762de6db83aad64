-- Guards the published schema: columns with name, type and place, indexes by name, unique and
-- foreign keys, defaults. Each listing is compared both ways; only differences are printed.

BEGIN;

CREATE TEMP TABLE listed_columns (relation text, place integer, name text, type text);
INSERT INTO listed_columns VALUES
    ('tenants', 1, 'id', 'SERIAL'),
    ('tenants', 2, 'instance_name', 'VARCHAR(255)'),
    ('tenants', 3, 'evo_server_url', 'VARCHAR(500)'),
    ('tenants', 4, 'evo_api_key', 'VARCHAR(500)'),
    ('tenants', 5, 'system_prompt', 'TEXT'),
    ('tenants', 6, 'llm_provider', 'VARCHAR(50)'),
    ('tenants', 7, 'created_at', 'TIMESTAMPTZ'),
    ('tenants', 8, 'updated_at', 'TIMESTAMPTZ'),
    ('sessions', 1, 'id', 'SERIAL'),
    ('sessions', 2, 'tenant_id', 'INTEGER'),
    ('sessions', 3, 'chat_id', 'VARCHAR(255)'),
    ('sessions', 4, 'is_paused', 'BOOLEAN'),
    ('sessions', 5, 'pause_reason', 'VARCHAR(100)'),
    ('sessions', 6, 'last_message_at', 'TIMESTAMPTZ'),
    ('sessions', 7, 'last_human_at', 'TIMESTAMPTZ'),
    ('sessions', 8, 'created_at', 'TIMESTAMPTZ'),
    ('sessions', 9, 'updated_at', 'TIMESTAMPTZ'),
    ('messages', 1, 'id', 'SERIAL'),
    ('messages', 2, 'tenant_id', 'INTEGER'),
    ('messages', 3, 'chat_id', 'VARCHAR(255)'),
    ('messages', 4, 'message_id', 'VARCHAR(255)'),
    ('messages', 5, 'from_me', 'BOOLEAN'),
    ('messages', 6, 'message_type', 'VARCHAR(50)'),
    ('messages', 7, 'text', 'TEXT'),
    ('messages', 8, 'raw', 'JSONB'),
    ('messages', 9, 'created_at', 'TIMESTAMPTZ'),
    ('processed_events', 1, 'id', 'SERIAL'),
    ('processed_events', 2, 'tenant_id', 'INTEGER'),
    ('processed_events', 3, 'message_id', 'VARCHAR(255)'),
    ('processed_events', 4, 'event_type', 'VARCHAR(100)'),
    ('processed_events', 5, 'action_taken', 'VARCHAR(100)'),
    ('processed_events', 6, 'processed_at', 'TIMESTAMPTZ');

-- SERIAL is an integer whose default draws from a sequence that the column owns.
CREATE TEMP VIEW wanted_columns AS
SELECT relation, place, name, type = 'SERIAL' AS draws_from_own_sequence,
       replace(CASE type WHEN 'SERIAL' THEN 'integer'
                         WHEN 'TIMESTAMPTZ' THEN 'timestamp with time zone'
                         ELSE lower(type) END, 'varchar', 'character varying') AS type
  FROM listed_columns;

CREATE TEMP VIEW present_columns AS
SELECT c.relname::text AS relation, a.attnum::integer AS place, a.attname::text AS name,
       coalesce(pg_get_expr(d.adbin, d.adrelid) = format('nextval(%L::regclass)',
                pg_get_serial_sequence('whaply.' || c.relname, a.attname)), false) AS draws_from_own_sequence,
       format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'r';

SELECT 'missing' AS difference, * FROM (TABLE wanted_columns EXCEPT TABLE present_columns) AS missing ORDER BY 2, 3;
-- Ours may only follow: in the places of the published columns nothing else stands.
SELECT 'not published' AS difference, *
  FROM (SELECT p.* FROM present_columns p JOIN wanted_columns USING (relation, place)
        EXCEPT TABLE wanted_columns) AS unpublished ORDER BY 2, 3;
SELECT relation, count(*) AS published_columns FROM present_columns JOIN wanted_columns USING (relation, place, name)
 GROUP BY relation ORDER BY relation;
SELECT count(*) AS dropped_columns FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'whaply'::regnamespace AND a.attisdropped;

-- What a row cannot be without; the published listing says nothing of it.
SELECT relation, string_agg(name, ', ' ORDER BY place) AS not_null
  FROM wanted_columns
  JOIN pg_attribute a ON a.attrelid = ('whaply.' || relation)::regclass AND a.attname = name AND a.attnotnull
 GROUP BY relation ORDER BY relation;

CREATE TEMP TABLE wanted_indexes (name text, relation text, columns text, is_unique boolean, predicate text);
INSERT INTO wanted_indexes VALUES
    ('idx_tenants_instance_name', 'tenants', 'instance_name', true, NULL),
    ('idx_sessions_tenant_chat', 'sessions', 'tenant_id, chat_id', true, NULL),
    ('idx_sessions_paused_last_human', 'sessions', 'is_paused, last_human_at', false, '(is_paused = true)'),
    ('idx_messages_tenant_msg', 'messages', 'tenant_id, message_id', true, NULL),
    ('idx_processed_events_tenant_msg', 'processed_events', 'tenant_id, message_id, event_type', true, NULL),
    ('tenants_pkey', 'tenants', 'id', true, NULL),
    ('sessions_pkey', 'sessions', 'id', true, NULL),
    ('messages_pkey', 'messages', 'id', true, NULL),
    ('processed_events_pkey', 'processed_events', 'id', true, NULL);

CREATE TEMP VIEW present_indexes AS
SELECT i.relname::text AS name, t.relname::text AS relation,
       (SELECT string_agg(pg_get_indexdef(x.indexrelid, place, true), ', ' ORDER BY place)
          FROM generate_series(1, x.indnkeyatts) AS place) AS columns,
       x.indisunique AS is_unique, pg_get_expr(x.indpred, x.indrelid) AS predicate
  FROM pg_index x
  JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_class t ON t.oid = x.indrelid
 WHERE t.relnamespace = 'whaply'::regnamespace AND x.indisvalid AND x.indisready;

SELECT 'missing' AS difference, * FROM (TABLE wanted_indexes EXCEPT TABLE present_indexes) AS missing ORDER BY 2;
SELECT count(*) AS published_indexes FROM present_indexes JOIN wanted_indexes USING (name);
-- Every other index of these tables is ours, and none of them forbids a row that the published schema allows.
SELECT 'not published' AS difference, *
  FROM (SELECT p.* FROM present_indexes p
         WHERE is_unique AND relation IN (SELECT relation FROM wanted_indexes)
        EXCEPT TABLE wanted_indexes) AS unpublished ORDER BY 2;

CREATE TEMP TABLE wanted_unique_constraints (relation text, columns text);
INSERT INTO wanted_unique_constraints VALUES
    ('tenants', 'instance_name'),
    ('sessions', 'tenant_id, chat_id'),
    ('messages', 'tenant_id, message_id'),
    ('processed_events', 'tenant_id, message_id, event_type');

CREATE TEMP VIEW present_unique_constraints AS
SELECT t.relname::text AS relation,
       (SELECT string_agg(a.attname, ', ' ORDER BY place)
          FROM unnest(c.conkey) WITH ORDINALITY AS key (attnum, place)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = key.attnum) AS columns
  FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
 WHERE c.connamespace = 'whaply'::regnamespace AND c.contype = 'u' AND NOT c.condeferrable;

SELECT 'missing' AS difference, *
  FROM (TABLE wanted_unique_constraints EXCEPT TABLE present_unique_constraints) AS missing ORDER BY 2;
SELECT 'not published' AS difference, *
  FROM (TABLE present_unique_constraints EXCEPT TABLE wanted_unique_constraints) AS unpublished ORDER BY 2;
SELECT count(*) AS unique_constraints FROM present_unique_constraints;

-- Every tenant_id, of our tables too, refers to tenants and goes with its tenant.
CREATE TEMP VIEW tenant_keys AS
SELECT t.relname::text AS relation
  FROM pg_constraint c
  JOIN pg_class t ON t.oid = c.conrelid
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
 WHERE c.contype = 'f' AND c.confrelid = 'whaply.tenants'::regclass AND c.confdeltype = 'c' AND a.attname = 'tenant_id'
   AND c.confkey = (SELECT conkey FROM pg_constraint WHERE conname = 'tenants_pkey');

SELECT relation AS without_foreign_key
  FROM (SELECT relation FROM present_columns WHERE name = 'tenant_id' EXCEPT TABLE tenant_keys) AS missing ORDER BY 1;
SELECT relation AS with_foreign_key FROM tenant_keys ORDER BY relation;

CREATE TEMP TABLE wanted_defaults (relation text, name text, "default" text);
INSERT INTO wanted_defaults VALUES
    ('tenants', 'llm_provider', '''anthropic''::character varying'),
    ('tenants', 'created_at', 'now()'),
    ('tenants', 'updated_at', 'now()'),
    ('sessions', 'is_paused', 'false'),
    ('sessions', 'created_at', 'now()'),
    ('sessions', 'updated_at', 'now()'),
    ('messages', 'from_me', 'false'),
    ('messages', 'created_at', 'now()'),
    ('processed_events', 'processed_at', 'now()');

CREATE TEMP VIEW present_defaults AS
SELECT w.relation, w.name, pg_get_expr(d.adbin, d.adrelid) AS "default"
  FROM wanted_columns w
  JOIN pg_attrdef d ON d.adrelid = ('whaply.' || w.relation)::regclass AND d.adnum = w.place
 WHERE NOT w.draws_from_own_sequence;

SELECT 'missing' AS difference, * FROM (TABLE wanted_defaults EXCEPT TABLE present_defaults) AS missing ORDER BY 2, 3;
SELECT 'not expected' AS difference, * FROM (TABLE present_defaults EXCEPT TABLE wanted_defaults) AS extra ORDER BY 2, 3;
SELECT count(*) AS defaults FROM present_defaults;

-- The comparison can fail: it finds a column that was renamed and an index that is gone.
ALTER TABLE whaply.sessions RENAME COLUMN pause_reason TO reason;
DROP INDEX whaply.idx_sessions_paused_last_human;
SELECT 'missing' AS difference, * FROM (TABLE wanted_columns EXCEPT TABLE present_columns) AS missing ORDER BY 2, 3;
SELECT 'missing' AS difference, * FROM (TABLE wanted_indexes EXCEPT TABLE present_indexes) AS missing ORDER BY 2;

ROLLBACK;
