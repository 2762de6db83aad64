//! Counts the posts that the front doors refuse, in shared memory: a refused call of `webhook` rolls
//! back, and whoever is refused shall not make the database write. The reply worker carries the
//! sums to table `refused_webhooks` every few seconds; what a crash finds uncarried is forgotten.
//! Without preload nothing is counted.

mod reason;
mod tally;

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};

pub use reason::Reason;
use tally::{Sum, Tally};

// SAFETY: made of atomics only, without pointers, so that processes may share it.
unsafe impl PGRXSharedMemory for Tally {}

// SAFETY: no other extension names its shared memory so.
static TALLY: PgAtomic<Tally> = unsafe { PgAtomic::new(c"whaply refusals") };

/// Set in the postmaster and inherited by every process it forks.
static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Posts of one tenant that were refused for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// None: no tenant has the instance, or none was named.
    pub tenant_id: Option<i32>,
    pub reason: Reason,
    pub count: u32,
    pub last_at: DateTime<Utc>,
}

/// Called where the shared memory of a server is laid out.
pub fn at_preload() {
    PRELOADED.store(true, Ordering::Relaxed);
    pg_shmem_init!(TALLY);
}

/// Notes that a post of this database was refused. Never fails and never waits; for the main thread
/// of any process that is connected to a database.
pub fn count(tenant_id: Option<i32>, reason: Reason) {
    put_back(&[Refused { tenant_id, reason, count: 1, last_at: Utc::now() }]);
}

/// Takes away what was counted for this database: it is the caller's now to write it.
pub fn take() -> Vec<Refused> {
    let Some(tally) = tally() else { return Vec::new() };
    let database = this_database();
    tally.take(|key| database_of(key) == database).into_iter().filter_map(read).collect()
}

/// What was taken and could not be written counts for the next time.
pub fn put_back(refused: &[Refused]) {
    let Some(tally) = tally() else { return };
    for refused in refused {
        tally.add(Sum {
            key: key(this_database(), refused.tenant_id),
            kind: refused.reason as usize,
            refused: refused.count,
            last_at: refused.last_at.timestamp_micros(),
        });
    }
}

/// Whether there is anything to take.
pub fn are_waiting() -> bool {
    let database = this_database();
    tally().is_some_and(|tally| tally.has(|key| database_of(key) == database))
}

fn tally() -> Option<&'static Tally> {
    PRELOADED.load(Ordering::Relaxed).then(|| TALLY.get())
}

fn this_database() -> u32 {
    // SAFETY: reads a global that does not change after the start of the process.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The ids of tenants begin at 1, those of databases too.
fn key(database: u32, tenant_id: Option<i32>) -> u64 {
    u64::from(database) << 32 | u64::from(tenant_id.unwrap_or(0).cast_unsigned())
}

fn database_of(key: u64) -> u32 {
    (key >> 32) as u32
}

fn read(sum: Sum) -> Option<Refused> {
    let tenant_id = (sum.key as u32).cast_signed();
    Some(Refused {
        tenant_id: (tenant_id != 0).then_some(tenant_id),
        reason: *Reason::ALL.get(sum.kind)?,
        count: sum.refused,
        last_at: DateTime::from_timestamp_micros(sum.last_at)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_read_as_it_was_counted() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            for tenant_id in [None, Some(1), Some(i32::MAX), Some(-1)] {
                let key = key(u32::MAX - 1, tenant_id);
                assert_eq!(database_of(key), u32::MAX - 1);
                let sum = Sum { key, kind: reason as usize, refused: 3, last_at: 5_000_000 };
                let last_at = DateTime::from_timestamp(5, 0).unwrap();
                assert_eq!(read(sum), Some(Refused { tenant_id, reason, count: 3, last_at }));
            }
        }
    }
}
