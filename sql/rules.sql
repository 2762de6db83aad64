-- What the tables see to themselves, whoever writes: what a tenant may be set to, the secret of before, and
-- the time of the last change.

-- What a tenant may be set to. A trigger, since the error of a CHECK or NOT NULL prints the whole
-- row, and this row holds keys; for the same reason no message repeats a URL, which may hold a
-- password. Durations end where those of the GUCs do: beyond, the arithmetic of times overflows.
CREATE FUNCTION whaply.check_tenant() RETURNS trigger
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

CREATE TRIGGER check_tenant
    BEFORE INSERT OR UPDATE OF id, instance_name, evo_server_url, llm_provider, created_at, updated_at, mode,
        llm_base_url, max_tokens, history_limit, max_in_flight, debounce, debounce_max, auto_resume_after,
        age_limit, reply_expiry, on_failure, on_other_sender, on_uncertain, timezone, connection_state,
        answers_per_chat, answers_per_tenant, answer_window, resume_word, hold_word, on_unverified
    ON whaply.tenants FOR EACH ROW EXECUTE FUNCTION whaply.check_tenant();

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

-- Statements of ours set updated_at themselves; the trigger serves everybody else's, and costs
-- nothing where the value has moved already.
CREATE FUNCTION whaply.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON whaply.tenants
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION whaply.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON whaply.sessions
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION whaply.touch_updated_at();
