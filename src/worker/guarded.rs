//! Transactions of a background process, in which an ERROR ends the transaction and not the
//! process: the end of the process would make every call in flight uncertain.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::PgTryBuilder;

use crate::error::{Error, Result};

/// Runs `body` in a transaction of its own; any error, PostgreSQL's or ours, rolls it back.
pub fn transaction<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: main thread of a connected background worker, outside any transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let body = AssertUnwindSafe(body);
    let result = PgTryBuilder::new(move || {
        let AssertUnwindSafe(body) = { body };
        let value = body()?;
        // SAFETY: inside the transaction started above; both may raise, and are caught below.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    })
    .catch_others(|error| Err(Error::Internal(message_of(&error))))
    .catch_rust_panic(|error| Err(Error::Internal(message_of(&error))))
    .execute();
    if result.is_err() {
        // SAFETY: outside of the caught block; aborting twice or after a failed commit is allowed.
        unsafe { pg_sys::AbortCurrentTransaction() }
    }
    // SAFETY: after the transaction, as the documentation of both demands.
    unsafe {
        pg_sys::pgstat_report_stat(false);
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
    }
    result
}

fn message_of(error: &CaughtError) -> String {
    match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            report.message().to_owned()
        }
        CaughtError::RustPanic { ereport, .. } => ereport.message().to_owned(),
    }
}
