//! The rows of a queue, `replies` or `deliveries`, that may be begun now: each tenant its share, so that
//! none waits behind another's. What else a row of either must fulfil is said by its own file.

use chrono::{Duration, Utc};

use super::sql;
use crate::error::Result;

/// So many chats of a tenant may be held by somebody while its others go on, however few it may have
/// in flight.
const HELD_CHATS: i64 = 8;

/// What decides which replies and deliveries may be begun, beside their own rows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// Of the tenants that name none themselves.
    pub max_in_flight: i32,
    pub reply_expiry: Duration,
    /// Tenants whose model provider asked to wait, or has its share of calls.
    pub cooling: &'a [i32],
    /// Tenants whose Evolution has its share of calls.
    pub at_full_gateways: &'a [i32],
    /// What PostgreSQL has refused to let begin, while it is left aside.
    pub refused_replies: &'a [i64],
    pub refused_deliveries: &'a [i64],
}

/// The statement for [`may_begin`]. `$may_begin` is a condition on the row `q` of the queue and on
/// `line`: whether it `is_open`, and the tenant's `expiry`.
macro_rules! fair_shares {
    (table: $table:literal, waiting: $waiting:literal, in_flight: $in_flight:literal, may_begin: $may_begin:literal) => {
        concat!(
            "WITH due_tenants AS MATERIALIZED ( \
             SELECT DISTINCT q.tenant_id FROM ", $table, " q WHERE q.state = '", $waiting, "' AND q.due_at <= $6), \
         shares AS MATERIALIZED ( \
             SELECT t.id AS tenant_id, coalesce(t.connection_state, 'open') = 'open' AS is_open, \
                    make_interval(secs => coalesce(extract(epoch FROM t.reply_expiry)::float8, $3)) AS expiry, \
                    coalesce(t.max_in_flight, $2) - (SELECT count(*) FROM ", $table, " f \
                                                      WHERE f.tenant_id = t.id AND f.state = '", $in_flight, "') AS most \
               FROM due_tenants n JOIN whaply.tenants t ON t.id = n.tenant_id \
              WHERE t.home = whaply.home_id() AND t.id <> ALL ($4)), \
         ranked AS MATERIALIZED ( \
             SELECT q.id, q.tenant_id, q.chat_id, q.due_at, line.most, \
                    row_number() OVER (PARTITION BY q.tenant_id ORDER BY q.due_at, q.id) AS place \
               FROM shares line JOIN ", $table, " q \
                 ON q.tenant_id = line.tenant_id AND q.state = '", $waiting, "' AND q.due_at <= $6 \
              WHERE line.most > 0 AND q.id <> ALL ($7) AND (", $may_begin, ")), \
         free AS ( \
             SELECT ranked.* FROM ranked \
               JOIN whaply.sessions s ON s.tenant_id = ranked.tenant_id AND s.chat_id = ranked.chat_id \
              WHERE ranked.place <= ranked.most + $5 \
              ORDER BY ranked.due_at, ranked.id LIMIT $1 * 2 FOR NO KEY UPDATE OF s SKIP LOCKED) \
         SELECT taken.id \
           FROM (SELECT free.id, free.due_at, free.most, \
                        row_number() OVER (PARTITION BY free.tenant_id ORDER BY free.due_at, free.id) AS place \
                   FROM free) AS taken \
          WHERE taken.place <= taken.most ORDER BY taken.due_at, taken.id LIMIT $1"
        )
    };
}
pub(super) use fair_shares;

/// The ids that `statement`, made by [`fair_shares!`], lists: at most `limit`, and of each tenant what is
/// left of its share; those of `passed_over` get none, and what is `refused` is not looked at. Locks their
/// sessions; what somebody else holds is passed over before the share is counted.
pub(super) fn may_begin(
    statement: &'static str,
    limit: i64,
    bounds: Bounds<'_>,
    passed_over: &[i32],
    refused: &[i64],
) -> Result<Vec<i64>> {
    let args = [
        limit.into(),
        bounds.max_in_flight.into(),
        sql::seconds(bounds.reply_expiry).into(),
        passed_over.to_vec().into(),
        HELD_CHATS.into(),
        sql::time(Utc::now()).into(),
        refused.to_vec().into(),
    ];
    sql::query_by_index(statement, &args, |row| row.get(1))
}
