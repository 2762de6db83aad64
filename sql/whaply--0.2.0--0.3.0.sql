-- From 0.2.0 to 0.3.0: what a fresh 0.3.0 has, and every row. The worker may run meanwhile: it
-- finds the tables locked and tries again, and webhooks wait.

-- All locks before the first change. Whoever holds one of these tables may want tenants next: such a
-- session is not waited for, which would be a deadlock, but let past.
DO $$
DECLARE
    before text := current_setting('lock_timeout');
    others text := 'whaply.health';
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
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);

-- One at a time for a tenant: a new request takes the place of the open one.
CREATE UNIQUE INDEX idx_connect_requests_one_open
    ON whaply.connect_requests (tenant_id) WHERE state IN ('waiting', 'working', 'scan_qr');
CREATE INDEX idx_connect_requests_tenant ON whaply.connect_requests (tenant_id, id);

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

-- pg_dump keeps the rows and sequences of members only if they are named.
SELECT pg_catalog.pg_extension_config_dump(member::regclass, '')
  FROM unnest(ARRAY['whaply.refused_webhooks', 'whaply.refused_webhooks_id_seq',
                    'whaply.connect_requests', 'whaply.connect_requests_id_seq']) AS member;

COMMENT ON COLUMN whaply.tenants.webhook_secret_before IS 'The webhook_secret before the last change: valid for 24 hours after it';
COMMENT ON COLUMN whaply.tenants.webhook_secret_changed_at IS 'When webhook_secret was last changed';
COMMENT ON COLUMN whaply.tenants.webhook_jwt_key IS 'The jwt_key among the headers of the webhook in Evolution, which makes a token of it (HS256) for each event; the listener takes it in place of the secret. NULL: no tokens';

COMMENT ON TABLE whaply.refused_webhooks IS 'Posts turned away at the front doors: how many by tenant and reason, first and last. Noted within seconds, not at once; view health shows those of the last 24 hours';
COMMENT ON COLUMN whaply.refused_webhooks.tenant_id IS 'NULL: no tenant has the instance that was named';
COMMENT ON COLUMN whaply.refused_webhooks.reason IS 'wrong_secret, no_secret, expired_token, unknown_instance, too_large, invalid, too_fast';

COMMENT ON TABLE whaply.connect_requests IS 'What connect_instance was asked for, and how far it is; view instance_requests shows it';
COMMENT ON COLUMN whaply.connect_requests.state IS 'waiting (for the worker) -> working (a call to Evolution) -> scan_qr (for a person) -> connected; or failed, superseded (by a newer request)';
COMMENT ON COLUMN whaply.connect_requests.due_at IS 'When the worker next does something about it';
COMMENT ON COLUMN whaply.connect_requests.attempt IS 'Calls that failed in a row';
COMMENT ON COLUMN whaply.connect_requests.qr_code IS 'What Evolution''s newest QR code says; instance_qr draws it';
COMMENT ON COLUMN whaply.connect_requests.pairing_code IS 'The code to type on the phone in place of the QR code, where Evolution gives one';
COMMENT ON COLUMN whaply.connect_requests.qr_at IS 'When the QR code came; WhatsApp makes a new one about every 20 to 60 s';
COMMENT ON FUNCTION whaply.keep_former_secret() IS 'Trigger: the webhook_secret of before stays valid for a day';

REVOKE ALL ON FUNCTION whaply.keep_former_secret() FROM PUBLIC;
