-- Guards that the published queries for paused sessions use their partial index where it counts:
-- 200,000 sessions, of which 1,000 are paused.

BEGIN;
SET search_path TO whaply;

CREATE FUNCTION pg_temp.plan_names_the_index(query text) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    line text;
    named boolean := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        named := named OR line LIKE '%idx_sessions_paused_last_human%';
    END LOOP;
    RETURN named;
END
$$;

INSERT INTO tenants (instance_name, evo_server_url) VALUES ('demo-instance', 'https://your-evolution-api.com');
INSERT INTO sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at)
SELECT t.id, '55119' || lpad(n::text, 8, '0') || '@s.whatsapp.net', n % 200 = 0,
       CASE WHEN n % 200 = 0 THEN 'human_takeover' END, now() - n * interval '1 second'
  FROM tenants t, generate_series(1, 200000) AS n
 WHERE t.instance_name = 'demo-instance';
ANALYZE sessions;
SELECT count(*) AS sessions, count(*) FILTER (WHERE is_paused) AS paused FROM sessions;

SELECT pg_temp.plan_names_the_index($$
SELECT
    s.id,
    t.instance_name,
    s.chat_id,
    s.last_human_at,
    NOW() - s.last_human_at as idle_duration
FROM sessions s
JOIN tenants t ON s.tenant_id = t.id
WHERE s.is_paused = TRUE
  AND s.last_human_at < NOW() - INTERVAL '2 hours'
ORDER BY s.last_human_at ASC;
$$) AS auto_resume_query;

SELECT pg_temp.plan_names_the_index($$
SELECT * FROM sessions
WHERE is_paused = TRUE
  AND last_human_at < NOW() - INTERVAL '2 hours';
$$) AS slow_queries;

-- Of the 1,000, every 200th second one, those of the last two hours stay: 36.
SELECT auto_resume_paused_sessions(2) AS resumed;
SELECT count(*) AS still_paused FROM sessions WHERE is_paused;

-- The answer depends on the index.
DROP INDEX idx_sessions_paused_last_human;
SELECT pg_temp.plan_names_the_index($$
SELECT * FROM sessions
WHERE is_paused = TRUE
  AND last_human_at < NOW() - INTERVAL '2 hours';
$$) AS without_the_index;

ROLLBACK;
-- The files that follow shall not read over 200,000 dead rows.
VACUUM whaply.sessions;
