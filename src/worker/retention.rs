//! What is kept for some days only (`whaply.keep_messages`, `whaply.keep_raw`): portion by portion, each in a
//! transaction of its own, so that no webhook and no answer waits for it.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::settings::{self, Retention, WorkerLimits};
use crate::store::messages_archive;
use crate::store::retention::{self, Swept};

/// Rows of one portion: some ten milliseconds.
const ROWS: i64 = 1_000;

/// Between two portions: webhooks find the disk and the processor free most of the time.
const BETWEEN_PORTIONS: Duration = Duration::from_millis(50);

/// Where pg_cron does the other chores and the worker has no clock for them.
const INTERVAL: Duration = Duration::from_secs(60);

/// What was passed over, since somebody held it or it was yet to be answered, is met again after this.
const FROM_THE_BEGINNING: Duration = Duration::from_secs(24 * 3_600);

/// What is swept, in this order: what is deleted needs not be cleared first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broom {
    Messages,
    Payloads,
    ArchivedMessages,
    ArchivedPayloads,
}

const BROOMS: [Broom; 4] =
    [Broom::Messages, Broom::Payloads, Broom::ArchivedMessages, Broom::ArchivedPayloads];

/// How far each has come, and when the next portion is due.
#[derive(Default)]
pub struct Sweeping {
    next: Option<Instant>,
    began: Option<Instant>,
    /// Of the broom that is due, by its place.
    place: usize,
    up_to: [i64; BROOMS.len()],
}

/// One portion, to be swept in a transaction of its own.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    broom: Broom,
    after_id: i64,
    days: i32,
}

impl Sweeping {
    /// The portion that is due, if any.
    pub fn take_due(&mut self, limits: &WorkerLimits) -> Option<Portion> {
        let now = Instant::now();
        if !limits.enabled || self.next.is_some_and(|next| next > now) {
            return None;
        }
        if self.began.is_none_or(|began| began.elapsed() >= FROM_THE_BEGINNING) {
            (self.began, self.up_to) = (Some(now), [0; BROOMS.len()]);
        }
        let kept = settings::retention();
        while let Some(broom) = BROOMS.get(self.place) {
            if let Some(days) = days_of(*broom, kept) {
                let after_id = self.up_to.get(self.place).copied().unwrap_or(0);
                // If it fails the next one is not kept from its turn.
                self.next = Some(now + BETWEEN_PORTIONS);
                return Some(Portion { broom: *broom, after_id, days });
            }
            self.place += 1;
        }
        self.place = 0;
        self.next = Some(now + limits.maintenance_interval.unwrap_or(INTERVAL));
        None
    }

    /// What came of a portion. None: it failed, and comes again in the next round of all.
    pub fn ended(&mut self, swept: Option<Swept>) {
        if let (Some(swept), Some(up_to)) = (swept, self.up_to.get_mut(self.place)) {
            *up_to = swept.up_to;
        }
        if !swept.is_some_and(|swept| swept.is_behind) {
            self.place += 1;
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.next
    }
}

fn days_of(broom: Broom, kept: Retention) -> Option<i32> {
    match broom {
        Broom::Messages | Broom::ArchivedMessages => kept.messages_days,
        Broom::Payloads | Broom::ArchivedPayloads => kept.raw_days,
    }
}

impl Portion {
    pub fn run(self) -> Result<Swept> {
        let Self { broom, after_id, days } = self;
        let is_of_the_archive = matches!(broom, Broom::ArchivedMessages | Broom::ArchivedPayloads);
        if is_of_the_archive && !messages_archive::is_open()? {
            return Ok(Swept { count: 0, up_to: 0, is_behind: false });
        }
        match broom {
            Broom::Messages => retention::delete_messages(days, after_id, ROWS),
            Broom::Payloads => retention::clear_payloads(days, after_id, ROWS),
            Broom::ArchivedMessages => retention::delete_archived(days, after_id, ROWS),
            Broom::ArchivedPayloads => retention::clear_archived_payloads(days, after_id, ROWS),
        }
    }
}
