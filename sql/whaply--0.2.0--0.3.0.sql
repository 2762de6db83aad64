-- From 0.2.0 to 0.3.0: what a fresh 0.3.0 has, and every row. The worker may run meanwhile: it
-- finds the tables locked and tries again, and webhooks wait.

-- All locks before the first change. Whoever holds one of these tables may want tenants next: such a
-- session is not waited for, which would be a deadlock, but let past.
DO $$
DECLARE
    before text := current_setting('lock_timeout');
    others text := 'whaply.health, whaply.unanswered_chats';
BEGIN
    FOR attempt IN 1..300 LOOP
        BEGIN
            -- Who wants tenants queues behind us: they must not wait for long.
            PERFORM set_config('lock_timeout', '1s', true);
            LOCK TABLE whaply.tenants IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', others);
            PERFORM set_config('lock_timeout', before, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    RAISE EXCEPTION 'a session holds the tables of whaply and does not end its transaction'
        USING ERRCODE = 'lock_not_available',
              HINT = 'SELECT pid, state, query FROM pg_stat_activity ORDER BY xact_start; then repeat.';
END
$$;

ALTER TABLE whaply.tenants
    ADD COLUMN webhook_secret_before text,
    ADD COLUMN webhook_secret_changed_at timestamptz,
    ADD COLUMN webhook_jwt_key text;

-- Posts that were turned away at a front door: how many, by tenant and reason. Written in sums, so that
-- nobody fills a table by being refused.
CREATE TABLE whaply.refused_webhooks (
    id              bigserial PRIMARY KEY,
    tenant_id       integer REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    reason          text NOT NULL CHECK (reason IN
                        ('wrong_secret', 'no_secret', 'expired_token', 'unknown_instance', 'too_large', 'invalid', 'too_fast')),
    refused         bigint NOT NULL DEFAULT 0,
    first_at        timestamptz NOT NULL DEFAULT now(),
    last_at         timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX idx_refused_webhooks_tenant_reason
    ON whaply.refused_webhooks (coalesce(tenant_id, 0), reason);

-- What connect_instance was asked for. The worker does it step by step; Evolution's QR code stands here
-- until somebody has scanned it.
CREATE TABLE whaply.connect_requests (
    id              bigserial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    webhook_url     text NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN
                        ('waiting', 'working', 'scan_qr', 'connected', 'failed', 'superseded')),
    due_at          timestamptz NOT NULL DEFAULT now(),
    attempt         integer NOT NULL DEFAULT 0,
    error           text,
    qr_code         text,
    pairing_code    text,
    qr_at           timestamptz,
    claimed_at      timestamptz,
    opened_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);

-- One at a time for a tenant: a new request takes the place of the open one.
CREATE UNIQUE INDEX idx_connect_requests_one_open
    ON whaply.connect_requests (tenant_id) WHERE state IN ('waiting', 'working', 'scan_qr');
CREATE INDEX idx_connect_requests_tenant ON whaply.connect_requests (tenant_id, id);
-- The worker's look at each of its rounds.
CREATE INDEX idx_connect_requests_due
    ON whaply.connect_requests (due_at, id) WHERE state IN ('waiting', 'working', 'scan_qr');

CREATE INDEX idx_replies_generating ON whaply.replies (tenant_id) WHERE state = 'generating';

-- Evolution repeats a webhook for 20 minutes with the headers it began with, and whoever changes the
-- secret changes it here and there in two steps: the former one is kept, and holds for a day.
CREATE FUNCTION whaply.keep_former_secret() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.webhook_secret_before := OLD.webhook_secret;
    NEW.webhook_secret_changed_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TRIGGER keep_former_secret BEFORE UPDATE OF webhook_secret ON whaply.tenants
    FOR EACH ROW WHEN (NEW.webhook_secret IS DISTINCT FROM OLD.webhook_secret)
    EXECUTE FUNCTION whaply.keep_former_secret();

-- Room for what changes on its page, and vacuum before a fifth of a large table is dead.
ALTER TABLE whaply.sessions
    SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE whaply.messages
    SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
         autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE whaply.processed_events
    SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
         autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE whaply.replies SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE whaply.deliveries SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER INDEX whaply.idx_messages_created_at SET (autosummarize = on);
ALTER INDEX whaply.idx_processed_events_processed_at SET (autosummarize = on);

-- Customers of the Cloud API who wrote at the same moment; and those of them who got no answer for that.
CREATE INDEX idx_messages_cloud_api ON whaply.messages (tenant_id, created_at) WHERE message_id LIKE 'wamid.%';
CREATE INDEX idx_messages_unverified ON whaply.messages (tenant_id, created_at) WHERE sender = 'unverified';
CREATE INDEX idx_deliveries_failed ON whaply.deliveries (finished_at) WHERE state = 'failed';

-- Who waits: the customer's questions after the last word of the business that nobody answers. A
-- fallback text and the parts of a reply that did not come to its end are no answer to them.
CREATE OR REPLACE VIEW whaply.unanswered_chats AS
SELECT t.instance_name, s.chat_id, s.contact_name, s.is_paused, s.pause_reason, q.asked_at, now() - q.asked_at AS waiting_for,
       q.text, q.questions
  FROM whaply.sessions s
  JOIN whaply.tenants t ON t.id = s.tenant_id
  CROSS JOIN LATERAL (
       SELECT array_agg(a.jid) || s.chat_id AS jids
         FROM whaply.chat_aliases a
        WHERE a.tenant_id = s.tenant_id AND a.chat_id = s.chat_id) AS names
  LEFT JOIN LATERAL (
       SELECT newest.sent_at, newest.id
         FROM unnest(names.jids) AS name (jid)
        CROSS JOIN LATERAL (
              SELECT m.sent_at, m.id
                FROM whaply.messages m
               WHERE m.tenant_id = s.tenant_id AND m.chat_id = name.jid
                 AND m.sender IN ('assistant', 'owner', 'operator', 'other') AND m.deleted_at IS NULL
                 AND NOT (m.sender = 'assistant' AND EXISTS (
                     SELECT FROM whaply.deliveries d LEFT JOIN whaply.replies r ON r.id = d.reply_id
                      WHERE d.tenant_id = m.tenant_id AND d.message_id = m.message_id
                        AND (d.kind = 'fallback' OR (d.kind = 'reply' AND r.state IN ('failed', 'cancelled')))))
               ORDER BY m.sent_at DESC, m.id DESC LIMIT 1) AS newest
        ORDER BY newest.sent_at DESC, newest.id DESC LIMIT 1) AS said ON true
  CROSS JOIN LATERAL (
       SELECT min(m.sent_at) AS asked_at, (array_agg(m.text ORDER BY m.sent_at, m.id))[1] AS text, count(*) AS questions
         FROM whaply.messages m
         JOIN whaply.processed_events e
           ON e.tenant_id = m.tenant_id AND e.message_id = m.message_id AND e.event_type = 'messages.upsert'
        WHERE m.tenant_id = s.tenant_id AND m.chat_id = ANY (names.jids)
          AND m.sender IN ('customer', 'unverified') AND m.deleted_at IS NULL
          AND e.action_taken IN ('ignored_paused', 'cancelled_paused', 'ai_failed', 'drafted', 'ignored_mode',
                                 'ignored_unverified')
          AND m.sent_at >= coalesce(said.sent_at, '-infinity')
          AND (said.id IS NULL OR (m.sent_at, m.id) > (said.sent_at, said.id))) AS q
 WHERE q.questions > 0
   -- A question is known as long as its event is kept: nobody has asked in a chat that did not change since
   -- the oldest of them. What may be of another chat changes none.
   AND (s.updated_at >= (SELECT e.processed_at - interval '1 hour' FROM whaply.processed_events e ORDER BY e.id LIMIT 1)
        OR (s.tenant_id, s.chat_id) IN (
            SELECT u.tenant_id, coalesce(a.chat_id, u.chat_id)
              FROM whaply.messages u LEFT JOIN whaply.chat_aliases a ON a.tenant_id = u.tenant_id AND a.jid = u.chat_id
             WHERE u.sender = 'unverified'))
   -- A chat that was found to be another one is listed under that one's name.
   AND NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
   -- The assistant is about to answer, and it reads the chat.
   AND NOT EXISTS (SELECT FROM whaply.replies r
                    WHERE r.tenant_id = s.tenant_id AND r.chat_id = s.chat_id
                      AND r.state IN ('waiting', 'generating', 'sending'))
 ORDER BY q.asked_at;

-- One row for each thing that needs a person; no row is good news.
CREATE OR REPLACE VIEW whaply.health AS
SELECT NULL::varchar AS instance_name, 'worker' AS subject, 'no reply worker runs in this database' AS problem,
       'SELECT whaply.start_worker(); or set shared_preload_libraries = ''whaply''' AS what_to_do
 WHERE NOT pg_is_in_recovery() AND (whaply.worker_status() ->> 'pid') IS NULL
UNION ALL
SELECT NULL, 'worker', 'the setting whaply.worker is off: nothing is answered or sent',
       'ALTER SYSTEM SET whaply.worker = on; SELECT pg_reload_conf()'
 WHERE NOT coalesce(current_setting('whaply.worker', true)::boolean, true)
UNION ALL
SELECT t.instance_name, 'home', 'this database is a copy: the tenant is served elsewhere, nothing is sent from here',
       'SELECT whaply.adopt_tenants(); in the one database that shall speak'
  FROM whaply.tenants t WHERE t.home IS DISTINCT FROM whaply.home_id()
UNION ALL
SELECT t.instance_name, 'line', 'the WhatsApp line is ' || t.connection_state || ': answers wait',
       'scan the QR code of the instance in Evolution'
  FROM whaply.tenants t WHERE t.connection_state <> 'open'
UNION ALL
SELECT t.instance_name, 'replies', count(*) || ' replies failed in the last 24 hours, the last: ' ||
       (array_agg(coalesce(r.error, '?') ORDER BY r.finished_at DESC))[1],
       'SELECT * FROM whaply.failed_replies; then SELECT whaply.retry_replies(instance_name, since)'
  FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.state = 'failed' AND r.finished_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'deliveries', 'a message to ' || d.chat_id || ' is ' || d.state || ': ' || coalesce(d.error, '?'),
       'look at the chat; SELECT whaply.send_message(...) if it is not there'
  FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id
 WHERE d.state = 'uncertain' OR (d.state = 'failed' AND d.finished_at > now() - interval '24 hours')
UNION ALL
SELECT t.instance_name, 'loop', count(*) || ' chats are paused: more answers than answers_per_chat or answers_per_tenant allow; '
       || 'perhaps a machine is on the other side',
       'SELECT * FROM whaply.sessions WHERE pause_reason = ''loop_guard''; they resume by themselves at paused_until'
  FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id
 WHERE s.is_paused AND s.pause_reason = 'loop_guard' AND s.paused_until > now()
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'unverified', count(*) || ' messages of the last 24 hours may stand in the wrong chat and got no answer: '
       || 'several customers wrote at once, and the Cloud API did not prove whose they are',
       'read them: SELECT * FROM whaply.messages WHERE sender = ''unverified''; '
       || 'UPDATE whaply.tenants SET on_unverified = ''answer'' trusts them'
  FROM whaply.messages m JOIN whaply.tenants t ON t.id = m.tenant_id
 WHERE m.sender = 'unverified' AND m.created_at > now() - interval '24 hours'
 GROUP BY t.id, t.instance_name
UNION ALL
SELECT t.instance_name, 'greeting', 'the owner''s words "' || left(w.text, 60) || CASE WHEN length(w.text) > 60 THEN '…' ELSE '' END
       || '" came within 10 s in ' || w.chats || ' chats: are they WhatsApp Business''s own message?',
       format('if so: UPDATE whaply.tenants SET auto_reply_texts = array_append(auto_reply_texts, %L) WHERE instance_name = %L',
              w.text, t.instance_name)
  FROM (SELECT DISTINCT n.tenant_id, n.text FROM whaply.messages n
         WHERE n.sender = 'owner' AND n.text IS NOT NULL AND n.created_at > now() - interval '24 hours') AS said
  JOIN whaply.tenants t ON t.id = said.tenant_id
  CROSS JOIN LATERAL (
       SELECT said.text, count(DISTINCT coalesce(a.chat_id, o.chat_id)) AS chats
         FROM whaply.messages o
         LEFT JOIN whaply.chat_aliases a ON a.tenant_id = o.tenant_id AND a.jid = o.chat_id
        WHERE o.tenant_id = said.tenant_id AND o.sender = 'owner' AND md5(o.text) = md5(said.text) AND o.text = said.text
          AND o.created_at > now() - interval '30 days'
          AND EXISTS (SELECT FROM whaply.messages c
                       WHERE c.tenant_id = o.tenant_id AND c.chat_id = o.chat_id
                         AND c.sender IN ('customer', 'assistant', 'operator')
                         AND c.sent_at BETWEEN o.sent_at - interval '10 seconds' AND o.sent_at)) AS w
 WHERE w.chats > 1
   AND NOT EXISTS (SELECT FROM unnest(t.auto_reply_texts) AS known (text) WHERE btrim(known.text) = btrim(w.text))
UNION ALL
SELECT t.instance_name, 'webhooks', r.refused || CASE r.refused WHEN 1 THEN ' post was' ELSE ' posts were' END
       || ' refused since ' || to_char(r.first_at, 'YYYY-MM-DD HH24:MI') || ', the last at '
       || to_char(r.last_at, 'YYYY-MM-DD HH24:MI') || ': ' || r.reason,
       CASE r.reason
       WHEN 'unknown_instance' THEN 'INSERT INTO whaply.tenants (instance_name, ...): no tenant has the instance that was named, '
            || 'or delete the webhook in Evolution'
       WHEN 'too_large' THEN CASE WHEN t.id IS NULL
            THEN 'end the webhook''s URL with /webhook/INSTANCE, which tells whose it is; and switch off the option base64'
            ELSE format('switch off the option base64 of the webhook of instance %L in Evolution, and restart the instance',
                        t.instance_name) END
       WHEN 'invalid' THEN 'see what posts there: it is not an event of Evolution API'
       WHEN 'too_fast' THEN 'Evolution repeats them, nothing is lost; if it is no fault there, raise whaply.webhook_rate'
       WHEN 'expired_token' THEN format('compare the clocks of Evolution''s machine and of this one; or enter the secret in place of '
                                        || 'jwt_key: SELECT whaply.webhook_settings(%L)', t.instance_name)
       ELSE format('enter the header in the webhook of the instance in Evolution: SELECT whaply.webhook_settings(%L); '
                   || 'if it is there, somebody else posts', t.instance_name) END
  FROM whaply.refused_webhooks r LEFT JOIN whaply.tenants t ON t.id = r.tenant_id
 WHERE r.last_at > now() - interval '24 hours'
UNION ALL
SELECT t.instance_name, 'secret', 'the tenant has no webhook_secret: its webhooks are refused',
       'UPDATE whaply.tenants SET webhook_secret = ...; or ALTER SYSTEM SET whaply.require_secret = off and reload'
  FROM whaply.tenants t WHERE t.webhook_secret IS NULL AND t.webhook_jwt_key IS NULL;

CREATE FUNCTION whaply.connect_instance(instance_name text, webhook_url text) RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'connect_instance_wrapper';
CREATE FUNCTION whaply.instance_qr(instance_name text) RETURNS text
    STABLE LANGUAGE c AS 'MODULE_PATHNAME', 'instance_qr_wrapper';
CREATE FUNCTION whaply.instance_state(instance_name text) RETURNS text
    STABLE LANGUAGE c AS 'MODULE_PATHNAME', 'instance_state_wrapper';
CREATE FUNCTION whaply.draw_qr(text text) RETURNS text
    IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'draw_qr_wrapper';

-- What connect_instance was asked for, the newest first. A QR code is there until it was scanned.
CREATE VIEW whaply.instance_requests AS
SELECT r.id, t.instance_name, r.state, r.error, whaply.draw_qr(r.qr_code) AS qr, r.pairing_code, r.qr_at,
       r.created_at, r.updated_at, r.finished_at
  FROM whaply.connect_requests r
  JOIN whaply.tenants t ON t.id = r.tenant_id
 ORDER BY r.id DESC;

-- pg_dump keeps the rows and sequences of members only if they are named.
SELECT pg_catalog.pg_extension_config_dump('whaply.refused_webhooks', '');
SELECT pg_catalog.pg_extension_config_dump('whaply.refused_webhooks_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('whaply.connect_requests', '');
SELECT pg_catalog.pg_extension_config_dump('whaply.connect_requests_id_seq', '');

COMMENT ON COLUMN whaply.tenants.webhook_secret_before IS 'The webhook_secret before the last change: valid for 24 hours after it';
COMMENT ON COLUMN whaply.tenants.webhook_secret_changed_at IS 'When webhook_secret was last changed';
COMMENT ON COLUMN whaply.tenants.webhook_jwt_key IS 'The jwt_key among the headers of the webhook in Evolution, which makes a token of it (HS256) for each event; the listener takes it in place of the secret. NULL: no tokens';

COMMENT ON TABLE whaply.refused_webhooks IS 'Posts turned away at the front doors: how many by tenant and reason, first and last. Noted within seconds by the reply worker, and only where whaply is preloaded; view health shows those of the last 24 hours, and after 30 days a row goes';
COMMENT ON COLUMN whaply.refused_webhooks.tenant_id IS 'NULL: no tenant has the instance that was named';
COMMENT ON COLUMN whaply.refused_webhooks.reason IS 'wrong_secret, no_secret, expired_token, unknown_instance, too_large, invalid, too_fast';
COMMENT ON COLUMN whaply.refused_webhooks.refused IS 'How many since first_at. After a day without any it begins anew';
COMMENT ON COLUMN whaply.refused_webhooks.first_at IS 'The first of them, to a few seconds';
COMMENT ON COLUMN whaply.refused_webhooks.last_at IS 'The last of them';

COMMENT ON TABLE whaply.connect_requests IS 'What connect_instance was asked for, and how far it is; view instance_requests shows it';
COMMENT ON COLUMN whaply.connect_requests.state IS 'waiting (for the worker) -> working (a call to Evolution) -> scan_qr (for a person) -> connected; or failed, superseded (by a newer request)';
COMMENT ON COLUMN whaply.connect_requests.webhook_url IS 'Where Evolution shall post the events of the instance';
COMMENT ON COLUMN whaply.connect_requests.error IS 'Why it failed, or why it is tried again; with what to do';
COMMENT ON COLUMN whaply.connect_requests.due_at IS 'When the worker next does something about it';
COMMENT ON COLUMN whaply.connect_requests.attempt IS 'Calls that failed in a row';
COMMENT ON COLUMN whaply.connect_requests.qr_code IS 'What Evolution''s newest QR code says; instance_qr draws it';
COMMENT ON COLUMN whaply.connect_requests.pairing_code IS 'The code to type on the phone in place of the QR code, where Evolution gives one';
COMMENT ON COLUMN whaply.connect_requests.qr_at IS 'When the QR code came; WhatsApp makes a new one about every 20 to 60 s';
COMMENT ON COLUMN whaply.connect_requests.claimed_at IS 'When the worker last began to work on it';
COMMENT ON COLUMN whaply.connect_requests.opened_at IS 'When the webhook told that the line is open';
COMMENT ON COLUMN whaply.connect_requests.finished_at IS 'When it ended, however it did; from then on there is no code';
COMMENT ON VIEW whaply.instance_requests IS 'What connect_instance was asked for, the newest first: state, error, the QR code as drawn for a dark terminal';
COMMENT ON FUNCTION whaply.connect_instance(text, text) IS 'Asks the worker to make the instance in Evolution if there is none, to set its webhook to this URL, and to link the number: scan whaply.instance_qr(instance_name). Takes the place of an open request. Returns the request''s id. Errors: P0002 (unknown instance), 22023 (no http or https URL), 22004 (NULL), 55000 (this database is a copy)';
COMMENT ON FUNCTION whaply.instance_qr(text) IS 'The newest QR code of an instance, drawn for a dark terminal: psql -At; NULL: there is none, or it was scanned';
COMMENT ON FUNCTION whaply.instance_state(text) IS 'How far an instance is: waiting, working, scan_qr (of the open request of connect_instance); else connected (the line is open); else failed (the newest request), or the line: connecting, close, refused. NULL: nothing is known';
COMMENT ON FUNCTION whaply.draw_qr(text) IS 'A text as a QR code of half blocks with its quiet zone, drawn for a dark terminal. NULL: too long for one';
COMMENT ON FUNCTION whaply.start_worker() IS 'Starts the reply worker of this database and waits for it, 10 s at most. The listener follows, if this is the database it serves. Returns whether the worker runs';
COMMENT ON FUNCTION whaply.stop_worker() IS 'Stops the reply worker and the listener of this database and waits for their end, 10 s at most. Returns whether they are gone. They stay away until start_worker() or a restart of the server';
COMMENT ON FUNCTION whaply.keep_former_secret() IS 'Trigger: the webhook_secret of before stays valid for a day';

REVOKE ALL ON FUNCTION whaply.keep_former_secret() FROM PUBLIC;
REVOKE ALL ON FUNCTION whaply.connect_instance(text, text), whaply.instance_qr(text), whaply.instance_state(text),
    whaply.draw_qr(text) FROM PUBLIC;
