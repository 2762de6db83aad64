//! What the server's log tells of changes of state: one line each, with the tenant and ids, when the
//! transaction that makes the change is about to commit. Never a word of a message, never a key.

use std::cell::RefCell;

use pgrx::{PgXactCallbackEvent, register_xact_callback};

use crate::server_log::log;
use crate::text::{one_line, short_line};

/// Characters of an instance's name, which is the operator's own, and of a reason.
const NAME_LIMIT: usize = 60;
const REASON_LIMIT: usize = 200;

thread_local! {
    /// What this transaction has to say. Empty: it has no callback yet.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Something of a tenant has changed, if this transaction commits. `what` names its ids.
pub fn of_tenant(tenant_id: i32, instance_name: &str, what: &str) {
    at_commit(line(tenant_id, instance_name, what));
}

/// The same for what is no tenant's.
pub fn of_no_tenant(what: &str) {
    at_commit(format!("whaply: {}", one_line(what)));
}

fn at_commit(line: String) {
    let is_first = LINES.with_borrow_mut(|lines| {
        lines.push(line);
        lines.len() == 1
    });
    if !is_first {
        return;
    }
    for event in [PgXactCallbackEvent::PreCommit, PgXactCallbackEvent::PrePrepare] {
        register_xact_callback(event, || {
            for line in LINES.take() {
                log!("{line}");
            }
        });
    }
    register_xact_callback(PgXactCallbackEvent::Abort, || drop(LINES.take()));
}

/// Why something failed, as far as it is ours to tell: what a stranger's server said follows the first
/// colon, and may quote a message. The tables have all of it.
pub fn own_words(error: &str) -> String {
    let own = error.split_once(": ").map_or(error, |(own, _)| own);
    short_line(own, REASON_LIMIT)
}

fn line(tenant_id: i32, instance_name: &str, what: &str) -> String {
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
            line(7, "my-shop", "reply 12: failed:\nit is late"),
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
