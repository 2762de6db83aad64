//! The settings of what may be read and how long it is kept: the sources of secrets that tenants may
//! name, and the days after which content goes.

use std::ffi::{CStr, CString};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::text;

/// The sources that the defaults of the keys' own settings name.
static SECRET_SOURCES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(
    c"env:ANTHROPIC_API_KEY, env:OPENAI_API_KEY, env:EVOLUTION_API_KEY",
));
static KEEP_PROCESSED_EVENTS: GucSetting<i32> = GucSetting::<i32>::new(7);
static KEEP_MESSAGES: GucSetting<i32> = GucSetting::<i32>::new(0);
static KEEP_RAW: GucSetting<i32> = GucSetting::<i32>::new(0);

/// How long content is kept. None: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub messages_days: Option<i32>,
    pub raw_days: Option<i32>,
}

/// As it is written; `secrets` reads it.
pub fn secret_sources() -> String {
    text(&SECRET_SOURCES).unwrap_or_default()
}

pub fn retention() -> Retention {
    let days = |setting: &GucSetting<i32>| Some(setting.get()).filter(|days| *days > 0);
    Retention { messages_days: days(&KEEP_MESSAGES), raw_days: days(&KEEP_RAW) }
}

/// Days that `auto_resume()` keeps processed events; 0 keeps them for ever.
pub fn keep_processed_events() -> i32 {
    KEEP_PROCESSED_EVENTS.get()
}

pub(super) fn register() {
    GucRegistry::define_string_guc(
        c"whaply.secret_sources",
        c"The sources that a tenant may name in place of a key or secret, separated by commas.",
        c"env:NAME, file:/path, file:/directory/, vault:NAME, vault:*. A source goes to a server of the tenant's choosing \
          only if the entry ends with: for HOST, for HOST:PORT, or for *.",
        &SECRET_SOURCES,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    let days = |name: &'static CStr, short, long, setting| {
        let (most, flags) = (36_500, GucFlags::default());
        GucRegistry::define_int_guc(name, short, long, setting, 0, most, GucContext::Suset, flags);
    };
    days(
        c"whaply.keep_processed_events",
        c"Days that auto_resume() keeps processed events. 0 keeps them for ever.",
        c"Must cover Evolution's retries, which end after about 20 minutes.",
        &KEEP_PROCESSED_EVENTS,
    );
    days(
        c"whaply.keep_messages",
        c"Days that messages are kept, and messages_archive. 0 keeps them for ever.",
        c"The worker deletes what is older, a little at a time; never what an open reply is to answer.",
        &KEEP_MESSAGES,
    );
    days(
        c"whaply.keep_raw",
        c"Days that the payloads of messages (column raw) are kept. 0 keeps them for ever.",
        c"The message itself stays, with its text.",
        &KEEP_RAW,
    );
}
