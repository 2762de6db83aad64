//! The chores that run by the clock, and before a copy of a database may speak.

use chrono::Duration;

use super::{processed_events, sessions, sql};
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

/// Replies of tenants from elsewhere that are too old to be sent are failed, so that a copy which
/// is adopted does not answer last week's questions.
pub fn fail_expired_before_adoption(default_expiry: Duration) -> Result<usize> {
    let default_seconds = default_expiry.num_milliseconds() as f64 / 1e3;
    sql::execute(
        "UPDATE whaply.deliveries d \
            SET state = 'failed', error = 'too old when the tenant was adopted', due_at = NULL, \
                finished_at = clock_timestamp() \
           FROM whaply.tenants t \
          WHERE t.id = d.tenant_id AND t.home IS DISTINCT FROM whaply.home_id() \
            AND d.state IN ('pending', 'sending', 'uncertain') \
            AND d.created_at < now() - coalesce(t.reply_expiry, make_interval(secs => $1))",
        &[default_seconds.into()],
    )?;
    sql::execute(
        "UPDATE whaply.replies r \
            SET state = 'failed', error = 'too old when the tenant was adopted', lease_until = NULL, \
                finished_at = clock_timestamp() \
           FROM whaply.tenants t \
          WHERE t.id = r.tenant_id AND t.home IS DISTINCT FROM whaply.home_id() \
            AND r.state IN ('waiting', 'generating', 'sending') \
            AND r.created_at < now() - coalesce(t.reply_expiry, make_interval(secs => $1))",
        &[default_seconds.into()],
    )
}
