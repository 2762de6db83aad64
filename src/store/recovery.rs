//! What a worker of before left open: taken back by the one that is there now. No row is waited for,
//! so that one forgotten BEGIN cannot keep a worker from its work.

use chrono::Duration;

use super::sql::{self, Row};
use crate::error::Result;

/// What one look for orphans came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub taken: i64,
    /// Locked by somebody: to be tried again.
    pub left: i64,
}

fn read(row: &Row<'_, '_>) -> Result<Recovered> {
    let (taken, found) = (row.get::<i64>(1)?, row.get::<i64>(2)?);
    Ok(Recovered { taken, left: (found - taken).max(0) })
}

impl Recovered {
    pub fn and(self, more: Self) -> Self {
        Self { taken: self.taken + more.taken, left: self.left + more.left }
    }
}

/// The replies that [`requeue_orphans`] would take.
pub fn orphaned_replies(held: &[i64]) -> Result<Vec<i64>> {
    sql::query(
        "SELECT r.id FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id \
          WHERE t.home = whaply.home_id() AND r.state = 'generating' AND r.id <> ALL ($1) ORDER BY r.id",
        &[held.to_vec().into()],
        |row| row.get(1),
    )
}

/// The deliveries that [`orphans_to_uncertain`] would take.
pub fn orphaned_deliveries(held: &[i64]) -> Result<Vec<i64>> {
    sql::query(
        "SELECT d.id FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id \
          WHERE t.home = whaply.home_id() AND d.state = 'sending' AND d.id <> ALL ($1) ORDER BY d.id",
        &[held.to_vec().into()],
        |row| row.get(1),
    )
}

/// generating -> waiting, but for what this worker holds itself; all of them, or `only` one. No other
/// worker of this database lives, so that nobody is at work on the rest, whatever their leases say.
pub fn requeue_orphans(held: &[i64], only: Option<i64>) -> Result<Recovered> {
    let recovered = sql::query_one(
        "WITH found AS ( \
             SELECT r.id FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id \
              WHERE t.home = whaply.home_id() AND r.state = 'generating' AND r.id <> ALL ($1) \
                AND ($2 IS NULL OR r.id = $2)), \
         free AS ( \
             SELECT r.id FROM whaply.replies r JOIN found ON found.id = r.id \
              WHERE r.state = 'generating' ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED), \
         taken AS ( \
             UPDATE whaply.replies r SET state = 'waiting', lease_until = NULL FROM free WHERE r.id = free.id \
             RETURNING r.id) \
         SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM found)",
        &[held.to_vec().into(), only.into()],
        read,
    )?;
    Ok(recovered.unwrap_or_default())
}

/// sending -> uncertain, but for the calls that this worker makes itself; all of them, or `only` one.
/// Evolution may be at work on one for as long as the `call` would have lasted: it is asked `settle`
/// after that.
pub fn orphans_to_uncertain(
    held: &[i64],
    only: Option<i64>,
    call: Duration,
    settle: Duration,
) -> Result<Recovered> {
    let recovered = sql::query_one(
        "WITH found AS ( \
             SELECT d.id FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id \
              WHERE t.home = whaply.home_id() AND d.state = 'sending' AND d.id <> ALL ($1) \
                AND ($4 IS NULL OR d.id = $4)), \
         free AS ( \
             SELECT d.id FROM whaply.deliveries d JOIN found ON found.id = d.id \
              WHERE d.state = 'sending' ORDER BY d.id FOR NO KEY UPDATE OF d SKIP LOCKED), \
         taken AS ( \
             UPDATE whaply.deliveries d \
                SET state = 'uncertain', error = 'the worker ended during the call', \
                    due_at = greatest(clock_timestamp(), d.attempted_at + make_interval(secs => $2)) \
                             + make_interval(secs => $3) \
               FROM free WHERE d.id = free.id RETURNING d.id) \
         SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM found)",
        &[
            held.to_vec().into(),
            sql::seconds(call).into(),
            sql::seconds(settle).into(),
            only.into(),
        ],
        read,
    )?;
    Ok(recovered.unwrap_or_default())
}
