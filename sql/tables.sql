-- The tables of whaply. The first columns of tenants, sessions, messages and processed_events are
-- a published schema: name, type and order never change, and ours only follow after them.
-- A unique constraint carries the name of the published index, so that one index serves both.

CREATE TABLE whaply.tenants (
    id              serial PRIMARY KEY,
    instance_name   varchar(255) NOT NULL,
    evo_server_url  varchar(500) NOT NULL,
    evo_api_key     varchar(500),
    system_prompt   text,
    llm_provider    varchar(50) DEFAULT 'anthropic',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),

    mode            text NOT NULL DEFAULT 'on' CHECK (mode IN ('off', 'draft', 'test', 'on')),
    test_chats      text[],
    llm_base_url    text,
    llm_model       text,
    llm_api_key     text,
    max_tokens      integer CHECK (max_tokens > 0),
    history_limit   integer CHECK (history_limit > 0),
    max_in_flight   integer CHECK (max_in_flight > 0),
    debounce        interval CHECK (debounce >= interval '0'),
    debounce_max    interval CHECK (debounce_max >= interval '0'),
    auto_resume_after interval CHECK (auto_resume_after > interval '0'),
    age_limit       interval CHECK (age_limit > interval '0'),
    reply_expiry    interval CHECK (reply_expiry > interval '0'),
    on_failure      text CHECK (on_failure IN ('hand_over', 'fallback', 'both', 'none')),
    on_other_sender text CHECK (on_other_sender IN ('pause', 'ignore')),
    on_uncertain    text CHECK (on_uncertain IN ('send', 'hold')),
    fallback_text   text,
    webhook_secret  text DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    timezone        text,
    auto_reply_texts text[],
    groups          boolean,
    connection_state text CHECK (connection_state IN ('open', 'connecting', 'close', 'refused')),
    home            text DEFAULT whaply.home_id(),

    CONSTRAINT idx_tenants_instance_name UNIQUE (instance_name)
);

CREATE TABLE whaply.sessions (
    id              serial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    chat_id         varchar(255) NOT NULL,
    is_paused       boolean NOT NULL DEFAULT false,
    pause_reason    varchar(100),
    last_message_at timestamptz,
    last_human_at   timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),

    contact_name    text,
    reply_jid       varchar(255),
    paused_until    timestamptz,

    CONSTRAINT idx_sessions_tenant_chat UNIQUE (tenant_id, chat_id)
);

CREATE INDEX idx_sessions_paused_last_human
    ON whaply.sessions (is_paused, last_human_at) WHERE is_paused = true;
CREATE INDEX idx_sessions_paused_until
    ON whaply.sessions (paused_until) WHERE is_paused AND paused_until IS NOT NULL;

CREATE TABLE whaply.messages (
    id              serial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    chat_id         varchar(255) NOT NULL,
    message_id      varchar(255) NOT NULL,
    from_me         boolean NOT NULL DEFAULT false,
    message_type    varchar(50),
    text            text,
    raw             jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),

    sent_at         timestamptz NOT NULL DEFAULT now(),
    sender          text CHECK (sender IN ('customer', 'owner', 'assistant', 'operator', 'other', 'auto_reply')),
    reply_id        bigint,
    status          text CHECK (status IN ('ERROR', 'PENDING', 'SERVER_ACK', 'DELIVERY_ACK', 'READ', 'PLAYED')),
    edited_at       timestamptz,
    deleted_at      timestamptz,

    CONSTRAINT idx_messages_tenant_msg UNIQUE (tenant_id, message_id)
);

-- The order of a chat. History is read from its end, and the questions of a reply from its first.
CREATE INDEX idx_messages_chat_order ON whaply.messages (tenant_id, chat_id, sent_at, id);

CREATE TABLE whaply.processed_events (
    id              serial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    message_id      varchar(255) NOT NULL,
    event_type      varchar(100) NOT NULL,
    action_taken    varchar(100),
    processed_at    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT idx_processed_events_tenant_msg UNIQUE (tenant_id, message_id, event_type)
);

