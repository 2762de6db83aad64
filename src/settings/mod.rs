//! Every setting of whaply, as plain values that may go to another thread. A setting that has a
//! column of the same name in `tenants` is the default for the tenants where that column is NULL.
//! No setting ever holds a key: those of keys name a source (`env:NAME`, `file:/path`, `vault:NAME`).

mod behaviour;
mod choices;
mod front_door;
mod outgoing;
mod privacy;
mod providers;
mod worker;

use std::ffi::{CStr, CString};

use chrono::Duration;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

pub use behaviour::{Behaviour, behaviour, require_secret};
pub use front_door::{FrontDoor, FrontDoorLimits, front_door};
pub use outgoing::{is_source, outgoing};
pub use privacy::{Retention, keep_processed_events, retention, secret_sources};
pub use providers::{ProviderDefaults, anthropic, evolution_key_source, openai};
pub use worker::{WorkerLimits, worker_limits};

/// Registers every setting. Called once, by `_PG_init`, whether preloaded or not: none of them is
/// PGC_POSTMASTER, which would be FATAL after the server has started.
pub fn register() {
    behaviour::register();
    providers::register();
    worker::register();
    front_door::register();
    outgoing::register();
    privacy::register();
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

/// A number between these bounds.
fn define_int(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    context: GucContext,
    unit: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, unit);
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
