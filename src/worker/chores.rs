//! The worker's own `auto_resume()`: by its clock, and portion by portion while there is more to do, so
//! that no message waits for a large one. What a portion is stands in `intake::upkeep`; what goes after
//! its days, in `retention`.

use std::time::{Duration, Instant};

use chrono::Utc;

use super::retention::{self, Sweeping};
use crate::error::Result;
use crate::intake::upkeep::{self, Portion};
use crate::settings::{self, WorkerLimits};
use crate::store::retention::Swept;

/// Between two portions: tens of thousands of events are deleted in a second, and webhooks find the
/// disk and the processor free most of the time.
const BETWEEN_PORTIONS: Duration = Duration::from_millis(50);

/// Which chores are due, and how far the last have come.
#[derive(Default)]
pub struct Chores {
    next: Option<Instant>,
    /// Events up to this id are looked at already, while a backlog is worked off.
    behind: Option<i64>,
    sweeping: Sweeping,
}

/// What is to be done now, in a transaction of its own.
#[derive(Clone, Copy)]
pub enum Due {
    Upkeep { behind: Option<i64> },
    Sweep(retention::Portion),
}

/// What came of it.
#[derive(Clone, Copy)]
pub enum Done {
    Upkeep(upkeep::Done),
    Sweep(Swept),
}

impl Chores {
    /// The chores that are due, if any: they count as done for this interval.
    pub fn take_due(&mut self, limits: &WorkerLimits) -> Option<Due> {
        let now = Instant::now();
        let interval = limits.maintenance_interval.filter(|_| limits.enabled);
        if let Some(interval) = interval
            && self.next.is_none_or(|next| next <= now)
        {
            self.next = Some(now + interval);
            return Some(Due::Upkeep { behind: self.behind.take() });
        }
        self.sweeping.take_due(limits).map(Due::Sweep)
    }

    /// What came of them. None: they failed, and begin anew when the interval is over.
    pub fn ended(&mut self, due: Due, done: Option<Done>) {
        match (due, done) {
            (Due::Sweep(_), Some(Done::Sweep(swept))) => self.sweeping.ended(Some(swept)),
            (Due::Sweep(_), _) => self.sweeping.ended(None),
            (Due::Upkeep { .. }, Some(Done::Upkeep(done))) if done.is_behind => {
                self.behind = Some(done.events_up_to);
                self.next = Some(Instant::now() + BETWEEN_PORTIONS);
            }
            (Due::Upkeep { .. }, _) => {}
        }
    }

    pub fn next_due(&self, limits: &WorkerLimits) -> Option<Instant> {
        let next = self.next.filter(|_| limits.maintenance_interval.is_some());
        next.into_iter().chain(self.sweeping.next_due()).min()
    }
}

impl Due {
    /// Whether chats come back by it.
    pub fn resumes(self) -> bool {
        matches!(self, Self::Upkeep { .. })
    }

    /// Pauses of `but_for`, ids of sessions, do not end.
    pub fn run(self, but_for: &[i64]) -> Result<Done> {
        let behind = match self {
            Self::Upkeep { behind } => behind,
            Self::Sweep(portion) => return portion.run().map(Done::Sweep),
        };
        let (defaults, now) = (settings::behaviour(), Utc::now());
        if behind.is_none() {
            upkeep::begin(&defaults, now)?;
        }
        let (keep_days, after) = (settings::keep_processed_events(), behind.unwrap_or(0));
        upkeep::portion(Portion::OF_THE_WORKER, &defaults, but_for, keep_days, after, now)
            .map(Done::Upkeep)
    }
}