-- Messages of ours or of somebody else: undecided until the send in flight has ended. Few at a time.
CREATE INDEX idx_processed_events_pending_echo
    ON whaply.processed_events (tenant_id, message_id) WHERE action_taken = 'pending_echo';

CREATE TABLE whaply.chat_aliases (
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    jid             varchar(255) NOT NULL,
    chat_id         varchar(255) NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, jid)
);

CREATE INDEX idx_chat_aliases_chat ON whaply.chat_aliases (tenant_id, chat_id);

CREATE TABLE whaply.replies (
    id              bigserial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    chat_id         varchar(255) NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN
                        ('waiting', 'generating', 'sending', 'sent', 'drafted', 'superseded', 'cancelled', 'failed')),
    due_at          timestamptz NOT NULL,
    lease_until     timestamptz,
    attempt         integer NOT NULL DEFAULT 0,
    deferrals       integer NOT NULL DEFAULT 0,
    requeues        integer NOT NULL DEFAULT 0,
    wanted          integer NOT NULL DEFAULT 1,
    seen            integer NOT NULL DEFAULT 0,
    first_sent_at   timestamptz NOT NULL,
    text            text,
    provider        text,
    model           text,
    input_tokens    integer,
    output_tokens   integer,
    error           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    claimed_at      timestamptz,
    answered_at     timestamptz,
    finished_at     timestamptz,
    FOREIGN KEY (tenant_id, chat_id) REFERENCES whaply.sessions (tenant_id, chat_id) ON DELETE CASCADE
);

-- One voice: at most one open reply a session.
CREATE UNIQUE INDEX idx_replies_one_open
    ON whaply.replies (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending');
CREATE INDEX idx_replies_chat ON whaply.replies (tenant_id, chat_id, id);
CREATE INDEX idx_replies_due ON whaply.replies (due_at) WHERE state = 'waiting';
CREATE INDEX idx_replies_failed ON whaply.replies (tenant_id, finished_at) WHERE state = 'failed';

CREATE TABLE whaply.deliveries (
    id              bigserial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    chat_id         varchar(255) NOT NULL,
    reply_id        bigint REFERENCES whaply.replies (id) ON DELETE CASCADE,
    kind            text NOT NULL CHECK (kind IN ('reply', 'fallback', 'operator')),
    part            integer NOT NULL DEFAULT 1,
    text            text NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN
                        ('pending', 'sending', 'uncertain', 'sent', 'cancelled', 'failed')),
    due_at          timestamptz,
    attempt         integer NOT NULL DEFAULT 0,
    deferrals       integer NOT NULL DEFAULT 0,
    lookups         integer NOT NULL DEFAULT 0,
    attempted_at    timestamptz,
    message_id      varchar(255),
    error           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    FOREIGN KEY (tenant_id, chat_id) REFERENCES whaply.sessions (tenant_id, chat_id) ON DELETE CASCADE
);

-- One call at a time in a chat, so that parts arrive in order and an unknown end blocks what follows.
CREATE UNIQUE INDEX idx_deliveries_one_in_flight
    ON whaply.deliveries (tenant_id, chat_id) WHERE state IN ('sending', 'uncertain');
CREATE INDEX idx_deliveries_chat ON whaply.deliveries (tenant_id, chat_id, id);
CREATE INDEX idx_deliveries_open
    ON whaply.deliveries (tenant_id, chat_id, id) WHERE state IN ('pending', 'sending', 'uncertain');
CREATE INDEX idx_deliveries_due ON whaply.deliveries (due_at) WHERE state IN ('pending', 'uncertain');
CREATE UNIQUE INDEX idx_deliveries_message
    ON whaply.deliveries (tenant_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX idx_deliveries_reply ON whaply.deliveries (reply_id) WHERE reply_id IS NOT NULL;

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

-- pg_dump keeps the rows and sequences of members only if they are named here.
DO $$
DECLARE
    member name;
BEGIN
    FOR member IN
        SELECT relname FROM pg_catalog.pg_class
         WHERE relnamespace = 'whaply'::regnamespace AND relkind IN ('r', 'S')
         ORDER BY relname
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(format('whaply.%I', member)::regclass, '');
    END LOOP;
END
$$;
