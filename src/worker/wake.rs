//! Wakes the worker when a transaction commits, once for each transaction. What runs after a commit
//! must not fail: it sets latches, nothing else.

use std::cell::Cell;

use chrono::{DateTime, Utc};
use pgrx::pg_sys;
use pgrx::{PgXactCallbackEvent, register_xact_callback};

use super::board::{Slot, board};

/// At once, whenever the worker would look by itself.
const AT_ONCE: i64 = i64::MIN;

thread_local! {
    /// What this transaction has for the worker is due then, in microseconds since 1970. None: it has
    /// nothing, and no callback yet.
    static DUE_AT: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The reply worker of this database looks for work when this transaction commits. Without preload
/// it finds it at its next poll.
pub fn wake_at_commit() {
    wake_by(AT_ONCE);
}

/// The same for work that is due at a time: a worker that looks by then anyway is left alone.
pub fn wake_at_commit_for(due_at: DateTime<Utc>) {
    wake_by(due_at.timestamp_micros());
}

fn wake_by(due_at: i64) {
    // Decided here and not in the callback: a panic there would bring down the server.
    if board().is_none() {
        return;
    }
    let before = DUE_AT.get();
    DUE_AT.set(Some(before.map_or(due_at, |before| before.min(due_at))));
    if before.is_some() {
        return;
    }
    register_xact_callback(PgXactCallbackEvent::Commit, || {
        if let (Some(due_at), Some(slot)) = (DUE_AT.take(), own_slot()) {
            slot.wake_for(due_at);
        }
    });
    register_xact_callback(PgXactCallbackEvent::Abort, || DUE_AT.set(None));
    // A prepared transaction commits in some other process, which knows nothing of this.
    register_xact_callback(PgXactCallbackEvent::Prepare, || DUE_AT.set(None));
}

/// The launcher looks at every database again when this transaction commits; a worker that was
/// stopped here may start again.
pub fn wake_launcher_at_commit() {
    if board().is_some() {
        register_xact_callback(PgXactCallbackEvent::Commit, || {
            if let Some(slot) = own_slot() {
                slot.allow_start();
            }
            if let Some(board) = board() {
                board.ask_for_rescan();
            }
        });
    }
}

fn own_slot() -> Option<&'static Slot> {
    // SAFETY: reads a global that does not change after the start of the process.
    let database = unsafe { pg_sys::MyDatabaseId };
    board()?.slot(database.to_u32())
}
