-- The tables of whaply. The first columns of tenants, sessions, messages and processed_events are
-- a published schema: name, type and order never change, and ours only follow after them.
-- A unique constraint carries the name of the published index, so that one index serves both.
--
-- What is said of vacuum: a fifth of ten million rows, PostgreSQL's own bound, is too much to leave
-- lying about. BRIN indexes learn of new pages as these fill up.

CREATE TABLE whaply.tenants (
    id              serial PRIMARY KEY,
    instance_name   varchar(255) NOT NULL,
    evo_server_url  varchar(500) NOT NULL,
    evo_api_key     varchar(500),
    system_prompt   text,
    llm_provider    varchar(50) DEFAULT 'anthropic',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),

    mode            text NOT NULL DEFAULT 'on',
    test_chats      text[],
    llm_base_url    text,
    llm_model       text,
    llm_api_key     text,
    max_tokens      integer,
    history_limit   integer,
    max_in_flight   integer,
    debounce        interval,
    debounce_max    interval,
    auto_resume_after interval,
    age_limit       interval,
    reply_expiry    interval,
    on_failure      text,
    on_other_sender text,
    on_uncertain    text,
    fallback_text   text,
    webhook_secret  text DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    timezone        text,
    auto_reply_texts text[],
    groups          boolean,
    connection_state text,
    home            text DEFAULT whaply.home_id(),
    answers_per_chat integer,
    answers_per_tenant integer,
    answer_window   interval,
    resume_word     text,
    hold_word       text,
    answer_after_pause boolean,
    on_unverified   text,
    own_lids        text[],
    webhook_secret_before text,
    webhook_secret_changed_at timestamptz,
    webhook_jwt_key text,

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
    steered_at      timestamptz,

    CONSTRAINT idx_sessions_tenant_chat UNIQUE (tenant_id, chat_id)
)
-- A row changes with each message, and mostly no indexed column of it: with room on its page, no index.
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

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
    sender          text CHECK (sender IN ('customer', 'owner', 'assistant', 'operator', 'other', 'auto_reply',
                                               'command', 'unverified')),
    reply_id        bigint,
    status          text CHECK (status IN ('ERROR', 'PENDING', 'SERVER_ACK', 'DELIVERY_ACK', 'READ', 'PLAYED')),
    edited_at       timestamptz,
    deleted_at      timestamptz,

    CONSTRAINT idx_messages_tenant_msg UNIQUE (tenant_id, message_id)
)
-- A question is changed once, when a reply reads it, and a message of ours up to four times: its echo, and
-- how far it came. With this room about a tenth less goes to the WAL.
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
      autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX idx_messages_created_at ON whaply.messages USING brin (created_at) WITH (autosummarize = on);

-- The order of a chat. History is read from its end, and the questions of a reply from its first.
CREATE INDEX idx_messages_chat_order ON whaply.messages (tenant_id, chat_id, sent_at, id);

-- Words that the owner has used before, perhaps a greeting that WhatsApp Business sends by itself.
CREATE INDEX idx_messages_owner_words ON whaply.messages (tenant_id, md5(text)) WHERE sender = 'owner';

-- Customers of the Cloud API who wrote at the same moment; and those of them who got no answer for that.
CREATE INDEX idx_messages_cloud_api ON whaply.messages (tenant_id, created_at) WHERE message_id LIKE 'wamid.%';
CREATE INDEX idx_messages_unverified ON whaply.messages (tenant_id, created_at) WHERE sender = 'unverified';

CREATE TABLE whaply.processed_events (
    id              serial PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    message_id      varchar(255) NOT NULL,
    event_type      varchar(100) NOT NULL,
    action_taken    varchar(100),
    processed_at    timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT idx_processed_events_tenant_msg UNIQUE (tenant_id, message_id, event_type)
)
WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
      autovacuum_analyze_scale_factor = 0.02);

-- For queries by time: rows come in the order of their time, so that a few pages of index do. What is
-- newer than a time it finds for ever; what is older, only until pages are used a second time: the worker's
-- own clean-up goes by id.
CREATE INDEX idx_processed_events_processed_at
    ON whaply.processed_events USING brin (processed_at) WITH (autosummarize = on);

-- Messages of ours or of somebody else: undecided until the send in flight has ended. Few at a time.
CREATE INDEX idx_processed_events_pending_echo
    ON whaply.processed_events (tenant_id, message_id) WHERE action_taken = 'pending_echo';

CREATE TABLE whaply.chat_aliases (
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    jid             varchar(255) NOT NULL,
    chat_id         varchar(255) NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    confirmed       boolean NOT NULL DEFAULT true,
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
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- One voice: at most one open reply a session.
CREATE UNIQUE INDEX idx_replies_one_open
    ON whaply.replies (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending');
CREATE INDEX idx_replies_chat ON whaply.replies (tenant_id, chat_id, id);
-- How many of a tenant's are being generated: few, however many wait.
CREATE INDEX idx_replies_generating ON whaply.replies (tenant_id) WHERE state = 'generating';
CREATE INDEX idx_replies_due ON whaply.replies (due_at) WHERE state = 'waiting';
-- For the limits on answers in a time.
CREATE INDEX idx_replies_answered ON whaply.replies (tenant_id, answered_at) WHERE answered_at IS NOT NULL;
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
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- One call at a time in a chat, so that parts arrive in order and an unknown end blocks what follows.
CREATE UNIQUE INDEX idx_deliveries_one_in_flight
    ON whaply.deliveries (tenant_id, chat_id) WHERE state IN ('sending', 'uncertain');
CREATE INDEX idx_deliveries_chat ON whaply.deliveries (tenant_id, chat_id, id);
CREATE INDEX idx_deliveries_open
    ON whaply.deliveries (tenant_id, chat_id, id) WHERE state IN ('pending', 'sending', 'uncertain');
CREATE INDEX idx_deliveries_due ON whaply.deliveries (due_at) WHERE state IN ('pending', 'uncertain');
CREATE UNIQUE INDEX idx_deliveries_message
    ON whaply.deliveries (tenant_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX idx_deliveries_failed ON whaply.deliveries (finished_at) WHERE state = 'failed';
CREATE INDEX idx_deliveries_reply ON whaply.deliveries (reply_id) WHERE reply_id IS NOT NULL;

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

-- What the reply worker meets and no other table tells: view health shows it. It goes when it is over.
CREATE TABLE whaply.findings (
    tenant_id       integer NOT NULL REFERENCES whaply.tenants (id) ON DELETE CASCADE,
    subject         text NOT NULL CHECK (subject IN ('refused', 'secret')),
    object          text NOT NULL,
    problem         text NOT NULL,
    first_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject, object)
);

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

-- pg_dump keeps the rows and sequences of members only if they are named here. The archive of an extension
-- that was dropped may stand in the schema, and is none.
DO $$
DECLARE
    member name;
BEGIN
    FOR member IN
        SELECT c.relname FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'S')
           AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relname
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(format('whaply.%I', member)::regclass, '');
    END LOOP;
END
$$;
