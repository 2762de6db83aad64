//! The GUCs themselves: name, default, bounds, unit, doc, and who may change each.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::choices::{OnFailureGuc, OnOtherSenderGuc, OnUncertainGuc, OnUnverifiedGuc};

pub(super) static DEBOUNCE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
pub(super) static DEBOUNCE_MAX: GucSetting<i32> = GucSetting::<i32>::new(30_000);
pub(super) static AUTO_RESUME_AFTER: GucSetting<i32> = GucSetting::<i32>::new(2 * 3_600);
pub(super) static AGE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(3_600);
pub(super) static REPLY_EXPIRY: GucSetting<i32> = GucSetting::<i32>::new(1_800);
pub(super) static HISTORY_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(30);
pub(super) static MAX_TOKENS: GucSetting<i32> = GucSetting::<i32>::new(4_096);
pub(super) static MAX_IN_FLIGHT: GucSetting<i32> = GucSetting::<i32>::new(32);
pub(super) static ON_FAILURE: GucSetting<OnFailureGuc> =
    GucSetting::<OnFailureGuc>::new(OnFailureGuc::HandOver);
pub(super) static ON_OTHER_SENDER: GucSetting<OnOtherSenderGuc> =
    GucSetting::<OnOtherSenderGuc>::new(OnOtherSenderGuc::Pause);
pub(super) static ON_UNCERTAIN: GucSetting<OnUncertainGuc> =
    GucSetting::<OnUncertainGuc>::new(OnUncertainGuc::Send);
pub(super) static ON_UNVERIFIED: GucSetting<OnUnverifiedGuc> =
    GucSetting::<OnUnverifiedGuc>::new(OnUnverifiedGuc::Hold);
/// A customer who writes without a pause gets three a minute; two machines make twice that.
pub(super) static ANSWERS_PER_CHAT: GucSetting<i32> = GucSetting::<i32>::new(30);
pub(super) static ANSWERS_PER_TENANT: GucSetting<i32> = GucSetting::<i32>::new(600);
pub(super) static ANSWER_WINDOW: GucSetting<i32> = GucSetting::<i32>::new(600);
pub(super) static ANSWER_AFTER_PAUSE: GucSetting<bool> = GucSetting::<bool>::new(false);
pub(super) static RESUME_WORD: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"#bot"));
pub(super) static HOLD_WORD: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"#eu"));
pub(super) static TIMEZONE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"America/Sao_Paulo"));
pub(super) static GROUPS: GucSetting<bool> = GucSetting::<bool>::new(false);
pub(super) static REQUIRE_SECRET: GucSetting<bool> = GucSetting::<bool>::new(true);

pub(super) static ANTHROPIC_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:ANTHROPIC_API_KEY"));
pub(super) static ANTHROPIC_BASE_URL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);
pub(super) static ANTHROPIC_MODEL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);
pub(super) static OPENAI_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:OPENAI_API_KEY"));
pub(super) static OPENAI_BASE_URL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);
pub(super) static OPENAI_MODEL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);

pub(super) static EVOLUTION_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:EVOLUTION_API_KEY"));

pub(super) static WORKER: GucSetting<bool> = GucSetting::<bool>::new(true);
/// One server may have half of them: a thousand calls to one model provider.
pub(super) static WORKER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(2_000);
pub(super) static POLL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5_000);
pub(super) static MAINTENANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
pub(super) static KEEP_PROCESSED_EVENTS: GucSetting<i32> = GucSetting::<i32>::new(7);
pub(super) static LLM_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(90_000);
pub(super) static SEND_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
pub(super) static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(2_000);
pub(super) static SETTLE_TIME: GucSetting<i32> = GucSetting::<i32>::new(10_000);
pub(super) static LINE_CHECK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(30_000);

const A_DAY_IN_MS: i32 = 86_400_000;
const A_YEAR_IN_S: i32 = 365 * 86_400;

/// Registers every setting. Called once, by `_PG_init`, whether preloaded or not: none of them is
/// PGC_POSTMASTER, which would be FATAL after the server has started.
pub fn register() {
    register_behaviour();
    register_providers();
    register_worker();
    super::front_door::register();
    super::outgoing::register();
    super::privacy::register();
    refuse_other_names();
}

/// A misspelt name is an error (before PostgreSQL 15 a warning), not a setting that nobody reads.
fn refuse_other_names() {
    let prefix = c"whaply".as_ptr();
    // SAFETY: called while the library is loaded; the prefix is NUL-terminated and gets copied.
    unsafe {
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        pgrx::pg_sys::EmitWarningsOnPlaceholders(prefix);
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        pgrx::pg_sys::MarkGUCPrefixReserved(prefix);
    }
}

