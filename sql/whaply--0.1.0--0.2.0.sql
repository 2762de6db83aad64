-- From 0.1.0 to 0.2.0: what a fresh 0.2.0 has, and every row. The worker may run meanwhile: it
-- finds the tables locked and tries again, and webhooks wait.

-- All locks before the first change. Whoever holds one of these tables may want tenants next: such a
-- session is not waited for, which would be a deadlock, but let past.
DO $$
DECLARE
    before text := current_setting('lock_timeout');
    others text := concat_ws(', ', 'whaply.sessions, whaply.messages, whaply.chat_aliases, whaply.replies, '
                                   'whaply.unanswered_chats, whaply.health', to_regclass('whaply.messages_archive'));
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
    ADD COLUMN answers_per_chat integer,
    ADD COLUMN answers_per_tenant integer,
    ADD COLUMN answer_window interval,
    ADD COLUMN resume_word text,
    ADD COLUMN hold_word text,
    ADD COLUMN answer_after_pause boolean,
    ADD COLUMN on_unverified text,
    ADD COLUMN own_lids text[];

ALTER TABLE whaply.sessions
    ADD COLUMN steered_at timestamptz;

ALTER TABLE whaply.chat_aliases
    ADD COLUMN confirmed boolean NOT NULL DEFAULT true;

ALTER TABLE whaply.messages
    DROP CONSTRAINT messages_sender_check,
    ADD CONSTRAINT messages_sender_check
        CHECK (sender IN ('customer', 'owner', 'assistant', 'operator', 'other', 'auto_reply', 'command', 'unverified'));

-- The user's own table, made like messages: it must take what messages takes.
DO $$
DECLARE
    old_check name;
BEGIN
    FOR old_check IN
        SELECT c.conname
          FROM pg_catalog.pg_constraint c
          JOIN pg_catalog.pg_attribute a
            ON a.attrelid = c.conrelid AND a.attname = 'sender' AND c.conkey = ARRAY[a.attnum]
         WHERE c.conrelid = to_regclass('whaply.messages_archive') AND c.contype = 'c'
           AND pg_catalog.pg_get_constraintdef(c.oid) LIKE '%''auto_reply''%'
    LOOP
        EXECUTE format('ALTER TABLE whaply.messages_archive DROP CONSTRAINT %1$I, ADD CONSTRAINT %1$I %2$s', old_check,
                       (SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
                         WHERE conrelid = 'whaply.messages'::regclass AND conname = 'messages_sender_check'));
    END LOOP;
END
$$;

CREATE INDEX idx_messages_owner_words ON whaply.messages (tenant_id, md5(text)) WHERE sender = 'owner';
CREATE INDEX idx_replies_answered ON whaply.replies (tenant_id, answered_at) WHERE answered_at IS NOT NULL;

-- A tenant's new settings have rules.
CREATE OR REPLACE FUNCTION whaply.check_tenant() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    needed text;
    wrong record;
    -- Timezones differ between servers: a row restored from another database (its home) keeps its own.
    timezone_is_new boolean := NEW.timezone IS NOT NULL
        AND CASE TG_OP WHEN 'INSERT' THEN NEW.home = whaply.home_id() ELSE NEW.timezone IS DISTINCT FROM OLD.timezone END;
