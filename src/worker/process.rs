//! The life of a reply worker: connect, become the only one, take back what was left behind, then
//! rounds until the extension, the database or the server goes.
//!
//! It ends with status 1 where it should come back (the launcher starts it again), and with 0 where
//! there is nothing for it to do.

use chrono::Utc;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::board::{Slot, Status, board};
use super::counted;
use super::outgoing;
use super::pool::Pool;
use super::rounds::{Next, Rounds};
use crate::net::{Caller, Limits};
use crate::process::guarded::transaction;
use crate::process::{
    Sleep, activity, install_signal_handlers, memory, most_sockets, pin_before_connecting,
    pin_settings,
};
use crate::server_log::log;
use crate::settings;
use crate::store::extension::{self, Presence};

/// Entry point of a reply worker. `database` is the OID of the database as an integer.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn whaply_reply_worker(database: pg_sys::Datum) {
    let database = pg_sys::Oid::from(database.value() as u32);
    if !connect(database) {
        return;
    }
    // Before the settings are pinned: this wait may be long.
    super::register::wait_for_creating_transaction();
    pin_settings();
    memory::keep_no_large_pieces();
    if has_nothing_to_do(database) || !become_the_worker() {
        return;
    }
    let mut rounds = begin();
    take_place(database);
    log!("whaply: the reply worker is ready");
    loop {
        run(&mut rounds);
        if is_held(database) {
            log!("whaply: the reply worker leaves: a command needs its database for itself");
            return;
        }
        if is_stopped() {
            log!("whaply: the reply worker ends: stop_worker() was called");
            return;
        }
        if has_nothing_to_do(database) {
            log!("whaply: the reply worker ends: the extension is gone");
            return;
        }
        // The extension was created anew. Calls still in flight report to a pool that is gone.
        rounds = begin();
    }
}

/// A pool without threads yet. What a worker of before left behind is taken back by the first round.
fn begin() -> Rounds {
    counted::nothing_is_under_way();
    let limits = settings::worker_limits();
    let threads = most_sockets(limits.threads);
    if threads < limits.threads {
        log!(
            "whaply: {threads} calls at once instead of whaply.worker_threads: raise the open-file limit"
        );
    }
    let limits = Limits { in_flight: threads, ..Limits::default() };
    let caller = Caller::new(&limits, outgoing::now());
    let pool = match Pool::new(threads, caller) {
        Ok(pool) => pool,
        Err(error) => {
            fatal(&format!("whaply: the reply worker has no file descriptor left: {error}"))
        }
    };
    match transaction(|| Ok((extension::id()?, extension::version_to_tell()?))) {
        Ok((extension, version)) => {
            if let Some(version) = version {
                warning!("{version}");
            }
            Rounds::new(pool, extension)
        }
        Err(error) => {
            fatal(&format!("whaply: the reply worker could not take up its work: {error}"))
        }
    }
}

/// An ERROR on the way out ends the process with status 1: it is started again.
fn fatal(message: &str) -> ! {
    FATAL!("{message}")
}

/// False where a command needs the database for itself.
fn connect(database: pg_sys::Oid) -> bool {
    // SAFETY: the start of a background worker, signals still blocked. `die` interrupts a running
    // statement and a lock wait, which pgrx's own handler does not.
    unsafe {
        install_signal_handlers();
    }
    if !arrive(database) {
        return false;
    }
    pin_before_connecting();
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    activity::call_process(c"whaply reply worker");
    true
}

/// Before it connects, so that a command on the database never overlooks this process.
fn arrive(database: pg_sys::Oid) -> bool {
    let Some(slot) = slot_of(database) else { return true };
    // SAFETY: reads a global of this process; the callback runs once, when it ends, as the last of ours.
    unsafe {
        // Not, if the one that a launcher before this one started is there: it is found out later.
        if slot.arrive(pg_sys::MyProcPid) {
            pg_sys::before_shmem_exit(Some(depart), database.into());
        }
    }
    let is_held = is_held(database);
    if is_held {
        slot.make_way();
    }
    !is_held
}

