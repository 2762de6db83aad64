//! Wakes the worker when a transaction commits, once for each transaction. What runs after a commit
//! must not fail: it sets latches, nothing else.

use std::cell::Cell;

use pgrx::pg_sys;
use pgrx::{PgXactCallbackEvent, register_xact_callback};

use super::board::{Slot, board};

thread_local! {
    /// Whether this transaction has its callback already.
    static WILL_WAKE: Cell<bool> = const { Cell::new(false) };
}

/// The reply worker of this database looks for work when this transaction commits. Without preload
/// it finds it at its next poll.
pub fn wake_at_commit() {
    // Decided here and not in the callback: a panic there would bring down the server.
    if board().is_none() || WILL_WAKE.replace(true) {
        return;
    }
    register_xact_callback(PgXactCallbackEvent::Commit, || {
        WILL_WAKE.set(false);
        wake_now();
    });
    register_xact_callback(PgXactCallbackEvent::Abort, || WILL_WAKE.set(false));
    // A prepared transaction commits in some other process, which knows nothing of this.
    register_xact_callback(PgXactCallbackEvent::Prepare, || WILL_WAKE.set(false));
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

fn wake_now() {
    if let Some(slot) = own_slot() {
        slot.wake();
    }
}

fn own_slot() -> Option<&'static Slot> {
    // SAFETY: reads a global that does not change after the start of the process.
    let database = unsafe { pg_sys::MyDatabaseId };
    board()?.slot(database.to_u32())
}