fn register_behaviour() {
    // PGC_SUSET: may be set for one database by ALTER DATABASE, which PGC_SIGHUP may not.
    let int = |name, short, long, setting, min, max, unit| {
        GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Suset, unit);
    };
    int(
        c"whaply.debounce",
        c"How long the assistant waits for the customer's next message before it answers.",
        c"Each message moves the answer to this long after it, bounded by whaply.debounce_max.",
        &DEBOUNCE,
        0,
        A_DAY_IN_MS,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.debounce_max",
        c"The longest that quick messages can put off the answer to the first of them.",
        c"",
        &DEBOUNCE_MAX,
        0,
        A_DAY_IN_MS,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.auto_resume_after",
        c"How long a human must be silent in a chat before the assistant comes back.",
        c"Counted from sessions.last_human_at. A manual pause is not ended by it.",
        &AUTO_RESUME_AFTER,
        1,
        A_YEAR_IN_S,
        GucFlags::UNIT_S,
    );
    int(
        c"whaply.age_limit",
        c"A customer's message older than this on arrival is stored but not answered.",
        c"Evolution delivers old messages after a reconnect without a mark.",
        &AGE_LIMIT,
        1,
        A_YEAR_IN_S,
        GucFlags::UNIT_S,
    );
    int(
        c"whaply.reply_expiry",
        c"An answer that could not be sent for this long is given up.",
        c"Evolution's last webhook retry comes after about 20 minutes.",
        &REPLY_EXPIRY,
        1,
        A_YEAR_IN_S,
        GucFlags::UNIT_S,
    );
    int(
        c"whaply.history_limit",
        c"How many messages of the chat the model sees, the newest ones.",
        c"",
        &HISTORY_LIMIT,
        1,
        1_000,
        GucFlags::default(),
    );
    int(
        c"whaply.max_tokens",
        c"The longest answer the model may write, in tokens.",
        c"",
        &MAX_TOKENS,
        1,
        1_000_000,
        GucFlags::default(),
    );
    int(
        c"whaply.max_in_flight",
        c"How many answers of one tenant may be generated at the same time.",
        c"Keeps one busy tenant, or one slow provider, from taking every thread.",
        &MAX_IN_FLIGHT,
        1,
        10_000,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_failure",
        c"What happens in a chat after the last attempt to answer failed.",
        c"hand_over pauses the chat for a human, fallback sends tenants.fallback_text, both, none.",
        &ON_FAILURE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_other_sender",
        c"Whether a message sent through Evolution by somebody else pauses the chat.",
        c"pause: it is an agent (Chatwoot). ignore: the other API clients are machines.",
        &ON_OTHER_SENDER,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_uncertain",
        c"What to do with a message of which Evolution keeps no record after a broken call.",
        c"send: again. hold: leave it to a person; view health shows it.",
        &ON_UNCERTAIN,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_unverified",
        c"What to do with a message of the Cloud API whose customer cannot be verified.",
        c"hold: while several customers write at once it is left to a person. answer: it is trusted.",
        &ON_UNVERIFIED,
        GucContext::Suset,
        GucFlags::default(),
    );
    int(
        c"whaply.answers_per_chat",
        c"The most answers that one chat gets within whaply.answer_window. 0: no limit.",
        c"Beyond it the chat is paused (loop_guard): the other side may be a machine too.",
        &ANSWERS_PER_CHAT,
        0,
        1_000_000,
        GucFlags::default(),
    );
    int(
        c"whaply.answers_per_tenant",
        c"The most answers that one tenant gives within whaply.answer_window. 0: no limit.",
        c"Beyond it the chats that want another one are paused (loop_guard).",
        &ANSWERS_PER_TENANT,
        0,
        1_000_000,
        GucFlags::default(),
    );
    int(
        c"whaply.answer_window",
        c"The time for which the limits on answers count.",
        c"",
        &ANSWER_WINDOW,
        1,
        A_YEAR_IN_S,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"whaply.answer_after_pause",
        c"Whether what was asked during a pause is answered when the pause ends.",
        c"Only what is younger than whaply.age_limit, and only if nobody has answered since.",
        &ANSWER_AFTER_PAUSE,
        GucContext::Suset,
        GucFlags::default(),
    );
    let word = |name, short, setting| {
        GucRegistry::define_string_guc(
            name,
            short,
            c"A message of the owner that is this word alone is a command. Empty: no such word.",
            setting,
            GucContext::Suset,
            GucFlags::default(),
        );
    };
    word(c"whaply.resume_word", c"What the owner writes to give a chat back.", &RESUME_WORD);
    word(c"whaply.hold_word", c"What the owner writes to keep a chat for good.", &HOLD_WORD);
    GucRegistry::define_string_guc(
        c"whaply.timezone",
        c"The timezone in which the model is told the date and time.",
        c"A name of the IANA database, as in America/Sao_Paulo.",
        &TIMEZONE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"whaply.groups",
        c"Whether the assistant answers in groups, when it is mentioned there.",
        c"",
        &GROUPS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"whaply.require_secret",
        c"Whether whaply.webhook asks for the tenant's secret in the header x-whaply-secret.",
        c"",
        &REQUIRE_SECRET,
        GucContext::Suset,
        GucFlags::default(),
    );
    int(
        c"whaply.keep_processed_events",
        c"Days that auto_resume() keeps processed events. 0 keeps them for ever.",
        c"Must cover Evolution's retries, which end after about 20 minutes.",
        &KEEP_PROCESSED_EVENTS,
        0,
        36_500,
        GucFlags::default(),
    );
}

