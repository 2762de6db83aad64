//! The life of a reply worker: connect, become the only one, take back what was left behind, then
//! rounds until the extension, the database or the server goes.
//!
//! It ends with status 1 where it should come back (the launcher starts it again), and with 0 where
//! there is nothing for it to do.

use std::time::Duration;

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::board::{Slot, Status, board};
use super::guarded::transaction;
use super::pool::{Pool, most_calls};
use super::rounds::{Next, Rounds};
use crate::net::{Caller, Limits};
use crate::settings;
use crate::store::extension::{self, Presence};

/// Entry point of a reply worker. `database` is the OID of the database as an integer.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn whaply_reply_worker(database: pg_sys::Datum) {
    let database = pg_sys::Oid::from(database.value() as u32);
    connect(database);
    // Before the settings are pinned: this wait may be long.
    super::register::wait_for_creating_transaction();
    pin_settings();
    if has_nothing_to_do(database) || !become_the_worker() {
        return;
    }
    let mut rounds = begin();
    take_place(database);
    log!("whaply: the reply worker is ready");
    loop {
        run(&mut rounds);
        if is_stopped() || has_nothing_to_do(database) {
            return;
        }
        // The extension was created anew. Calls still in flight report to a pool that is gone.
        rounds = begin();
    }
}

/// A pool without threads yet. What a worker of before left behind is taken back by the first round.
fn begin() -> Rounds {
    let limits = settings::worker_limits();
    let threads = limits.threads.min(most_calls());
    if threads < limits.threads {
        log!(
            "whaply: {threads} calls at once instead of whaply.worker_threads: raise the open-file limit"
        );
    }
    let caller = Caller::new(&Limits { in_flight: threads, ..Limits::default() });
    let pool = match Pool::new(threads, caller) {
        Ok(pool) => pool,
        Err(error) => {
            fatal(&format!("whaply: the reply worker has no file descriptor left: {error}"))
        }
    };
    match transaction(extension::id) {
        Ok(extension) => Rounds::new(pool, extension),
        Err(error) => {
            fatal(&format!("whaply: the reply worker could not take up its work: {error}"))
        }
    }
}

/// An ERROR on the way out ends the process with status 1: it is started again.
fn fatal(message: &str) -> ! {
    FATAL!("{message}")
}

fn connect(database: pg_sys::Oid) {
    // SAFETY: the start of a background worker, signals still blocked. `die` interrupts a running
    // statement and a lock wait, which pgrx's own handler does not.
    unsafe {
        install_signal_handlers();
    }
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
}

// PostgreSQL's own handlers, as C functions: pgrx binds them for calling, not as pointers.
unsafe extern "C-unwind" {
    fn die(signal: i32);
    #[allow(non_snake_case)]
    fn SignalHandlerForConfigReload(signal: i32);
}

/// Signals act from here on: SIGTERM ends the process at its next safe point, SIGHUP reloads.
///
/// # Safety
/// Called once at the start of a background worker, on its main thread.
pub(super) unsafe fn install_signal_handlers() {
    let handlers: [(u32, unsafe extern "C-unwind" fn(i32)); 2] =
        [(pg_sys::SIGTERM, die), (pg_sys::SIGHUP, SignalHandlerForConfigReload)];
    for (signal, handler) in handlers {
        // SAFETY: PostgreSQL wrote these functions as signal handlers.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pqsignal(signal as i32, Some(handler));
            #[cfg(feature = "pg18")]
            pg_sys::pqsignal_be(signal as i32, Some(handler));
        }
    }
    // SAFETY: as the caller promised.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() }
}

/// Settings of the database or the role reach a worker too; these would break it.
fn pin_settings() {
    /// Rows are skipped where somebody holds them; what cannot be skipped (a message somebody edits
    /// by hand) must not keep every other chat waiting.
    const LOCK_TIMEOUT: &std::ffi::CStr = c"250ms";
    const PINNED: [(&std::ffi::CStr, &std::ffi::CStr); 6] = [
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", LOCK_TIMEOUT),
        (c"idle_in_transaction_session_timeout", c"0"),
    ];
    for (name, value) in PINNED {
        // SAFETY: NUL-terminated constants; the worker is connected.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
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
    transaction(extension::become_the_worker).unwrap_or(false)
}

fn run(rounds: &mut Rounds) {
    loop {
        if is_stopped() {
            return;
        }
        let wait = match rounds.round() {
            Next::Wait(wait) => wait,
            Next::Leave | Next::StartOver => return,
        };
        wait_for_event(rounds.fd(), wait);
        // SAFETY: main thread, no transaction open. Interrupts end the process here (SIGTERM), or
        // absorb the barriers that DROP DATABASE of any database waits for.
        unsafe {
            if pg_sys::InterruptPending != 0 {
                pg_sys::ProcessInterrupts();
            }
            if std::ptr::replace(&raw mut pg_sys::ConfigReloadPending, 0) != 0 {
                pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
            }
        }
    }
}

fn is_stopped() -> bool {
    // SAFETY: reads a global of this process.
    let database = unsafe { pg_sys::MyDatabaseId };
    slot_of(database).is_some_and(|slot| slot.status() == Status::Stopped)
}

fn slot_of(database: pg_sys::Oid) -> Option<&'static Slot> {
    board()?.slot(database.to_u32())
}

/// Sleeps until a commit, a signal, a result of a thread, or the time is over.
fn wait_for_event(fd: std::os::fd::RawFd, wait: Duration) {
    let events = pg_sys::WL_LATCH_SET
        | pg_sys::WL_TIMEOUT
        | pg_sys::WL_EXIT_ON_PM_DEATH
        | pg_sys::WL_SOCKET_READABLE;
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the latch of this process, and an eventfd that lives as long as the pool.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            fd,
            wait,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
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

#[pg_guard]
unsafe extern "C-unwind" fn leave_place(_code: i32, database: pg_sys::Datum) {
    if let Some(slot) = board().and_then(|board| board.slot(database.value() as u32)) {
        slot.occupy(0, 0);
        if slot.status() == Status::Running {
            slot.set_status(Status::Starting);
        }
    }
}
