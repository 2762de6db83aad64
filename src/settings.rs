//! Every setting of whaply, each with its doc, its unit and who may change it. A setting that has a
//! column of the same name in `tenants` is the default for the tenants where that column is NULL.
//! No setting ever holds a key: those of keys name a source (`env:NAME`, `file:/path`).

use std::ffi::CString;

use chrono::Duration;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::conversation::{OnFailure, OnOtherSender, OnUncertain};

/// GUC spelling of [`OnFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnFailureGuc {
    #[name = c"hand_over"]
    HandOver,
    #[name = c"fallback"]
    Fallback,
    #[name = c"both"]
    Both,
    #[name = c"none"]
    Nothing,
}

/// GUC spelling of [`OnOtherSender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnOtherSenderGuc {
    #[name = c"pause"]
    Pause,
    #[name = c"ignore"]
    Ignore,
}

/// GUC spelling of [`OnUncertain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnUncertainGuc {
    #[name = c"send"]
    Send,
    #[name = c"hold"]
    Hold,
}

static DEBOUNCE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static DEBOUNCE_MAX: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static AUTO_RESUME_AFTER: GucSetting<i32> = GucSetting::<i32>::new(2 * 3_600);
static AGE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(3_600);
static REPLY_EXPIRY: GucSetting<i32> = GucSetting::<i32>::new(1_800);
static HISTORY_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(30);
static MAX_TOKENS: GucSetting<i32> = GucSetting::<i32>::new(4_096);
static MAX_IN_FLIGHT: GucSetting<i32> = GucSetting::<i32>::new(32);
static ON_FAILURE: GucSetting<OnFailureGuc> =
    GucSetting::<OnFailureGuc>::new(OnFailureGuc::HandOver);
static ON_OTHER_SENDER: GucSetting<OnOtherSenderGuc> =
    GucSetting::<OnOtherSenderGuc>::new(OnOtherSenderGuc::Pause);
static ON_UNCERTAIN: GucSetting<OnUncertainGuc> =
    GucSetting::<OnUncertainGuc>::new(OnUncertainGuc::Send);
static TIMEZONE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"America/Sao_Paulo"));
static GROUPS: GucSetting<bool> = GucSetting::<bool>::new(false);
static REQUIRE_SECRET: GucSetting<bool> = GucSetting::<bool>::new(true);

static ANTHROPIC_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:ANTHROPIC_API_KEY"));
static ANTHROPIC_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static ANTHROPIC_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static OPENAI_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:OPENAI_API_KEY"));
static OPENAI_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static OPENAI_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static WORKER: GucSetting<bool> = GucSetting::<bool>::new(true);
static WORKER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(64);
static POLL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static MAINTENANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static KEEP_PROCESSED_EVENTS: GucSetting<i32> = GucSetting::<i32>::new(7);
static LLM_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(90_000);
static SEND_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static SETTLE_TIME: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static LINE_CHECK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(30_000);

const A_DAY_IN_MS: i32 = 86_400_000;
const A_YEAR_IN_S: i32 = 365 * 86_400;

/// What a tenant behaves like where it says nothing itself. A copy: it may go to another thread.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub debounce: Duration,
    pub debounce_max: Duration,
    pub auto_resume_after: Duration,
    pub age_limit: Duration,
    pub reply_expiry: Duration,
    pub history_limit: i32,
    pub max_tokens: i32,
    pub max_in_flight: i32,
    pub on_failure: OnFailure,
    pub on_other_sender: OnOtherSender,
    pub on_uncertain: OnUncertain,
    pub timezone: String,
    pub groups: bool,
}

/// Where the model of a provider is, for tenants that name no server of their own.
#[derive(Clone, Debug)]
pub struct ProviderDefaults {
    /// `env:NAME` or `file:/path`; never the key itself.
    pub key_source: Option<String>,
    pub base_url: Option<String>,
    pub model: Option<String>,
}

