//! The worker's own `auto_resume()`: by its clock, and portion by portion while there is more to do, so
//! that no message waits for a large one. What a portion is stands in `intake::upkeep`.

use std::time::{Duration, Instant};

use chrono::Utc;

use crate::error::Result;
use crate::intake::upkeep::{self, Done, Portion};
use crate::settings::{self, WorkerLimits};

/// Between two portions: tens of thousands of events are deleted in a second, and webhooks find the
/// disk and the processor free most of the time.
const BETWEEN_PORTIONS: Duration = Duration::from_millis(50);

/// Which chores are due, and how far the last have come.
#[derive(Default)]
pub struct Chores {
    next: Option<Instant>,
    /// Events up to this id are looked at already, while a backlog is worked off.
    behind: Option<i32>,
}

/// What is to be done now, in a transaction of its own.
#[derive(Clone, Copy)]
pub struct Due {
    behind: Option<i32>,
}

impl Chores {
    /// The chores that are due, if any: they count as done for this interval.
    pub fn take_due(&mut self, limits: &WorkerLimits) -> Option<Due> {
        let interval = limits.maintenance_interval.filter(|_| limits.enabled)?;
        let now = Instant::now();
        if self.next.is_some_and(|next| next > now) {
            return None;
        }
        self.next = Some(now + interval);
        Some(Due { behind: self.behind.take() })
    }

    /// What came of them. None: they failed, and begin anew when the interval is over.
    pub fn ended(&mut self, done: Option<Done>) {
        let Some(done) = done.filter(|done| done.is_behind) else { return };
        self.behind = Some(done.events_up_to);
        self.next = Some(Instant::now() + BETWEEN_PORTIONS);
    }

    pub fn next_due(&self, limits: &WorkerLimits) -> Option<Instant> {
        self.next.filter(|_| limits.maintenance_interval.is_some())
    }
}

impl Due {
    pub fn run(self) -> Result<Done> {
        let (defaults, now) = (settings::behaviour(), Utc::now());
        if self.behind.is_none() {
            upkeep::begin(&defaults, now)?;
        }
        let (keep_days, after) = (settings::keep_processed_events(), self.behind.unwrap_or(0));
        upkeep::portion(Portion::OF_THE_WORKER, &defaults, keep_days, after, now)
    }
}
