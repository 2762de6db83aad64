-- What PostgREST calls with the raw body: it hands one only to a function with a single unnamed
-- argument of type json (not jsonb, which refuses \u0000). PostgREST answers with the status in
-- the SQLSTATEs PT401, PT404 and PT503, which only SQL can raise.

CREATE FUNCTION whaply.webhook(json) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    answer jsonb := whaply.receive($1);
BEGIN
    IF answer ? 'refused' THEN
        RAISE EXCEPTION USING
            ERRCODE = answer #>> '{refused,sqlstate}',
            MESSAGE = answer #>> '{refused,message}',
            HINT = answer #>> '{refused,hint}';
    END IF;
    RETURN answer;
END
$$;
