//! Every setting of whaply, as plain values that may go to another thread. A setting that has a
//! column of the same name in `tenants` is the default for the tenants where that column is NULL.
//! No setting ever holds a key: those of keys name a source (`env:NAME`, `file:/path`).

mod choices;
mod front_door;
mod gucs;
mod outgoing;
mod privacy;

use std::ffi::CString;

use chrono::Duration;
use pgrx::guc::GucSetting;

use crate::conversation::{OnFailure, OnOtherSender, OnUncertain, OnUnverified};

pub use front_door::{FrontDoor, FrontDoorLimits, front_door};
pub use gucs::register;
pub use outgoing::{is_source, outgoing};
pub use privacy::{Retention, retention, secret_sources};

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
    pub on_unverified: OnUnverified,
    /// Answers a chat gets within `answer_window`; 0: no limit.
    pub answers_per_chat: i32,
    /// Answers a tenant gives within `answer_window`; 0: no limit.
    pub answers_per_tenant: i32,
    pub answer_window: Duration,
    pub answer_after_pause: bool,
    pub resume_word: Option<String>,
    pub hold_word: Option<String>,
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

impl WorkerLimits {
    /// How long Evolution may be at work on a call, whether or not anybody still waits for it.
    pub fn call_time(&self) -> Duration {
        Duration::from_std(self.send_timeout).unwrap_or_default()
    }
}

pub fn behaviour() -> Behaviour {
    Behaviour {
        debounce: milliseconds(&gucs::DEBOUNCE),
        debounce_max: milliseconds(&gucs::DEBOUNCE_MAX),
        auto_resume_after: seconds(&gucs::AUTO_RESUME_AFTER),
        age_limit: seconds(&gucs::AGE_LIMIT),
        reply_expiry: seconds(&gucs::REPLY_EXPIRY),
        history_limit: gucs::HISTORY_LIMIT.get(),
        max_tokens: gucs::MAX_TOKENS.get(),
        max_in_flight: gucs::MAX_IN_FLIGHT.get(),
        on_failure: gucs::ON_FAILURE.get().into(),
        on_other_sender: gucs::ON_OTHER_SENDER.get().into(),
        on_uncertain: gucs::ON_UNCERTAIN.get().into(),
        on_unverified: gucs::ON_UNVERIFIED.get().into(),
        answers_per_chat: gucs::ANSWERS_PER_CHAT.get(),
        answers_per_tenant: gucs::ANSWERS_PER_TENANT.get(),
        answer_window: seconds(&gucs::ANSWER_WINDOW),
        answer_after_pause: gucs::ANSWER_AFTER_PAUSE.get(),
        resume_word: text(&gucs::RESUME_WORD),
        hold_word: text(&gucs::HOLD_WORD),
        timezone: text(&gucs::TIMEZONE).unwrap_or_else(|| "UTC".to_owned()),
        groups: gucs::GROUPS.get(),
    }
}

pub fn anthropic() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&gucs::ANTHROPIC_API_KEY),
        base_url: text(&gucs::ANTHROPIC_BASE_URL),
        model: text(&gucs::ANTHROPIC_MODEL),
    }
}

pub fn openai() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&gucs::OPENAI_API_KEY),
        base_url: text(&gucs::OPENAI_BASE_URL),
        model: text(&gucs::OPENAI_MODEL),
    }
}

/// Where Evolution's global key is: `env:NAME` or `file:/path`; never the key itself.
pub fn evolution_key_source() -> Option<String> {
    text(&gucs::EVOLUTION_API_KEY)
}

pub fn worker_limits() -> WorkerLimits {
    let maintenance = gucs::MAINTENANCE_INTERVAL.get();
    WorkerLimits {
        enabled: gucs::WORKER.get(),
        threads: usize::try_from(gucs::WORKER_THREADS.get()).unwrap_or(1),
        poll_interval: plain_milliseconds(&gucs::POLL_INTERVAL),
        maintenance_interval: (maintenance > 0)
            .then(|| std::time::Duration::from_secs(u64::from(maintenance.unsigned_abs()))),
        llm_timeout: plain_milliseconds(&gucs::LLM_TIMEOUT),
        send_timeout: plain_milliseconds(&gucs::SEND_TIMEOUT),
        retry_delay: plain_milliseconds(&gucs::RETRY_DELAY),
        settle_time: milliseconds(&gucs::SETTLE_TIME),
        line_check_interval: plain_milliseconds(&gucs::LINE_CHECK_INTERVAL),
    }
}

pub fn require_secret() -> bool {
    gucs::REQUIRE_SECRET.get()
}

/// Days that `auto_resume()` keeps processed events; 0 keeps them for ever.
pub fn keep_processed_events() -> i32 {
    gucs::KEEP_PROCESSED_EVENTS.get()
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
