//! What the processes of a database count for whoever watches it: the worker its calls, every process how
//! replies ended. In shared memory, since the listener prints it: it stands from one start of the server
//! to the next, and a worker that dies forgets nothing. Without preload nothing is counted.

mod counts;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pgrx::prelude::*;
use pgrx::{
    PGRXSharedMemory, PgAtomic, PgXactCallbackEvent, pg_shmem_init, register_xact_callback,
};

pub use counts::{BOUNDS, CallKind, CallResult, Counts, Reading, ReplyEnd};

/// Databases that are counted; those beyond are not. A place is kept until the server's next start.
const PLACES: usize = 256;

struct Tallies {
    places: [Place; PLACES],
}

#[derive(Default)]
struct Place {
    /// 0: it is free.
    database: AtomicU32,
    counts: Counts,
}

impl Default for Tallies {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| Place::default()) }
    }
}

// SAFETY: made of atomics only, without pointers, so that processes may share it.
unsafe impl PGRXSharedMemory for Tallies {}

// SAFETY: no other extension names its shared memory so.
static TALLIES: PgAtomic<Tallies> = unsafe { PgAtomic::new(c"whaply tallies") };

/// Set in the postmaster and inherited by every process it forks.
static PRELOADED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The replies that end if this transaction commits, in the order of [`ReplyEnd::ALL`]. None: no
    /// callback of the commit yet.
    static ENDING: Cell<Option<[u64; ReplyEnd::ALL.len()]>> = const { Cell::new(None) };
}

/// Called where the shared memory of a server is laid out.
pub fn at_preload() {
    PRELOADED.store(true, Ordering::Relaxed);
    pg_shmem_init!(TALLIES);
}

/// The counts of this process's database. None: without preload, or there is no place left.
pub fn of_this_database() -> Option<&'static Counts> {
    if !PRELOADED.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: reads a global that does not change after the start of the process.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    TALLIES.get().place(database)
}

/// These replies have ended, if this transaction commits.
pub fn replies_end(end: ReplyEnd, replies: usize) {
    if replies == 0 || of_this_database().is_none() {
        return;
    }
    let before = ENDING.get();
    let mut ending = before.unwrap_or_default();
    if let Some(count) = ending.get_mut(end as usize) {
        *count += replies as u64;
    }
    ENDING.set(Some(ending));
    if before.is_some() {
        return;
    }
    // What runs after a commit must not fail: it adds to atomics, nothing else.
    register_xact_callback(PgXactCallbackEvent::Commit, || {
        if let (Some(ending), Some(counts)) = (ENDING.take(), of_this_database()) {
            for (end, replies) in ReplyEnd::ALL.into_iter().zip(ending) {
                counts.replies_ended(end, replies);
            }
        }
    });
    register_xact_callback(PgXactCallbackEvent::Abort, || ENDING.set(None));
    // A prepared transaction commits in some other process, which knows nothing of this.
    register_xact_callback(PgXactCallbackEvent::Prepare, || ENDING.set(None));
}

impl Tallies {
    /// The place of a database, which takes a free one where it has none.
    fn place(&self, database: u32) -> Option<&Counts> {
        let place = self.places.iter().find(|place| {
            let taken =
                place.database.compare_exchange(0, database, Ordering::AcqRel, Ordering::Acquire);
            taken.is_ok() || taken == Err(database)
        })?;
        Some(&place.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_has_a_place_of_its_own_while_there_are_places() {
        let tallies = Tallies::default();
        let sent = |database: u32| {
            tallies.place(database).map(|counts| counts.read().replies.first().copied())
        };
        tallies.place(7).unwrap().replies_ended(ReplyEnd::Sent, 1);
        assert_eq!(sent(7), Some(Some((ReplyEnd::Sent, 1))));
        assert_eq!(sent(8), Some(Some((ReplyEnd::Sent, 0))));
        assert!((1..).take(PLACES + 2).filter(|&database| sent(database).is_none()).count() == 2);
        assert_eq!(sent(7), Some(Some((ReplyEnd::Sent, 1))));
    }
}
