//! Lines for the server's log, at level LOG: at once with `log!`, and of a change of state when the
//! transaction that makes it is about to commit. Never a word of a message, never a key.

use std::cell::RefCell;
use std::ptr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, PgXactCallbackEvent, pg_sys, register_xact_callback};

use crate::text::{one_line, short_line};

/// Characters of an instance's name, which is the operator's own, and of a reason.
const NAME_LIMIT: usize = 60;
const REASON_LIMIT: usize = 200;

thread_local! {
    /// What this transaction has changed. Empty: it has no callback yet.
    static CHANGES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Like pgrx's macro of this name, which on PostgreSQL 13 writes nothing: it takes LOG for less than the
/// WARNING of `log_min_messages`. PostgreSQL itself knows that a server's log has LOG before ERROR.
macro_rules! log {
    ($($argument:tt)*) => { $crate::server_log::line(format!($($argument)*)) };
}
pub(crate) use log;

/// Writes a line. For [`log!`].
#[track_caller]
pub fn line(text: String) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    let report = ErrorReport::new(code, text, pgrx::function_name!());
    without_statement(|| report.report(PgLogLevel::LOG));
}

/// To a line of a session PostgreSQL adds its statement, which may hold what somebody wrote, unless it
/// knows of none.
fn without_statement(write: impl FnOnce()) {
    // SAFETY: main thread; a pointer that PostgreSQL reads for each line, and sets anew for each statement.
    let statement = unsafe { ptr::replace(&raw mut pg_sys::debug_query_string, ptr::null()) };
    write();
    // SAFETY: as above; the statement is still the one that runs.
    unsafe { pg_sys::debug_query_string = statement };
}

/// Something of a tenant has changed, if this transaction commits: one line with the tenant and `what`,
/// which names the ids.
pub fn tenant_changed(tenant_id: i32, instance_name: &str, what: &str) {
    at_commit(line_of_tenant(tenant_id, instance_name, what));
}

/// The same for what is no tenant's.
pub fn changed(what: &str) {
    at_commit(format!("whaply: {}", one_line(what)));
}

fn at_commit(line: String) {
    let is_first = CHANGES.with_borrow_mut(|lines| {
        lines.push(line);
        lines.len() == 1
    });
    if !is_first {
        return;
    }
    for event in [PgXactCallbackEvent::PreCommit, PgXactCallbackEvent::PrePrepare] {
        register_xact_callback(event, || {
            for line in CHANGES.take() {
                log!("{line}");
            }
        });
    }
    register_xact_callback(PgXactCallbackEvent::Abort, || drop(CHANGES.take()));
}

/// Why something failed, as far as it is ours to tell: what a stranger's server said follows the first
/// colon, and may quote a message. The tables have all of it.
pub fn own_words(error: &str) -> String {
    let own = error.split_once(": ").map_or(error, |(own, _)| own);
    short_line(own, REASON_LIMIT)
}

fn line_of_tenant(tenant_id: i32, instance_name: &str, what: &str) -> String {
    format!(
        "whaply: tenant {tenant_id} ({}): {}",
        short_line(instance_name, NAME_LIMIT),
        one_line(what)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_tenant_and_is_one_line() {
        assert_eq!(
            line_of_tenant(7, "my-shop", "reply 12: failed:\nit is late"),
            "whaply: tenant 7 (my-shop): reply 12: failed: it is late"
        );
    }

    #[test]
    fn what_another_server_said_is_left_out() {
        assert_eq!(
            own_words("openai answered 400: \"Oi, tudo bem?\" is no good"),
            "openai answered 400"
        );
        assert_eq!(own_words("it is late"), "it is late");
    }
}
