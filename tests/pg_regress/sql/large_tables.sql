-- Guards that the chores find their rows by indexes in tables that have grown, analysed or not, and that
-- they work in portions: 120,000 events, 60,000 messages, 60,000 chats.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1') RETURNING id AS loja \gset

-- The times grow with the ids. No foreign keys are checked: they would be, again, for each row of this transaction.
SET LOCAL session_replication_role = replica;
INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at)
SELECT :loja, n || '@s.whatsapp.net', n % 10 = 0, CASE WHEN n % 10 = 0 THEN 'human_takeover' END,
       now() - interval '3 hours' * (n % 100 = 0)::integer
  FROM generate_series(1, 60000) AS n;
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, created_at)
SELECT :loja, n || '@s.whatsapp.net', 'M' || n, 'Bom dia', now() - interval '100 days' * (1 - n / 60000.0)
  FROM generate_series(1, 60000) AS n;
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken, processed_at)
SELECT :loja, 'E' || n, 'messages.upsert', 'ignored_type', now() - interval '10 days' * (1 - n / 120000.0)
  FROM generate_series(1, 120000) AS n;

-- What a call of `chore` has read, in this transaction: whole tables, and indexes; and whether the rows and entries that
-- it looked at were no more than so many, since an index can be read from end to end, too.
CREATE FUNCTION pg_temp.reads(of_table regclass) RETURNS TABLE (read regclass, times bigint, looked_at bigint)
    LANGUAGE sql AS $$
    SELECT of_table, pg_stat_get_xact_numscans(of_table), pg_stat_get_xact_tuples_returned(of_table)
     UNION ALL
    SELECT indexrelid::regclass, pg_stat_get_xact_numscans(indexrelid), pg_stat_get_xact_tuples_returned(indexrelid)
      FROM pg_index WHERE indrelid = of_table
$$;
CREATE FUNCTION pg_temp.found_by(chore text, of_table regclass, at_most bigint, OUT result text, OUT read_whole boolean,
                                 OUT is_within boolean, OUT by_index text)
    LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := (SELECT jsonb_object_agg(r.read, jsonb_build_array(r.times, r.looked_at)) FROM pg_temp.reads(of_table) AS r);
BEGIN
    EXECUTE 'SELECT ' || chore INTO result;
    SELECT bool_or(r.read = of_table), string_agg(r.read::text, ', ' ORDER BY r.read::text) FILTER (WHERE r.read <> of_table),
           sum(r.looked_at - (before -> r.read::text ->> 1)::bigint) <= at_most
      INTO read_whole, by_index, is_within
      FROM pg_temp.reads(of_table) AS r
     WHERE r.times > (before -> r.read::text ->> 0)::bigint;
END
$$;

-- Nobody has analysed the tables yet. By the settings: 7 days, 2 hours. Of the events it looks at the oldest 100,000, twice,
-- and at dead ones of the files before.
SELECT * FROM pg_temp.found_by('whaply.auto_resume()', 'whaply.processed_events', 210000);
SELECT * FROM pg_temp.found_by('whaply.auto_resume()', 'whaply.sessions', 1000);
SELECT count(*) AS paused FROM whaply.sessions WHERE is_paused;

ANALYZE whaply.sessions, whaply.messages, whaply.processed_events;
SELECT count(brin_summarize_new_values(brin)) AS summarized
  FROM unnest('{whaply.idx_messages_created_at,whaply.idx_processed_events_processed_at}'::regclass[]) AS brin;
SELECT * FROM pg_temp.found_by('whaply.cleanup_old_processed_events(6)', 'whaply.processed_events', 30000);
SELECT * FROM pg_temp.found_by('whaply.archive_messages(90)', 'whaply.messages', 20000);
UPDATE whaply.sessions SET last_human_at = now() - interval '3 hours' WHERE chat_id = '10@s.whatsapp.net';
SELECT * FROM pg_temp.found_by('whaply.auto_resume_paused_sessions(2)', 'whaply.sessions', 1000);

-- A portion is bounded: a million pauses would else be ended in one transaction, and their chats wait.
UPDATE whaply.sessions SET is_paused = true, pause_reason = 'human_takeover', last_human_at = now() - interval '3 hours'
 WHERE tenant_id = :loja AND id % 10 = 3;
SELECT whaply.auto_resume() ->> 'resumed' AS first, whaply.auto_resume() ->> 'resumed' AS then, whaply.auto_resume() ->> 'resumed' AS last;

ROLLBACK;
-- The files that follow shall not read over dead rows.
VACUUM whaply.sessions, whaply.messages, whaply.processed_events;