BEGIN
    needed := CASE WHEN NEW.instance_name IS NULL THEN 'instance_name'
                   WHEN NEW.evo_server_url IS NULL THEN 'evo_server_url'
                   WHEN NEW.mode IS NULL THEN 'mode'
                   WHEN NEW.id IS NULL THEN 'id'
                   WHEN NEW.created_at IS NULL THEN 'created_at'
                   WHEN NEW.updated_at IS NULL THEN 'updated_at' END;
    IF needed IS NOT NULL THEN
        RAISE EXCEPTION 'tenants.% must not be NULL', needed
            USING ERRCODE = 'not_null_violation', SCHEMA = 'whaply', TABLE = 'tenants', COLUMN = needed,
                  HINT = 'Give it a value, or leave the column out if it has a default.';
    END IF;

    -- As in a CHECK, a rule holds for NULL.
    SELECT * INTO wrong
      FROM (VALUES
        ('evo_server_url', NULL, NEW.evo_server_url ~* '^https?://.', 'a URL that starts with http:// or https://'),
        ('llm_base_url', NULL, NEW.llm_base_url ~* '^https?://.', 'a URL that starts with http:// or https://'),
        ('llm_provider', NEW.llm_provider, lower(NEW.llm_provider) IN ('anthropic', 'openai'),
         'anthropic, openai. Every server compatible with OpenAI''s is openai, with its URL in llm_base_url'),
        ('mode', NEW.mode, NEW.mode IN ('off', 'draft', 'test', 'on'), 'off, draft, test, on'),
        ('on_failure', NEW.on_failure, NEW.on_failure IN ('hand_over', 'fallback', 'both', 'none'),
         'hand_over, fallback, both, none'),
        ('on_other_sender', NEW.on_other_sender, NEW.on_other_sender IN ('pause', 'ignore'), 'pause, ignore'),
        ('on_uncertain', NEW.on_uncertain, NEW.on_uncertain IN ('send', 'hold'), 'send, hold'),
        ('on_unverified', NEW.on_unverified, NEW.on_unverified IN ('answer', 'hold'), 'answer, hold'),
        ('connection_state', NEW.connection_state,
         NEW.connection_state IN ('open', 'connecting', 'close', 'refused'), 'open, connecting, close, refused'),
        ('max_tokens', NEW.max_tokens::text, NEW.max_tokens BETWEEN 1 AND 1000000, '1 to 1000000'),
        ('history_limit', NEW.history_limit::text, NEW.history_limit BETWEEN 1 AND 1000, '1 to 1000'),
        ('max_in_flight', NEW.max_in_flight::text, NEW.max_in_flight BETWEEN 1 AND 10000, '1 to 10000'),
        ('answers_per_chat', NEW.answers_per_chat::text,
         NEW.answers_per_chat BETWEEN 0 AND 1000000, '0 (no limit) to 1000000'),
        ('answers_per_tenant', NEW.answers_per_tenant::text,
         NEW.answers_per_tenant BETWEEN 0 AND 1000000, '0 (no limit) to 1000000'),
        ('answer_window', NEW.answer_window::text,
         NEW.answer_window > '0' AND NEW.answer_window <= '365 days', 'more than 0, at most 365 days'),
        ('resume_word', NEW.resume_word, length(NEW.resume_word) <= 100, 'at most 100 characters; empty: no such word'),
        ('hold_word', NEW.hold_word, length(NEW.hold_word) <= 100
             AND (btrim(NEW.hold_word) = '' OR lower(btrim(NEW.hold_word)) IS DISTINCT FROM lower(btrim(NEW.resume_word))),
         'at most 100 characters, and not the resume_word; empty: no such word'),
        ('debounce', NEW.debounce::text, NEW.debounce BETWEEN '0' AND '1 day', '0 to 1 day'),
        ('debounce_max', NEW.debounce_max::text, NEW.debounce_max BETWEEN '0' AND '1 day', '0 to 1 day'),
        ('auto_resume_after', NEW.auto_resume_after::text,
         NEW.auto_resume_after > '0' AND NEW.auto_resume_after <= '365 days', 'more than 0, at most 365 days'),
        ('age_limit', NEW.age_limit::text,
         NEW.age_limit > '0' AND NEW.age_limit <= '365 days', 'more than 0, at most 365 days'),
        ('reply_expiry', NEW.reply_expiry::text,
         NEW.reply_expiry > '0' AND NEW.reply_expiry <= '365 days', 'more than 0, at most 365 days'),
        ('timezone', NEW.timezone,
         CASE WHEN timezone_is_new THEN EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.timezone) END,
         'a name of pg_timezone_names, as in America/Sao_Paulo')
      ) AS rules (column_name, shown, holds, allowed)
     WHERE NOT holds
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '%', format('tenants.%s is not valid', wrong.column_name) || coalesce(': "' || wrong.shown || '"', '')
            USING ERRCODE = 'check_violation', SCHEMA = 'whaply', TABLE = 'tenants', COLUMN = wrong.column_name,
                  HINT = format('Allowed: %s.', wrong.allowed);
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER check_tenant ON whaply.tenants;
CREATE TRIGGER check_tenant
    BEFORE INSERT OR UPDATE OF id, instance_name, evo_server_url, llm_provider, created_at, updated_at, mode,
        llm_base_url, max_tokens, history_limit, max_in_flight, debounce, debounce_max, auto_resume_after,
        age_limit, reply_expiry, on_failure, on_other_sender, on_uncertain, timezone, connection_state,
        answers_per_chat, answers_per_tenant, answer_window, resume_word, hold_word, on_unverified
    ON whaply.tenants FOR EACH ROW EXECUTE FUNCTION whaply.check_tenant();

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
                 AND NOT EXISTS (
                     SELECT FROM whaply.deliveries d LEFT JOIN whaply.replies r ON r.id = d.reply_id
                      WHERE d.tenant_id = m.tenant_id AND d.message_id = m.message_id
                        AND (d.kind = 'fallback' OR (d.kind = 'reply' AND r.state IN ('failed', 'cancelled'))))
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
   -- A chat that was found to be another one is listed under that one's name.
   AND NOT EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
   -- The assistant is about to answer, and it reads the chat.
   AND NOT EXISTS (SELECT FROM whaply.replies r
                    WHERE r.tenant_id = s.tenant_id AND r.chat_id = s.chat_id
                      AND r.state IN ('waiting', 'generating', 'sending'))
 ORDER BY q.asked_at;

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
  FROM whaply.tenants t
  CROSS JOIN LATERAL (
       SELECT o.text, count(DISTINCT coalesce(a.chat_id, o.chat_id)) AS chats
         FROM whaply.messages o
         LEFT JOIN whaply.chat_aliases a ON a.tenant_id = o.tenant_id AND a.jid = o.chat_id
        WHERE o.tenant_id = t.id AND o.sender = 'owner' AND o.text IS NOT NULL
          AND o.created_at > now() - interval '30 days'
          AND EXISTS (SELECT FROM whaply.messages c
                       WHERE c.tenant_id = o.tenant_id AND c.chat_id = o.chat_id
                         AND c.sender IN ('customer', 'assistant', 'operator')
                         AND c.sent_at BETWEEN o.sent_at - interval '10 seconds' AND o.sent_at)
        GROUP BY o.text
       HAVING count(DISTINCT coalesce(a.chat_id, o.chat_id)) > 1) AS w
 WHERE NOT EXISTS (SELECT FROM unnest(t.auto_reply_texts) AS known (text) WHERE btrim(known.text) = btrim(w.text))
