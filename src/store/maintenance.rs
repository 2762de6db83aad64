//! The chores that run by the clock.

use super::{processed_events, sessions};
use crate::error::Result;
use crate::settings::Behaviour;

/// What a round of maintenance came to.
pub struct Done {
    pub resumed: i64,
    pub deleted_events: i64,
}

/// Resumes silent chats by each tenant's own setting, ends pauses whose time is over, and deletes
/// events older than `keep_days` (0: none).
pub fn run(defaults: &Behaviour, keep_days: i32) -> Result<Done> {
    let default_seconds = defaults.auto_resume_after.num_milliseconds() as f64 / 1e3;
    let resumed = sessions::resume_silent_by_tenant(default_seconds)? + sessions::resume_expired()?;
    let deleted_events =
        if keep_days > 0 { processed_events::delete_older_than(keep_days)? } else { 0 };
    Ok(Done { resumed, deleted_events })
}
