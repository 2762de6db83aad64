//! How the demo ends before its end: something was not as it must be, or a person pressed Ctrl-C.
//! Every wait of the demo goes through here, so that both end it at once.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Not felt by a person, and no load for the server.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub enum Ending {
    /// What was expected, and what was there instead.
    Failed(String),
    Interrupted,
}

impl Ending {
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }

    /// The same ending, with the step in which it came.
    pub fn during(self, step: &str) -> Self {
        match self {
            Self::Failed(reason) => Self::Failed(format!("{step}: {reason}")),
            Self::Interrupted => Self::Interrupted,
        }
    }
}

/// Runs `act`, and makes a failure of what the test support says by a panic.
pub fn caught<T>(act: impl FnOnce() -> Result<T, Ending>) -> Result<T, Ending> {
    panic::catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(Ending::Failed(words_of(panic.as_ref()))))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

/// Whether Ctrl-C was pressed. The first one lets the demo tidy up, the second ends it at once;
/// even then the server and the model end, since they watch this process.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub fn listen() -> io::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        let status = i32::from(crate::ENDED_BY_CTRL_C);
        flag::register_conditional_shutdown(SIGINT, status, Arc::clone(&pressed))?;
        flag::register(SIGINT, Arc::clone(&pressed))?;
        Ok(Self(pressed))
    }

    pub fn check(&self) -> Result<(), Ending> {
        if self.0.load(Ordering::Relaxed) { Err(Ending::Interrupted) } else { Ok(()) }
    }

    /// Asks `look` again and again until it sees something, and fails after `limit` with `what`.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Ending>,
    ) -> Result<T, Ending> {
        let started_at = Instant::now();
        loop {
            self.check()?;
            match look()? {
                Some(seen) => return Ok(seen),
                None if started_at.elapsed() >= limit => {
                    return Err(Ending::failed(format!("waited {limit:?} for {what}")));
                }
                None => self.pause(POLL_INTERVAL),
            }
        }
    }

    /// One turn of a loop that polls. Ctrl-C does not end it early.
    pub fn pause(&self, interval: Duration) {
        thread::park_timeout(interval);
    }
}

/// Fails with `what` unless `is_so`.
pub fn ensure(is_so: bool, what: impl FnOnce() -> String) -> Result<(), Ending> {
    if is_so { Ok(()) } else { Err(Ending::Failed(what())) }
}
