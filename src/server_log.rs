//! Lines for the server's log, at level LOG. Never a word of a message, never a key.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// Like pgrx's macro of this name, which on PostgreSQL 13 writes nothing: it takes LOG for less than the
/// WARNING of `log_min_messages`. PostgreSQL itself knows that a server's log has LOG before ERROR.
macro_rules! log {
    ($($argument:tt)*) => { $crate::server_log::line(format!($($argument)*)) };
}
pub(crate) use log;

#[track_caller]
pub fn line(text: String) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    ErrorReport::new(code, text, pgrx::function_name!()).report(PgLogLevel::LOG);
}
