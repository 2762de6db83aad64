//! `ingest(payload jsonb)`: one webhook of Evolution API, taken exactly once.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::arguments::{JsonbText, given};
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake::{self, Outcome};
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::{extension, transaction};
use crate::webhook::{self, Payload};
use crate::worker;

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn ingest(payload: Option<JsonbText>) -> JsonB {
    or_raise(as_worker(|caller| {
        let payload = webhook::read(&given(payload, "payload")?.0)?;
        require_sight(caller, &payload.envelope.instance)?;
        take(&payload)
    }))
}

/// An instance that the caller may not post for is none that it hears of.
pub(super) fn require_sight(caller: &Caller, instance: &str) -> Result<()> {
    match caller.sees_instance(Level::Ingest, instance)? {
        true => Ok(()),
        false => Err(Error::UnknownInstance { instance: instance.to_owned() }),
    }
}

/// Takes a webhook and wakes the worker when the transaction commits.
pub(super) fn take(payload: &Payload) -> Result<JsonB> {
    if transaction::is_standby() {
        return Err(Error::Standby);
    }
    // Before anything that an old table could refuse: what it refuses, Evolution drops for ever.
    extension::require_served()?;
    let outcome = intake::ingest(payload, transaction::now())?;
    // Evolution does not repeat what was answered with 200: it must not be forgotten by a crash.
    transaction::force_synchronous_commit();
    if let Some(due_at) = outcome.wakes_worker {
        worker::wake_at_commit_for(due_at);
    }
    Ok(answer(&outcome))
}

fn answer(outcome: &Outcome) -> JsonB {
    JsonB(json!({
        "action": outcome.action,
        "duplicate": outcome.duplicate,
        "tenant_id": outcome.tenant_id,
        "chat_id": outcome.chat_id,
        "message_id": outcome.message_id,
        "reply_id": outcome.reply_id,
    }))
}
