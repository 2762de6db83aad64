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

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_collation
                WHERE collname = 'ids_are_bigint' AND collnamespace = 'whaply'::pg_catalog.regnamespace) THEN
        PERFORM whaply.widen_ids();
    END IF;
END
$$;
