//! What a transaction is told beyond its statements: the clock of the server, and that its commit
//! must be on disk.

use chrono::{DateTime, Utc};
use pgrx::pg_sys;

/// The wall clock, as PostgreSQL's `clock_timestamp()` reads it.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The commit of this transaction waits for the disk, whatever `synchronous_commit` says: what
/// follows it leaves the process, and must not be forgotten by a crash.
pub fn force_synchronous_commit() {
    // SAFETY: sets a flag of the current transaction; called on the main thread within one.
    unsafe { pg_sys::ForceSyncCommit() }
}

/// The commit of this transaction need not wait for the disk, unless something asks for it: what it
/// says may be forgotten by a crash.
pub fn commit_without_waiting() {
    // SAFETY: on the main thread within a transaction, at whose end the setting is what it was.
    unsafe {
        pg_sys::set_config_option(
            c"synchronous_commit".as_ptr(),
            c"off".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Whether this server is a standby, which can write nothing.
pub fn is_standby() -> bool {
    // SAFETY: reads a flag in shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}
