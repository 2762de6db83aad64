//! The one place where an [`Error`] becomes a PostgreSQL ERROR.

use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{Error, Result};

/// The value, or an ERROR that ends the statement and stores nothing.
pub fn or_raise<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => raise(&error),
    }
}

fn raise(error: &Error) -> ! {
    let code = PgSqlErrorCode::from(encode(sqlstate_in_sql(error)));
    let mut report = ErrorReport::new(code, error.to_string(), "whaply");
    if let Some(hint) = error.hint() {
        report = report.set_hint(hint);
    }
    report.report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// Who calls a function is no PostgREST: `PT…` means nothing there, and only `webhook(json)` raises it.
fn sqlstate_in_sql(error: &Error) -> &str {
    match error {
        // As PostgreSQL has it for every statement that would write there.
        Error::Standby => "25006",
        Error::Outdated { .. } | Error::SecretIsElsewhere => "55000",
        Error::WithoutRole => "42704",
        _ => error.sqlstate(),
    }
}

/// PostgreSQL packs the five characters of a SQLSTATE into six bits each (MAKE_SQLSTATE).
fn encode(sqlstate: &str) -> i32 {
    let bits =
        |(place, byte): (usize, u8)| (i32::from(byte.wrapping_sub(b'0')) & 0x3F) << (6 * place);
    sqlstate.bytes().enumerate().map(bits).sum()
}