fn register_providers() {
    let source =
        c"The source of the key: env:NAME (of the server's environment), file:/path or vault:NAME.";
    let url = c"The server that tenants without llm_base_url use. Unset: the provider's own.";
    let model = c"The model of tenants without llm_model. Unset: a current one of the provider.";
    // PGC_SIGHUP: addresses and files are the operator's, not a database owner's.
    let define = |name, short, setting| {
        GucRegistry::define_string_guc(
            name,
            short,
            c"",
            setting,
            GucContext::Sighup,
            GucFlags::SUPERUSER_ONLY,
        );
    };
    define(c"whaply.anthropic_api_key", source, &ANTHROPIC_API_KEY);
    define(c"whaply.anthropic_base_url", url, &ANTHROPIC_BASE_URL);
    define(c"whaply.anthropic_model", model, &ANTHROPIC_MODEL);
    define(c"whaply.openai_api_key", source, &OPENAI_API_KEY);
    define(c"whaply.openai_base_url", url, &OPENAI_BASE_URL);
    define(c"whaply.openai_model", model, &OPENAI_MODEL);
    define(
        c"whaply.evolution_api_key",
        c"The source of Evolution's global key, for connect_instance: env:NAME, file:/path or vault:NAME.",
        &EVOLUTION_API_KEY,
    );
}

fn register_worker() {
    GucRegistry::define_bool_guc(
        c"whaply.worker",
        c"Whether the reply workers run. Off: messages are stored and queued, nothing is answered.",
        c"",
        &WORKER,
        GucContext::Sighup,
        GucFlags::default(),
    );
    let int = |name, short, long, setting, min, max, unit| {
        GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Sighup, unit);
    };
    int(
        c"whaply.worker_threads",
        c"How many calls to models and to Evolution one worker makes at the same time.",
        c"One server may have half of what the others leave. Threads are made when first needed. Takes effect when \
          the worker next starts.",
        &WORKER_THREADS,
        1,
        10_000,
        GucFlags::default(),
    );
    int(
        c"whaply.poll_interval",
        c"The longest that the worker sleeps when nothing wakes it.",
        c"Commits wake it; the poll is for what cannot (PREPARE TRANSACTION, a library not preloaded).",
        &POLL_INTERVAL,
        10,
        600_000,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.maintenance_interval",
        c"How often the worker resumes silent chats and cleans up by itself. 0: never (pg_cron does it).",
        c"",
        &MAINTENANCE_INTERVAL,
        0,
        86_400,
        GucFlags::UNIT_S,
    );
    int(
        c"whaply.llm_timeout",
        c"The longest that one call to a model may take, from DNS to the last byte.",
        c"",
        &LLM_TIMEOUT,
        100,
        600_000,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.send_timeout",
        c"The longest that one call to Evolution may take.",
        c"A call that times out is uncertain: whether it was sent is looked up before it is repeated.",
        &SEND_TIMEOUT,
        100,
        600_000,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.retry_delay",
        c"The shortest wait before the first retry; each further one is twice as long.",
        c"",
        &RETRY_DELAY,
        1,
        600_000,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.settle_time",
        c"How long after an uncertain call Evolution is asked whether the message was sent.",
        c"",
        &SETTLE_TIME,
        1,
        600_000,
        GucFlags::UNIT_MS,
    );
    int(
        c"whaply.line_check_interval",
        c"How often Evolution is asked for the state of an instance that is not open.",
        c"",
        &LINE_CHECK_INTERVAL,
        10,
        600_000,
        GucFlags::UNIT_MS,
    );
}
