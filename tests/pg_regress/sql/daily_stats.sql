-- Guards view tenant_stats_daily: the days of each tenant's own calendar, and figures that can be checked by hand.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, timezone)
VALUES ('sao paulo', 'http://127.0.0.1:1', 'America/Sao_Paulo'), ('tokyo', 'http://127.0.0.1:1', 'Asia/Tokyo');
-- A row restored from a server that knew this name; here it counts as UTC.
INSERT INTO whaply.tenants (instance_name, evo_server_url, timezone, home)
VALUES ('mars', 'http://127.0.0.1:1', 'Mars/Olympus_Mons', 'elsewhere');
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('quiet', 'http://127.0.0.1:1');

-- The midnight so many days ago, where the tenant is.
CREATE TEMP VIEW place AS
SELECT id, instance_name, CASE instance_name WHEN 'mars' THEN 'UTC' ELSE timezone END AS zone FROM whaply.tenants;
CREATE FUNCTION pg_temp.midnight(tenant text, days_ago integer) RETURNS timestamptz
    LANGUAGE sql AS $$
    SELECT (date_trunc('day', now() AT TIME ZONE zone) - days_ago * interval '1 day') AT TIME ZONE zone
      FROM place WHERE instance_name = tenant
$$;
CREATE FUNCTION pg_temp.day_of(tenant text, days_ago integer, OUT inbound bigint, OUT outbound bigint, OUT assistant bigint,
                               OUT total bigint, OUT replies bigint, OUT errors bigint, OUT input_tokens bigint,
                               OUT output_tokens bigint, OUT p50 interval, OUT p95 interval) RETURNS SETOF record
    LANGUAGE sql AS $$
    SELECT d.inbound_count, d.outbound_count, d.assistant_count, d.total_count, d.reply_count, d.error_count, d.input_tokens,
           d.output_tokens, d.latency_p50, d.latency_p95
      FROM whaply.tenant_stats_daily d JOIN place p USING (instance_name)
     WHERE d.instance_name = tenant AND d.day = (now() AT TIME ZONE p.zone)::date - days_ago
$$;

-- A message just before each midnight and two at it; the last of 31 days and the day before them.
INSERT INTO whaply.sessions (tenant_id, chat_id) SELECT id, 'a' FROM place WHERE instance_name <> 'quiet';
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, sender, created_at)
SELECT p.id, 'a', format('%s %s', days_ago, m.id), m.sender <> 'customer', m.sender,
       pg_temp.midnight(p.instance_name, days_ago) + m.after
  FROM place p, unnest('{1,30}'::integer[]) AS days_ago,
       (VALUES (1, 'customer', interval '-1 us'), (2, 'customer', '0'), (3, 'assistant', '0'), (4, 'owner', '23 hours'))
       AS m (id, sender, after)
 WHERE p.instance_name <> 'quiet';
SELECT p.instance_name, (now() AT TIME ZONE p.zone)::date - d.day AS days_ago, inbound_count, outbound_count, assistant_count, total_count
  FROM whaply.tenant_stats_daily d JOIN place p USING (instance_name) ORDER BY p.id, days_ago;

-- Answers of 1 s to 20 s from the first question to the end, the tokens of all that was generated, and what failed:
-- two replies (one with a message of its own that failed), and an operator's message.
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, finished_at, input_tokens, output_tokens)
SELECT p.id, 'a', 'sent', now(), at - n * interval '1 s', at, 100, n
  FROM place p, generate_series(1, 20) AS n, LATERAL (SELECT pg_temp.midnight(p.instance_name, 2) + n * interval '1 hour' AS at) AS ended
 WHERE p.instance_name = 'tokyo';
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, finished_at, input_tokens, output_tokens)
SELECT p.id, 'a', state, now(), at - interval '1 day', at, tokens, tokens
  FROM place p, LATERAL (SELECT pg_temp.midnight(p.instance_name, 2) AS at) AS ended,
       (VALUES ('failed', NULL), ('failed', 1000), ('superseded', 1000), ('drafted', 1000)) AS other (state, tokens)
 WHERE p.instance_name = 'tokyo';
INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, finished_at)
SELECT p.id, 'a', r.id, kind, 'Oi', 'failed', pg_temp.midnight(p.instance_name, 2)
  FROM place p, (SELECT max(id) FROM whaply.replies WHERE state = 'failed') AS r (id), (VALUES ('reply')) AS of (kind)
 WHERE p.instance_name = 'tokyo'
UNION ALL
SELECT p.id, 'a', NULL, 'operator', 'Oi', 'failed', pg_temp.midnight(p.instance_name, 2) FROM place p WHERE p.instance_name = 'tokyo';
-- Open ones count on the day on which they end.
INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at) SELECT id, 'a', now(), now() FROM place WHERE instance_name = 'tokyo';
SELECT * FROM pg_temp.day_of('tokyo', 2);
SELECT * FROM pg_temp.day_of('tokyo', 1);
SELECT count(*) AS rows_of_a_day_without_anything FROM pg_temp.day_of('tokyo', 0);

-- The newest day first. The tenants' own counts of a day, as before, beside it.
SELECT bool_and(day <= before) AS newest_first FROM (SELECT day, lag(day) OVER () AS before FROM whaply.tenant_stats_daily) AS listed;
SELECT column_name FROM information_schema.columns
 WHERE table_schema = 'whaply' AND table_name = 'tenant_stats' ORDER BY ordinal_position;

ROLLBACK;
