//! What a copy of a database brought along: the open work of tenants whose home is another one.

use chrono::Duration;

use super::sql;
use crate::error::Result;

/// Open replies that are too old to be sent: a copy must not answer last week's questions.
pub fn expired_replies(default_expiry: Duration) -> Result<Vec<i64>> {
    sql::query(
        "SELECT r.id FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id \
          WHERE t.home IS DISTINCT FROM whaply.home_id() AND r.state IN ('waiting', 'generating', 'sending') \
            AND r.created_at < now() - coalesce(t.reply_expiry, make_interval(secs => $1)) \
          ORDER BY r.id",
        &[sql::seconds(default_expiry).into()],
        |row| row.get(1),
    )
}

/// Fails outgoing messages that are too old; how many.
pub fn fail_expired_deliveries(default_expiry: Duration, why: &str) -> Result<usize> {
    sql::execute(
        "UPDATE whaply.deliveries d \
            SET state = 'failed', error = $2, due_at = NULL, finished_at = clock_timestamp() \
           FROM whaply.tenants t \
          WHERE t.id = d.tenant_id AND t.home IS DISTINCT FROM whaply.home_id() \
            AND d.state IN ('pending', 'sending', 'uncertain') \
            AND d.created_at < now() - coalesce(t.reply_expiry, make_interval(secs => $1))",
        &[sql::seconds(default_expiry).into(), why.into()],
    )
}

/// generating -> waiting: whoever was at work on it is not here; how many.
pub fn requeue_generating() -> Result<usize> {
    sql::execute(
        "UPDATE whaply.replies r SET state = 'waiting', lease_until = NULL FROM whaply.tenants t \
          WHERE t.id = r.tenant_id AND t.home IS DISTINCT FROM whaply.home_id() AND r.state = 'generating'",
        &[],
    )
}

/// sending -> uncertain: Evolution is asked how the call ended, `settle` after the call would have
/// ended by itself; how many.
pub fn sends_to_uncertain(call: Duration, settle: Duration) -> Result<usize> {
    sql::execute(
        "UPDATE whaply.deliveries d \
            SET state = 'uncertain', error = 'the database was copied during the call', \
                due_at = greatest(clock_timestamp(), d.attempted_at + make_interval(secs => $1)) \
                         + make_interval(secs => $2) \
           FROM whaply.tenants t \
          WHERE t.id = d.tenant_id AND t.home IS DISTINCT FROM whaply.home_id() AND d.state = 'sending'",
        &[sql::seconds(call).into(), sql::seconds(settle).into()],
    )
}