/// # Safety
/// Called by PostgreSQL when this process ends, on its main thread; `database` is the OID given with it.
#[pg_guard]
unsafe extern "C-unwind" fn depart(_code: i32, database: pg_sys::Datum) {
    if let Some(slot) = board().and_then(|board| board.slot(database.value() as u32)) {
        // SAFETY: reads a global of this process.
        slot.depart(unsafe { pg_sys::MyProcPid });
    }
}

/// Whether this database has no extension. It is looked at once more after that was noted: CREATE
/// EXTENSION may have committed in between, and its own note must not be the one that is lost.
fn has_nothing_to_do(database: pg_sys::Oid) -> bool {
    if is_needed() {
        return false;
    }
    if let Some(slot) = slot_of(database) {
        slot.rest();
    }
    if !is_needed() {
        return true;
    }
    if let Some(slot) = slot_of(database) {
        slot.end_rest();
    }
    false
}

fn is_needed() -> bool {
    match transaction(|| extension::presence(None)) {
        Ok(presence) => presence != Presence::Gone,
        Err(error) => {
            fatal(&format!("whaply: the reply worker cannot look for its tables: {error}"))
        }
    }
}

fn become_the_worker() -> bool {
    transaction(|| Ok(extension::become_the_worker())).unwrap_or(false)
}

fn run(rounds: &mut Rounds) {
    // SAFETY: reads a global of this process.
    let slot = slot_of(unsafe { pg_sys::MyDatabaseId });
    let sleep = Sleep::on(rounds.fd());
    loop {
        if is_stopped() {
            return;
        }
        if let Some(slot) = slot {
            slot.stay_awake();
        }
        let wait = match rounds.round() {
            Next::Wait(wait) => wait,
            Next::Leave | Next::StartOver => return,
        };
        activity::tell(&rounds.standing());
        if let Some(slot) = slot {
            slot.sleep_until((Utc::now() + wait).timestamp_micros());
        }
        sleep.until_event(wait);
        // SAFETY: main thread, no transaction open. Interrupts end the process here (SIGTERM), or
        // absorb the barriers that DROP DATABASE of any database waits for.
        unsafe {
            if pg_sys::InterruptPending != 0 {
                pg_sys::ProcessInterrupts();
            }
            if std::ptr::replace(&raw mut pg_sys::ConfigReloadPending, 0) != 0 {
                pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
                rounds.go_by(outgoing::now());
            }
        }
    }
}

fn is_stopped() -> bool {
    // SAFETY: reads a global of this process.
    let database = unsafe { pg_sys::MyDatabaseId };
    slot_of(database).is_some_and(|slot| slot.status() == Status::Stopped) || is_held(database)
}

/// Whether a command needs the database for itself: nobody of whaply may be connected to it.
fn is_held(database: pg_sys::Oid) -> bool {
    board().is_some_and(|board| board.holds().is_held(database.to_u32()))
}

fn slot_of(database: pg_sys::Oid) -> Option<&'static Slot> {
    board()?.slot(database.to_u32())
}

/// Tells the launcher and every backend that this is the worker, until the process ends.
fn take_place(database: pg_sys::Oid) {
    let Some(slot) = slot_of(database) else { return };
    // SAFETY: the latch lies in shared memory; the callback runs once, when this process ends.
    unsafe {
        slot.occupy(pg_sys::MyProcPid, &raw const (*pg_sys::MyProc).procLatch as usize);
        pg_sys::before_shmem_exit(Some(leave_place), database.into());
    }
    if slot.status() != Status::Stopped {
        slot.set_status(Status::Running);
    }
}

/// # Safety
/// Called by PostgreSQL when this process ends, on its main thread; `database` is the OID given with it.
#[pg_guard]
unsafe extern "C-unwind" fn leave_place(_code: i32, database: pg_sys::Datum) {
    if let Some(slot) = board().and_then(|board| board.slot(database.value() as u32)) {
        slot.occupy(0, 0);
        counted::nothing_is_under_way();
        if slot.status() == Status::Running {
            slot.set_status(Status::Starting);
        }
    }
}
