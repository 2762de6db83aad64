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
