//! What the worker says of its troubles: one line in the log for each new one, not one for each round.

use std::collections::HashSet;

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, warning};

use super::cooldowns::Turn;
use super::jobs::ReplyClaim;
use crate::error::Error;
use crate::process::guarded::transaction;
use crate::server_log::log;
use crate::store::extension;
use crate::version;

/// What was said since the last round that succeeded.
#[derive(Default)]
pub struct Told(HashSet<String>);

impl Told {
    pub fn forget(&mut self) {
        self.0.clear();
    }

    pub fn failure(&mut self, error: &str) {
        if self.0.insert(error.to_owned()) {
            warning!("whaply: the reply worker could not finish a round: {error}");
        }
    }

    /// The update is found by polling: its commit wakes nobody.
    pub fn other_version(&mut self) {
        let installed = transaction(extension::version).ok().flatten().unwrap_or_default();
        let message = version::mismatch(&installed, extension::LIBRARY_VERSION);
        if self.0.insert(message.clone()) {
            warning!("{message}");
        }
    }

    /// The role's return is found by polling too.
    pub fn without_role(&mut self) {
        let missing = Error::WithoutRole;
        let message = format!("whaply: nothing is answered or sent: {missing}");
        if self.0.insert(message.clone()) {
            let report = ErrorReport::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, message, "");
            report.set_hint(missing.hint().unwrap_or_default()).report(PgLogLevel::WARNING);
        }
    }
}

/// The provider of a reply's model asks to wait, or answers again.
pub fn of_cooldown(claim: ReplyClaim, turn: Turn) {
    let ReplyClaim { tenant_id, reply_id, .. } = claim;
    match turn {
        Turn::Begins(wait) => log!(
            "whaply: tenant {tenant_id}: reply {reply_id}: its provider asks to wait: nothing is asked on the account \
             for {} s",
            wait.as_secs()
        ),
        Turn::Ends => {
            log!("whaply: tenant {tenant_id}: reply {reply_id}: its provider answers again");
        }
    }
}
