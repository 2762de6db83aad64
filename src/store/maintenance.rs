//! The chores that run by the clock.

use super::{processed_events, sessions, sql};
use crate::error::Result;
use crate::settings::Behaviour;

/// A backlog is deleted bit by bit, a round at a time: webhooks go on meanwhile.
const EVENTS_AT_ONCE: i64 = 10_000;

/// What a round of maintenance came to.
pub struct Done {
    pub resumed: i64,
    pub deleted_events: i64,
}

/// Resumes silent chats by each tenant's own setting, ends pauses whose time is over, and deletes
/// events older than `keep_days` (0: none), ten thousand at most.
pub fn run(defaults: &Behaviour, keep_days: i32) -> Result<Done> {
    let default_seconds = sql::seconds(defaults.auto_resume_after);
    let resumed = sessions::resume_silent_by_tenant(default_seconds)? + sessions::resume_expired()?;
    let deleted_events = if keep_days > 0 {
        processed_events::delete_some_older_than(keep_days, EVENTS_AT_ONCE)?
    } else {
        0
    };
    Ok(Done { resumed, deleted_events })
}
