//! Makes the processes of whaply leave a database that a command needs for itself, and lets them come back
//! when the transaction of that command has ended, however it did. It never decides who may do that.

use std::time::{Duration, Instant};

use pgrx::prelude::*;
use pgrx::{PgXactCallbackEvent, register_xact_callback};

use super::board::{Board, board};
use super::register::wait_at_most;
use crate::error::{Error, Result};
use crate::process::guarded;
use crate::store::extension;

/// A process that has not left by then is terminated: it waits for something, a lock perhaps.
const POLITENESS: Duration = Duration::from_secs(2);

/// The listener finishes what it took. After this PostgreSQL's own error says who is still there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns when no process of whaply is connected to the database; none comes before the end of this
/// transaction. Without preload nobody would start them again: then it is an error if one is there,
/// unless the command itself terminates it.
pub fn make_way(database: u32, terminates_others: bool) -> Result<()> {
    match board() {
        Some(board) => hold(board, database),
        None if terminates_others => Ok(()),
        None => {
            // Whoever cannot see the locks gets PostgreSQL's own error.
            let worker = guarded::attempt(|| extension::worker_pid_of(database)).unwrap_or(None);
            worker.map_or(Ok(()), |_| Err(Error::DatabaseInUse))
        }
    }
}

fn hold(board: &'static Board, database: u32) -> Result<()> {
    // SAFETY: reads a global of this process.
    let session = unsafe { pg_sys::MyProcPid };
    let let_go = move || {
        board.holds().release(session);
        // Nobody of whaply looks after the others.
        if board.slot(database).is_some() {
            board.ask_for_rescan();
        }
    };
    // Nothing in it can fail. A prepared transaction keeps its locks, at which whoever comes back waits.
    for end in
        [PgXactCallbackEvent::Commit, PgXactCallbackEvent::Abort, PgXactCallbackEvent::Prepare]
    {
        register_xact_callback(end, let_go);
    }
    if !board.holds().hold(database, session) {
        return Ok(());
    }
    board.occupied_slots(database).for_each(|slot| slot.make_way());
    let asked_at = Instant::now();
    let mut are_terminated = false;
    wait_at_most(PATIENCE, &mut || {
        if !are_terminated && asked_at.elapsed() > POLITENESS {
            are_terminated = true;
            for slot in board.occupied_slots(database) {
                slot.terminate();
            }
        }
        Ok(!board.is_occupied(database))
    })
    .map(drop)
}
