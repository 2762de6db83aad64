//! How workers come to be: at the start of the server when preloaded, and by hand or by CREATE
//! EXTENSION when not; and how they are stopped.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_shmem_init;
use pgrx::prelude::*;

use super::board::{self, BOARD, Board, Status, board};
use super::launcher;
use crate::error::{Error, Result};
use crate::front_door::{self, Listening};
use crate::process::guarded;
use crate::refusals;
use crate::settings;
use crate::store::{extension, transaction};
use crate::tallies;

/// How long `start_worker` and `stop_worker` wait for the process.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);

/// The launcher is started again this long after it died.
const LAUNCHER_RESTART: Duration = Duration::from_secs(5);

/// Called by `_PG_init`: shared memory and the launcher, where the library is preloaded.
pub fn at_preload() {
    // SAFETY: reads globals of the postmaster while it loads libraries.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    if !preloading || upgrading {
        return;
    }
    board::mark_preloaded();
    pg_shmem_init!(BOARD);
    refusals::at_preload();
    tallies::at_preload();
    BackgroundWorkerBuilder::new("whaply launcher")
        .set_type("whaply launcher")
        .set_library("whaply")
        .set_function("whaply_launcher")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(LAUNCHER_RESTART))
        .load();
}

/// Starts the reply worker of this database, and waits until it is ready; whether it is.
pub fn start() -> Result<bool> {
    match board() {
        Some(board) => {
            if let Some(slot) = board.slot(this_database()) {
                slot.allow_start();
            }
            board.ask_for_rescan();
        }
        None if extension::worker_pid()?.is_none() => start_by_hand(0)?,
        None => {}
    }
    wait_until(|| Ok(extension::worker_pid()?.is_some()))
}

/// Without preload: a worker of this server only, gone with its next restart. It waits for
/// `creating_transaction` (0: none) before it looks for the tables.
fn start_by_hand(creating_transaction: u32) -> Result<()> {
    let extra = creating_transaction.to_string();
    launcher::builder(this_database()).set_extra(&extra).load_dynamic().map(drop).map_err(|_| {
        Error::NotPossible {
            message: "no background worker slot is free".to_owned(),
            hint: "Raise max_worker_processes and restart the server.",
        }
    })
}

/// In a worker started by CREATE EXTENSION: its tables become visible when that transaction ends.
pub fn wait_for_creating_transaction() {
    let transaction_id = pgrx::bgworkers::BackgroundWorker::get_extra().parse::<u32>().unwrap_or(0);
    if transaction_id == 0 {
        return;
    }
    // An error only means that it has ended.
    let _ = guarded::transaction_without_sql(|| {
        // SAFETY: in a transaction, on the main thread; an ended id returns at once.
        unsafe {
            pg_sys::XactLockTableWait(
                transaction_id.into(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
        Ok(())
    });
}

/// Stops the reply worker of this database, and the listener if it serves this database, and waits
/// until they are gone; whether they are. They are not started again before `start`, or a restart of
/// the server.
pub fn stop() -> Result<bool> {
    let Some(board) = board() else {
        if let Some(pid) = extension::worker_pid()? {
            extension::terminate(pid)?;
        }
        return wait_until(|| Ok(extension::worker_pid()?.is_none()));
    };
    wait_until(|| {
        let is_noted = note_stop(board);
        let listens_here = board.listener().database() == this_database();
        Ok(is_noted && extension::worker_pid()?.is_none() && !listens_here)
    })
}

/// Whether no worker will be started here. A database that the launcher has not seen yet has no place
/// where this could be noted: the launcher is told to look.
fn note_stop(board: &Board) -> bool {
    if let Some(slot) = board.slot(this_database()) {
        slot.set_status(Status::Stopped);
        slot.wake();
        board.listener().wake();
        return true;
    }
    if transaction::is_standby() || board.left_out() > 0 {
        return true;
    }
    board.ask_for_rescan();
    false
}

/// What is known of the reply worker of this database.
pub fn status() -> Result<(Status, Option<i32>)> {
    let pid = extension::worker_pid()?;
    let slot = board().and_then(|board| board.slot(this_database()));
    let noted = slot.map_or(Status::NotNeeded, |slot| slot.status());
    Ok((if pid.is_some() && noted != Status::Stopped { Status::Running } else { noted }, pid))
}

/// What is known of the listener.
pub fn listening() -> Listening {
    let is_standby = transaction::is_standby();
    let is_wanted = settings::front_door().listen.is_some();
    let board = board();
    let has_process = board.is_some_and(|board| board.listener().pid() != 0);
    front_door::listening(is_wanted, is_standby, board.map(Board::listening), has_process)
}

/// Called by CREATE EXTENSION: the worker starts when it commits. Preloaded, the launcher is told;
/// otherwise a worker is started by hand, which waits for the commit.
pub fn extension_created() {
    if is_preloaded() {
        super::wake_launcher_at_commit();
        return;
    }
    // SAFETY: in a transaction that has written: it has an id.
    let transaction_id = unsafe { pg_sys::GetTopTransactionId() };
    if let Err(error) = start_by_hand(transaction_id.into()) {
        warning!(
            "whaply: the reply worker was not started: {error}; later: SELECT whaply.start_worker()"
        );
    }
}

/// Whether the library is in shared_preload_libraries.
pub fn is_preloaded() -> bool {
    board().is_some()
}

fn this_database() -> u32 {
    // SAFETY: reads a global that does not change after the start of the process.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Waits in small steps that can be cancelled; whether it became true in time.
fn wait_until(mut is_true: impl FnMut() -> Result<bool>) -> Result<bool> {
    wait_at_most(PATIENCE, &mut is_true)
}

/// The same with another limit.
pub fn wait_at_most(limit: Duration, is_true: &mut dyn FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + limit;
    loop {
        if is_true()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: the latch of this process; the wait ends with it, the timeout or the server.
        unsafe {
            let step = STEP.as_millis() as i64;
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, step, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pgrx::check_for_interrupts!();
    }
}
