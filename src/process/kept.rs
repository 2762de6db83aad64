//! The background workers that one process starts and keeps: how they are registered, and how long one
//! that died stays away. Which of them shall run is their keeper's matter.

use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys;

/// A worker that died is started again after this, doubled each time up to its longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A worker that lived this long died of something new.
const LIVED_WELL: Duration = Duration::from_secs(60);

/// A worker for one database. Its keeper restarts it: one with a restart time would survive a crash of
/// the server beside the new one that the keeper then starts.
pub fn worker_of(database: u32, name: &str, entry_point: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name)
        .set_type(name)
        .set_library("whaply")
        .set_function(entry_point)
        .set_argument(Some(pg_sys::Datum::from(database)))
        .enable_spi_access()
        .set_restart_time(None)
        // SAFETY: reads a global of this process.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
}

/// When a worker may be started, and again.
#[derive(Clone, Copy, Debug)]
pub struct Restarts {
    longest_wait: Duration,
    started_at: Instant,
    due_at: Instant,
    next_wait: Duration,
}

impl Restarts {
    /// Due at once.
    pub fn new(longest_wait: Duration, now: Instant) -> Self {
        Self { longest_wait, started_at: now, due_at: now, next_wait: FIRST_WAIT }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.due_at <= now
    }

    pub fn until_due(&self, now: Instant) -> Duration {
        self.due_at.saturating_duration_since(now)
    }

    pub fn note_start(&mut self, now: Instant) {
        self.started_at = now;
    }

    /// It ended by itself; whether that was soon after its start.
    pub fn note_end(&mut self, now: Instant) -> bool {
        let soon = now.saturating_duration_since(self.started_at) < LIVED_WELL;
        if !soon {
            self.next_wait = FIRST_WAIT;
        }
        self.put_off(now);
        soon
    }

    /// It could not be started.
    pub fn put_off(&mut self, now: Instant) {
        self.due_at = now + self.next_wait;
        self.next_wait = (self.next_wait * 2).min(self.longest_wait);
    }

    /// Its failures are of before: it may start at once.
    pub fn forgive(&mut self, now: Instant) {
        self.next_wait = FIRST_WAIT;
        self.due_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn wait_after_end(restarts: &mut Restarts, at: Instant) -> u64 {
        restarts.note_start(at);
        restarts.note_end(at);
        restarts.until_due(at).as_secs()
    }

    #[test]
    fn each_early_death_doubles_the_wait_up_to_the_longest() {
        let now = Instant::now();
        let mut restarts = Restarts::new(LONGEST, now);
        assert!(restarts.is_due(now));
        let waits = [(); 5].map(|()| wait_after_end(&mut restarts, now));
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert!(!restarts.is_due(now));
        assert!(restarts.is_due(now + LONGEST));
    }

    #[test]
    fn a_worker_that_lived_well_and_one_that_is_forgiven_begin_anew() {
        let now = Instant::now();
        let mut restarts = Restarts::new(LONGEST, now);
        wait_after_end(&mut restarts, now);
        restarts.note_start(now);
        assert!(!restarts.note_end(now + LIVED_WELL));
        assert_eq!(restarts.until_due(now + LIVED_WELL), FIRST_WAIT);
        restarts.forgive(now);
        assert!(restarts.is_due(now));
        assert_eq!(wait_after_end(&mut restarts, now), 1);
    }
}
