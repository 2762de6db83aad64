//! The chores that run by the clock, the worker's own or pg_cron's. Nobody's message waits for them.

use chrono::{DateTime, Utc};

use super::{greetings, pauses};
use crate::error::Result;
use crate::settings::Behaviour;
use crate::store::{processed_events, sessions};

/// A backlog is deleted bit by bit, a round at a time: webhooks go on meanwhile.
const EVENTS_AT_ONCE: i64 = 10_000;

/// What a round of chores came to.
pub struct Done {
    pub resumed: i64,
    pub deleted_events: i64,
    /// Chats where what was asked during the pause is answered now.
    pub asked: usize,
}

/// Resumes silent chats by each tenant's own setting, ends pauses whose time is over, undoes what
/// automatic greetings have caused, and deletes events older than `keep_days` (0: none), ten
/// thousand at most.
pub fn run(defaults: &Behaviour, keep_days: i32, now: DateTime<Utc>) -> Result<Done> {
    greetings::apply_known(defaults, now)?;
    let default_seconds = defaults.auto_resume_after.num_milliseconds() as f64 / 1e3;
    let silent = sessions::resume_silent_by_tenant(default_seconds, defaults.answer_after_pause)?;
    let asked = pauses::all_ended(&silent, defaults, now)?;
    let over = end_timed_pauses(defaults, now)?;
    let deleted_events = if keep_days > 0 {
        processed_events::delete_some_older_than(keep_days, EVENTS_AT_ONCE)?
    } else {
        0
    };
    Ok(Done { resumed: silent.count + over.resumed, deleted_events, asked: asked + over.asked })
}

/// Ends the pauses whose time is over.
pub fn end_timed_pauses(defaults: &Behaviour, now: DateTime<Utc>) -> Result<Done> {
    let over = sessions::resume_expired(defaults.answer_after_pause)?;
    let asked = pauses::all_ended(&over, defaults, now)?;
    Ok(Done { resumed: over.count, deleted_events: 0, asked })
}

/// Ends the pauses whose time is over, where there are any; when the next one is.
pub fn end_due_pauses(defaults: &Behaviour, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let next = sessions::next_pause_end()?;
    if next.is_none_or(|end| end > now) {
        return Ok(next);
    }
    end_timed_pauses(defaults, now)?;
    sessions::next_pause_end()
}
