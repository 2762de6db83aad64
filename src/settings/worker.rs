//! The settings of the reply worker: all of them the operator's.

use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{define_int, milliseconds, plain_milliseconds};

static WORKER: GucSetting<bool> = GucSetting::<bool>::new(true);
/// One server may have half of them: a thousand calls to one model provider.
static WORKER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static POLL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static MAINTENANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static LLM_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(90_000);
static SEND_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static SETTLE_TIME: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static LINE_CHECK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(30_000);

/// PGC_SIGHUP: not a database owner's.
const CONTEXT: GucContext = GucContext::Sighup;

/// What the worker itself goes by.
#[derive(Clone, Debug)]
pub struct WorkerLimits {
    pub enabled: bool,
    pub threads: usize,
    pub poll_interval: Duration,
    /// None: the worker keeps no clock of its own (pg_cron does it).
    pub maintenance_interval: Option<Duration>,
    pub llm_timeout: Duration,
    pub send_timeout: Duration,
    pub retry_delay: Duration,
    pub settle_time: chrono::Duration,
    pub line_check_interval: Duration,
}

impl WorkerLimits {
    /// How long Evolution may be at work on a call, whether or not anybody still waits for it.
    pub fn call_time(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.send_timeout).unwrap_or_default()
    }
}

/// The settings as they are now.
pub fn worker_limits() -> WorkerLimits {
    let maintenance = MAINTENANCE_INTERVAL.get();
    WorkerLimits {
        enabled: WORKER.get(),
        threads: usize::try_from(WORKER_THREADS.get()).unwrap_or(1),
        poll_interval: plain_milliseconds(&POLL_INTERVAL),
        maintenance_interval: (maintenance > 0)
            .then(|| Duration::from_secs(u64::from(maintenance.unsigned_abs()))),
        llm_timeout: plain_milliseconds(&LLM_TIMEOUT),
        send_timeout: plain_milliseconds(&SEND_TIMEOUT),
        retry_delay: plain_milliseconds(&RETRY_DELAY),
        settle_time: milliseconds(&SETTLE_TIME),
        line_check_interval: plain_milliseconds(&LINE_CHECK_INTERVAL),
    }
}

pub(super) fn register() {
    GucRegistry::define_bool_guc(
        c"whaply.worker",
        c"Whether the reply workers run. Off: messages are stored and queued, nothing is answered.",
        c"",
        &WORKER,
        CONTEXT,
        GucFlags::default(),
    );
    register_rhythm();
    register_calls();
}

/// When it looks for work by itself.
fn register_rhythm() {
    define_int(
        c"whaply.poll_interval",
        c"The longest that the worker sleeps when nothing wakes it.",
        c"Commits wake it; the poll is for what cannot (PREPARE TRANSACTION, a library not preloaded).",
        &POLL_INTERVAL,
        (10, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.maintenance_interval",
        c"How often the worker resumes silent chats and cleans up by itself. 0: never (pg_cron does it).",
        c"",
        &MAINTENANCE_INTERVAL,
        (0, 86_400),
        CONTEXT,
        GucFlags::UNIT_S,
    );
    define_int(
        c"whaply.line_check_interval",
        c"How often Evolution is asked for the state of an instance that is not open.",
        c"",
        &LINE_CHECK_INTERVAL,
        (10, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
}

fn register_calls() {
    define_int(
        c"whaply.worker_threads",
        c"How many calls to models and to Evolution one worker makes at the same time.",
        c"One server may have half of what the others leave. Threads are made when first needed. Takes effect when \
          the worker next starts.",
        &WORKER_THREADS,
        (1, 10_000),
        CONTEXT,
        GucFlags::default(),
    );
    define_int(
        c"whaply.llm_timeout",
        c"The longest that one call to a model may take, from DNS to the last byte.",
        c"",
        &LLM_TIMEOUT,
        (100, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.send_timeout",
        c"The longest that one call to Evolution may take.",
        c"A call that times out is uncertain: whether it was sent is looked up before it is repeated.",
        &SEND_TIMEOUT,
        (100, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.retry_delay",
        c"The shortest wait before the first retry; each further one is twice as long.",
        c"",
        &RETRY_DELAY,
        (1, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.settle_time",
        c"How long after an uncertain call Evolution is asked whether the message was sent.",
        c"",
        &SETTLE_TIME,
        (1, 600_000),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
}
