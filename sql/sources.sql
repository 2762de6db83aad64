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
