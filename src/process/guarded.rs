//! Transactions of a background process, in which an ERROR ends the transaction and not the
//! process: the end of the process would make every call in flight uncertain. Each runs as the role
//! `whaply_worker`, whose rights end at the schema.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::PgTryBuilder;

use super::activity;
use crate::error::{Error, Result};
use crate::store::acting_role::Switched;

/// Runs `body` in a transaction of its own, as `whaply_worker`; any error, PostgreSQL's or ours, rolls it
/// back.
pub fn transaction<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    run(body, Switched::for_a_transaction)
}

/// The same for what is no SQL, of a process that may be connected to no database.
pub fn transaction_without_sql<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    run(body, || None)
}

fn run<T>(
    body: impl FnOnce() -> Result<T>,
    switch: impl FnOnce() -> Option<Switched>,
) -> Result<T> {
    // SAFETY: main thread of a connected background worker, outside any transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        activity::at_work();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let mut switched = None;
    let body = AssertUnwindSafe((body, switch, &mut switched));
    let result = PgTryBuilder::new(move || {
        let AssertUnwindSafe((body, switch, switched)) = { body };
        *switched = switch();
        let value = body()?;
        // SAFETY: inside the transaction started above; both may raise, and are caught below.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    })
    .catch_others(|error| Err(raised(&error)))
    .catch_rust_panic(|error| Err(raised(&error)))
    .execute();
    if result.is_err() {
        // SAFETY: outside of the caught block; aborting twice or after a failed commit is allowed.
        unsafe { pg_sys::AbortCurrentTransaction() }
    }
    // Only now: what runs at the commit runs as that role too.
    drop(switched);
    // SAFETY: after the transaction, as its documentation demands.
    unsafe {
        pg_sys::pgstat_report_stat(false);
    }
    activity::at_rest();
    result
}

/// Runs `body` in a subtransaction: an ERROR undoes what it did, and the transaction goes on. For the
/// few things that other people's code decides; each costs as much as a savepoint. Outside of a
/// transaction it fails.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: main thread of a connected process; what is saved here is restored below.
    let (context, owner) = unsafe {
        if !pg_sys::IsTransactionState() {
            return Err(Error::Internal("there is no transaction to do this in".to_owned()));
        }
        let saved = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        // Values of the body outlive the subtransaction.
        pg_sys::MemoryContextSwitchTo(saved.0);
        saved
    };
    let body = AssertUnwindSafe(body);
    let result = PgTryBuilder::new(move || {
        let AssertUnwindSafe(body) = { body };
        let value = body()?;
        // SAFETY: inside the subtransaction begun above; it may raise, and is caught below.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() }
        Ok(value)
    })
    .catch_others(|error| Err(raised(&error)))
    .catch_rust_panic(|error| Err(raised(&error)))
    .execute();
    // SAFETY: outside of the caught block; the subtransaction is still open where it failed.
    unsafe {
        if result.is_err() {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}

fn raised(error: &CaughtError) -> Error {
    let report = match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    let sqlstate = sqlstate_of(report.sql_error_code() as i32);
    Error::Raised { sqlstate, message: report.message().to_owned() }
}

/// PostgreSQL packs the five characters of a SQLSTATE into six bits each (MAKE_SQLSTATE).
fn sqlstate_of(code: i32) -> String {
    (0..5).map(|place| char::from(b'0' + ((code >> (6 * place)) & 0x3F) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_sqlstate_is_unpacked() {
        let pack = |text: &str| {
            let bits = |(place, byte): (usize, u8)| (i32::from(byte) - 48) << (6 * place);
            text.bytes().enumerate().map(bits).sum()
        };
        for sqlstate in ["40P01", "55P03", "53100", "XX000", "22P05"] {
            assert_eq!(sqlstate_of(pack(sqlstate)), sqlstate);
        }
    }
}
