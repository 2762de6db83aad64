//! The settings of the HTTP listener: all of them the operator's, none of them a database owner's.

use std::ffi::CString;
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{define_int, plain_milliseconds, text};

static LISTEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static DATABASE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static METRICS_TOKEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static TRUSTED_PROXIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static MAX_BODY: GucSetting<i32> = GucSetting::<i32>::new(16 * 1_024);
static MAX_CLIENTS: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static HEADER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static BODY_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static WEBHOOK_RATE: GucSetting<i32> = GucSetting::<i32>::new(0);
static REFUSED_PER_MINUTE: GucSetting<i32> = GucSetting::<i32>::new(60);

/// Where the listener is, and which database it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontDoor {
    /// An address and a port; None: nothing listens.
    pub listen: Option<String>,
    /// None: the only database with the extension.
    pub database: Option<String>,
    /// `env:NAME` or `file:/path`; never the token itself.
    pub metrics_token_source: Option<String>,
    pub limits: FrontDoorLimits,
}

/// What the listener lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontDoorLimits {
    /// Bytes of one body.
    pub max_body: usize,
    /// Connections at the same time.
    pub max_clients: usize,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// Webhooks a second of one tenant; 0: no limit.
    pub webhook_rate: u32,
    /// Posts of one address that may be refused in a minute; 0: no limit.
    pub refused_per_minute: u32,
    /// Addresses and networks, separated by commas, whose X-Forwarded-For is believed.
    pub trusted_proxies: String,
}

/// The settings as they are now.
pub fn front_door() -> FrontDoor {
    let positive = |setting: &GucSetting<i32>| setting.get().unsigned_abs();
    let size = |setting: &GucSetting<i32>| usize::try_from(setting.get()).unwrap_or(1);
    FrontDoor {
        listen: text(&LISTEN),
        database: text(&DATABASE),
        metrics_token_source: text(&METRICS_TOKEN),
        limits: FrontDoorLimits {
            max_body: size(&MAX_BODY).saturating_mul(1_024),
            max_clients: size(&MAX_CLIENTS),
            header_timeout: plain_milliseconds(&HEADER_TIMEOUT),
            body_timeout: plain_milliseconds(&BODY_TIMEOUT),
            webhook_rate: positive(&WEBHOOK_RATE),
            refused_per_minute: positive(&REFUSED_PER_MINUTE),
            trusted_proxies: text(&TRUSTED_PROXIES).unwrap_or_default(),
        },
    }
}

pub(super) fn register() {
    register_texts();
    register_limits();
}

fn register_texts() {
    let define = |name, short, long, setting| {
        let flags = GucFlags::SUPERUSER_ONLY;
        GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, flags);
    };
    define(
        c"whaply.listen",
        c"The address and port at which PostgreSQL itself takes webhooks by HTTP. Empty: none.",
        c"As in 127.0.0.1:8480. Without TLS: what is open to others belongs behind a reverse proxy.",
        &LISTEN,
    );
    define(
        c"whaply.database",
        c"The database that the listener serves.",
        c"Empty: the only one with the extension; with several the listener stays down.",
        &DATABASE,
    );
    define(
        c"whaply.metrics_token",
        c"The source of the token for /metrics: env:NAME (of the server's environment) or file:/path.",
        c"Without it /metrics answers only to its own machine, and not through a proxy.",
        &METRICS_TOKEN,
    );
    define(
        c"whaply.trusted_proxies",
        c"Addresses and networks, separated by commas, whose X-Forwarded-For is believed.",
        c"Those of the own machine (127.0.0.0/8, ::1) always are.",
        &TRUSTED_PROXIES,
    );
}

fn register_limits() {
    define_int(
        c"whaply.max_body",
        c"The largest webhook that the listener takes.",
        c"Beyond it: 400, which Evolution does not repeat. Turn off its base64 option first.",
        &MAX_BODY,
        (1, 1_024 * 1_024),
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    define_int(
        c"whaply.max_clients",
        c"How many connections the listener holds at the same time.",
        c"Beyond it the longest idle one makes room; if none is idle the new one is turned away.",
        &MAX_CLIENTS,
        (10, 100_000),
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_int(
        c"whaply.header_timeout",
        c"How long a client of the listener may take for the headers of a request.",
        c"",
        &HEADER_TIMEOUT,
        (100, 600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.body_timeout",
        c"How long a client of the listener may take for the body of a request.",
        c"",
        &BODY_TIMEOUT,
        (100, 600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.webhook_rate",
        c"How many webhooks a second the listener takes of one tenant. 0: no limit.",
        c"Beyond it: 429, which Evolution repeats. Only posts with the right secret count.",
        &WEBHOOK_RATE,
        (0, 1_000_000),
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_int(
        c"whaply.refused_per_minute",
        c"How many posts of one address may be refused in a minute. 0: no limit.",
        c"Beyond it what is known to be wrong gets 429; secrets that are right are taken all the same.",
        &REFUSED_PER_MINUTE,
        (0, 1_000_000),
        GucContext::Sighup,
        GucFlags::default(),
    );
}
