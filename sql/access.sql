-- Who may do what: grant_access turns a level into plain GRANTs, which pg_dump keeps, and notes for which
-- tenants, by the names of roles: numbers of roles do not survive a restore.

CREATE TABLE whaply.access (
    role_name       name NOT NULL,
    level           text NOT NULL CHECK (level IN ('ingest', 'operator', 'admin')),
    tenant_id       integer REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    claim           text,
    granted_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (tenant_id IS NULL OR claim IS NULL)
);

CREATE UNIQUE INDEX idx_access_once
    ON whaply.access (role_name, level, coalesce(tenant_id, 0), coalesce(claim, ''));
CREATE INDEX idx_access_tenant ON whaply.access (tenant_id) WHERE tenant_id IS NOT NULL;
-- Without it a publication of all tables would make revoke_access fail: it has no primary key.
ALTER TABLE whaply.access REPLICA IDENTITY FULL;

SELECT pg_catalog.pg_extension_config_dump('whaply.access', '');

-- The one list of what a level may do. Keys, codes and URLs are in none; a column that comes to a table later
-- is in none until it is written here.
CREATE FUNCTION whaply.privileges_of(level text, of_all_tenants boolean)
    RETURNS TABLE (privilege text, object text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.privilege, p.object
      FROM (VALUES
        ('any', false, 'USAGE', 'SCHEMA whaply'),

        ('ingest', false, 'EXECUTE', 'FUNCTION whaply.ingest(jsonb)'),
        ('ingest', false, 'EXECUTE', 'FUNCTION whaply.webhook(json)'),

        ('operator', false, 'SELECT (id, instance_name, system_prompt, llm_provider, created_at, updated_at, mode, test_chats, '
            'llm_model, max_tokens, history_limit, max_in_flight, debounce, debounce_max, auto_resume_after, age_limit, '
            'reply_expiry, on_failure, on_other_sender, on_uncertain, fallback_text, timezone, auto_reply_texts, groups, '
            'connection_state, home, answers_per_chat, answers_per_tenant, answer_window, resume_word, hold_word, '
            'answer_after_pause, on_unverified, own_lids, webhook_secret_changed_at)', 'TABLE whaply.tenants'),
        ('operator', false, 'SELECT (id, tenant_id, state, due_at, attempt, error, qr_at, claimed_at, opened_at, created_at, '
            'updated_at, finished_at)', 'TABLE whaply.connect_requests'),
        ('operator', false, 'SELECT', 'TABLE whaply.sessions'),
        ('operator', false, 'SELECT', 'TABLE whaply.messages'),
        ('operator', false, 'SELECT', 'TABLE whaply.processed_events'),
        ('operator', false, 'SELECT', 'TABLE whaply.chat_aliases'),
        ('operator', false, 'SELECT', 'TABLE whaply.replies'),
        ('operator', false, 'SELECT', 'TABLE whaply.deliveries'),
        ('operator', false, 'SELECT', 'TABLE whaply.refused_webhooks'),
        ('operator', false, 'SELECT', 'TABLE whaply.findings'),
        ('operator', false, 'SELECT', 'TABLE whaply.recent_activity'),
        ('operator', false, 'SELECT', 'TABLE whaply.resumable_sessions'),
        ('operator', false, 'SELECT', 'TABLE whaply.unanswered_chats'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_stats'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_stats_daily'),
        ('operator', false, 'SELECT', 'TABLE whaply.tenant_settings'),
        ('operator', false, 'SELECT', 'TABLE whaply.reply_queue'),
        ('operator', false, 'SELECT', 'TABLE whaply.failed_replies'),
        ('operator', false, 'SELECT', 'TABLE whaply.instance_requests'),
        ('operator', false, 'SELECT', 'TABLE whaply.health'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.seen_tenants(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.masked_keys()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.shown_codes()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.draw_qr(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.home_id()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.worker_status()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.server_status()'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.instance_state(text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.pause_session(text, text, text, interval)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.resume_session(text, text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.resume_sessions(text, text)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.send_message(text, text, text, boolean)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.retry_reply(bigint)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.retry_replies(text, timestamptz)'),
        ('operator', false, 'EXECUTE', 'FUNCTION whaply.cancel_reply(bigint)'),

        -- Not evo_server_url nor llm_base_url: whoever chooses where a key goes can read it there.
        ('admin', false, 'UPDATE (evo_api_key, system_prompt, llm_provider, mode, test_chats, llm_model, llm_api_key, max_tokens, '
            'history_limit, max_in_flight, debounce, debounce_max, auto_resume_after, age_limit, reply_expiry, on_failure, '
            'on_other_sender, on_uncertain, fallback_text, webhook_secret, timezone, auto_reply_texts, groups, answers_per_chat, '
            'answers_per_tenant, answer_window, resume_word, hold_word, answer_after_pause, on_unverified, webhook_jwt_key)',
            'TABLE whaply.tenants'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.connect_instance(text, text)'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.instance_qr(text)'),
        ('admin', false, 'EXECUTE', 'FUNCTION whaply.forget_chat(text, text)'),
        -- What acts on every tenant.
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.auto_resume()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.auto_resume_paused_sessions(double precision)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.cleanup_old_processed_events(integer)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.archive_messages(integer)'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.adopt_tenants()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.start_worker()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.stop_worker()'),
        ('admin', true, 'EXECUTE', 'FUNCTION whaply.wait_until_idle(interval)')
      ) AS p (given_by, only_of_all, privilege, object)
     WHERE (p.given_by IN ('any', privileges_of.level) OR privileges_of.level = 'admin')
       AND (privileges_of.of_all_tenants OR NOT p.only_of_all)
$$;

-- Checks what both functions below are given, and finds the tenant.
CREATE FUNCTION whaply.check_access(role regrole, level text, instance_name text, claim text,
                                    OUT role_name name, OUT tenant_id integer)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    can_log_in boolean;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION '% must not be NULL', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give every argument a value.';
    END IF;
    IF level NOT IN ('ingest', 'operator', 'admin') THEN
        RAISE EXCEPTION 'level is not valid: there is no level "%"', level
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give ''ingest'', ''operator'' or ''admin''.';
    END IF;
    SELECT r.rolname, r.rolcanlogin INTO role_name, can_log_in FROM pg_roles r WHERE r.oid = role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role % does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'CREATE ROLE it first.';
    END IF;
    IF instance_name IS NOT NULL THEN
        SELECT t.id INTO tenant_id FROM whaply.tenants t WHERE t.instance_name = check_access.instance_name;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no tenant for the instance "%"', instance_name
                USING ERRCODE = 'no_data_found', HINT = 'Insert the tenant first. The name is the one in Evolution, with its case.';
        END IF;
    END IF;
    IF claim IS NULL THEN
        RETURN;
    END IF;
    IF instance_name IS NOT NULL THEN
        RAISE EXCEPTION 'claim is not valid: it names the tenants, and so does instance_name'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one of the two.';
    END IF;
    IF claim !~ '^[^.]+(\.[^.]+)*$' THEN
        RAISE EXCEPTION 'claim is not valid: it names no claim'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give a name as in ''instance'', or a path as in ''app_metadata.instances''.';
    END IF;
    IF can_log_in THEN
        RAISE EXCEPTION 'claim is not valid: role % can log in, and would choose its claims itself', role
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Claims are for a NOLOGIN role that PostgREST switches to: there nobody else sets request.jwt.claims.';
    END IF;
END
$$;

CREATE FUNCTION whaply.grant_access(role regrole, level text, instance_name text DEFAULT NULL, claim text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    checked record := whaply.check_access(role, level, instance_name, claim);
    granted record;
BEGIN
    FOR granted IN SELECT * FROM whaply.privileges_of(level, instance_name IS NULL AND claim IS NULL) LOOP
        EXECUTE format('GRANT %s ON %s TO %I', granted.privilege, granted.object, checked.role_name);
    END LOOP;
    INSERT INTO whaply.access (role_name, level, tenant_id, claim)
    VALUES (checked.role_name, grant_access.level, checked.tenant_id, grant_access.claim) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

CREATE FUNCTION whaply.revoke_access(role regrole, level text, instance_name text DEFAULT NULL, claim text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    checked record := whaply.check_access(role, level, instance_name, NULL);
    revoked record;
    changed boolean;
BEGIN
    DELETE FROM whaply.access a
     WHERE a.role_name = checked.role_name AND a.level = revoke_access.level
       AND (instance_name IS NULL AND revoke_access.claim IS NULL
            OR a.tenant_id = checked.tenant_id OR a.claim = revoke_access.claim);
    changed := FOUND;
    IF NOT changed AND (instance_name IS NOT NULL OR claim IS NOT NULL)
       AND EXISTS (SELECT FROM whaply.access a
                    WHERE a.role_name = checked.role_name AND a.level = revoke_access.level
                      AND a.tenant_id IS NULL AND a.claim IS NULL) THEN
        RAISE EXCEPTION 'role % has level % for all tenants, from which one cannot be taken', role, level
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'revoke_access(role, level) first, then grant_access for those it is to keep.';
    END IF;
    -- What another level, or the same one for another tenant, still gives stays.
    FOR revoked IN
        SELECT * FROM whaply.privileges_of(level, true)
        EXCEPT
        SELECT kept.* FROM whaply.access a,
               LATERAL whaply.privileges_of(a.level, a.tenant_id IS NULL AND a.claim IS NULL) AS kept
         WHERE a.role_name = checked.role_name
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM %I', revoked.privilege, revoked.object, checked.role_name);
    END LOOP;
    RETURN changed;
END
$$;