UNION ALL
SELECT t.instance_name, 'secret', 'the tenant has no webhook_secret: its webhooks are refused',
       'UPDATE whaply.tenants SET webhook_secret = ...; or ALTER SYSTEM SET whaply.require_secret = off and reload'
  FROM whaply.tenants t WHERE t.webhook_secret IS NULL;

COMMENT ON COLUMN whaply.tenants.auto_reply_texts IS 'Greeting and away messages of WhatsApp Business, word for word: they do not pause the chat. What comes within 10 s of a customer''s message or of ours in three chats is added by itself';
COMMENT ON COLUMN whaply.tenants.answers_per_chat IS 'The most answers that a chat gets within answer_window; one more pauses it (loop_guard). 0: no limit';
COMMENT ON COLUMN whaply.tenants.answers_per_tenant IS 'The most answers that the tenant gives within answer_window; a chat that wants one more is paused (loop_guard). 0: no limit';
COMMENT ON COLUMN whaply.tenants.answer_window IS 'The time in which answers are counted';
COMMENT ON COLUMN whaply.tenants.resume_word IS 'A message of the owner that is this word alone gives the chat back to the assistant. Empty: there is no such word';
COMMENT ON COLUMN whaply.tenants.hold_word IS 'A message of the owner that is this word alone keeps the chat until a person gives it back. Empty: there is no such word';
COMMENT ON COLUMN whaply.tenants.answer_after_pause IS 'Whether what was asked during a pause is answered at its end, if it is younger than age_limit and nobody has answered since';
COMMENT ON COLUMN whaply.tenants.on_unverified IS 'Messages of the Cloud API whose customer cannot be verified, while several write at once: hold (left to a person), answer';
COMMENT ON COLUMN whaply.tenants.own_lids IS 'The business''s own LIDs, found out by whaply: they name no customer';
COMMENT ON COLUMN whaply.sessions.pause_reason IS 'human_takeover, other_sender (both end by silence), ai_failed, loop_guard (both end at paused_until), or a manual reason (a hold)';
COMMENT ON COLUMN whaply.sessions.steered_at IS 'When the owner last gave a command, by WhatsApp''s clock: what the owner wrote before it pauses no more';
COMMENT ON COLUMN whaply.messages.sender IS 'customer, owner (phone, Web, Desktop), assistant, operator (send_message), other (API client, agent), auto_reply, command (the owner''s resume_word or hold_word), unverified (a customer, perhaps of another chat); NULL: an edit or deletion that came before its message';
COMMENT ON COLUMN whaply.processed_events.action_taken IS 'paused, resumed, held, ai_queued, ai_replied, ai_failed, superseded, cancelled_paused, drafted, own_echo, pending_echo, other_sender, edited, edited_early, deleted, deleted_early, already_stored, ignored_…';
COMMENT ON COLUMN whaply.chat_aliases.confirmed IS 'False: only a message of ours told so; it could be a LID of our own';
COMMENT ON VIEW whaply.unanswered_chats IS 'Chats with questions after the last word of the business that nobody answers, the longest wait first: asked_at and text are of the first question, questions counts them';
COMMENT ON FUNCTION whaply.resume_session(text, text) IS 'Ends a pause of any reason. With answer_after_pause, what was asked meanwhile is answered. Returns whether the chat was paused';