/// What the worker itself goes by.
#[derive(Clone, Debug)]
pub struct WorkerLimits {
    pub enabled: bool,
    pub threads: usize,
    pub poll_interval: std::time::Duration,
    /// None: the worker keeps no clock of its own (pg_cron does it).
    pub maintenance_interval: Option<std::time::Duration>,
    pub llm_timeout: std::time::Duration,
    pub send_timeout: std::time::Duration,
    pub retry_delay: std::time::Duration,
    pub settle_time: Duration,
    pub line_check_interval: std::time::Duration,
}

pub fn behaviour() -> Behaviour {
    Behaviour {
        debounce: milliseconds(&DEBOUNCE),
        debounce_max: milliseconds(&DEBOUNCE_MAX),
        auto_resume_after: seconds(&AUTO_RESUME_AFTER),
        age_limit: seconds(&AGE_LIMIT),
        reply_expiry: seconds(&REPLY_EXPIRY),
        history_limit: HISTORY_LIMIT.get(),
        max_tokens: MAX_TOKENS.get(),
        max_in_flight: MAX_IN_FLIGHT.get(),
        on_failure: match ON_FAILURE.get() {
            OnFailureGuc::HandOver => OnFailure::HandOver,
            OnFailureGuc::Fallback => OnFailure::Fallback,
            OnFailureGuc::Both => OnFailure::Both,
            OnFailureGuc::Nothing => OnFailure::Nothing,
        },
        on_other_sender: match ON_OTHER_SENDER.get() {
            OnOtherSenderGuc::Pause => OnOtherSender::Pause,
            OnOtherSenderGuc::Ignore => OnOtherSender::Ignore,
        },
        on_uncertain: match ON_UNCERTAIN.get() {
            OnUncertainGuc::Send => OnUncertain::Send,
            OnUncertainGuc::Hold => OnUncertain::Hold,
        },
        timezone: text(&TIMEZONE).unwrap_or_else(|| "UTC".to_owned()),
        groups: GROUPS.get(),
    }
}

pub fn anthropic() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&ANTHROPIC_API_KEY),
        base_url: text(&ANTHROPIC_BASE_URL),
        model: text(&ANTHROPIC_MODEL),
    }
}

pub fn openai() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&OPENAI_API_KEY),
        base_url: text(&OPENAI_BASE_URL),
        model: text(&OPENAI_MODEL),
    }
}

pub fn worker_limits() -> WorkerLimits {
    let maintenance = MAINTENANCE_INTERVAL.get();
    WorkerLimits {
        enabled: WORKER.get(),
        threads: usize::try_from(WORKER_THREADS.get()).unwrap_or(1),
        poll_interval: plain_milliseconds(&POLL_INTERVAL),
        maintenance_interval: (maintenance > 0)
            .then(|| std::time::Duration::from_secs(u64::from(maintenance.unsigned_abs()))),
        llm_timeout: plain_milliseconds(&LLM_TIMEOUT),
        send_timeout: plain_milliseconds(&SEND_TIMEOUT),
        retry_delay: plain_milliseconds(&RETRY_DELAY),
        settle_time: milliseconds(&SETTLE_TIME),
        line_check_interval: plain_milliseconds(&LINE_CHECK_INTERVAL),
    }
}

pub fn require_secret() -> bool {
    REQUIRE_SECRET.get()
}

/// Days that `auto_resume()` keeps processed events; 0 keeps them for ever.
pub fn keep_processed_events() -> i32 {
    KEEP_PROCESSED_EVENTS.get()
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::milliseconds(i64::from(setting.get()))
}

fn seconds(setting: &GucSetting<i32>) -> Duration {
    Duration::seconds(i64::from(setting.get()))
}

fn plain_milliseconds(setting: &GucSetting<i32>) -> std::time::Duration {
    std::time::Duration::from_millis(u64::from(setting.get().unsigned_abs()))
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let value = setting.get()?.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// Registers every setting. Called once, by `_PG_init`, whether preloaded or not: none of them is
/// PGC_POSTMASTER, which would be FATAL after the server has started.
pub fn register() {
    register_behaviour();
    register_providers();
    register_worker();
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
    let source = c"The source of the key: env:NAME (of the server's environment) or file:/path.";
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
        c"Takes effect when the worker next starts.",
        &WORKER_THREADS,
        1,
        1_000,
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
