//! `forget_chat`: a person asks to be forgotten.

use std::time::Duration;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::arguments::given;
use super::named::{locked_chat, tenant_of};
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake;
use crate::settings;
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::forgotten::{self, Named};
use crate::store::{extension, messages_archive};
use crate::worker;

/// The worker records the end of a call within a round of its own.
const FOR_A_ROUND: Duration = Duration::from_secs(5);

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn forget_chat(instance_name: Option<&str>, chat_id: Option<&str>) -> JsonB {
    let (gone, out_of_sight) = or_raise(
        messages_archive::open_if_there()
            .and_then(|()| as_worker(|caller| forget(caller, instance_name, chat_id))),
    );
    if !out_of_sight.is_empty() {
        warning!("{}: look there for what is left of this chat", out_of_sight.join(", "));
    }
    gone
}

/// A call to Evolution cannot be called back, and what it sends comes as a webhook: its end is waited
/// for, before the chat is locked. What is not begun never will be. Beside how much went it tells the tables
/// that may hold more.
fn forget(
    caller: &Caller,
    instance_name: Option<&str>,
    chat_id: Option<&str>,
) -> Result<(JsonB, Vec<String>)> {
    let tenant_id = tenant_of(caller, Level::Admin, instance_name)?;
    let writing = given(chat_id, "chat_id")?;
    let called = intake::person_in_any_writing(tenant_id, writing)?;
    forgotten::begin(&called)?;
    wait_for_calls(&called)?;
    let chat = locked_chat(caller, instance_name, chat_id)?;
    let person = intake::person_in_any_writing(tenant_id, writing)?;
    // One person may have had several, of which nobody knew that they are one.
    forgotten::lock_sessions(&person)?;
    let gone = forgotten::forget(&person)?;
    let told = JsonB(json!({
        "chat_id": chat.chat_id,
        "sessions": gone.sessions,
        "messages": gone.messages,
        "archived_messages": gone.archived_messages,
        "replies": gone.replies,
        "deliveries": gone.deliveries,
    }));
    Ok((told, forgotten::tables_out_of_sight()?))
}

/// As long as a call and the search for its end may take; where no worker runs nobody ends one. What has no end
/// even then is forgotten all the same, and its echo is known when it comes.
fn wait_for_calls(person: &Named) -> Result<()> {
    if extension::worker_pid()?.is_none() {
        return Ok(());
    }
    let is_in_flight = || forgotten::is_in_flight(person);
    // SAFETY: reads a global of this transaction.
    let snapshot_is_fixed = unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 };
    if snapshot_is_fixed && is_in_flight()? {
        return Err(Error::NotPossible {
            message:
                "a message to this chat is on its way, and this transaction cannot see its end"
                    .to_owned(),
            hint: "Repeat it in READ COMMITTED.",
        });
    }
    let limits = settings::worker_limits();
    let settle = limits.settle_time.to_std().unwrap_or_default();
    let limit = limits.send_timeout + settle + FOR_A_ROUND;
    worker::wait_at_most(limit, &mut || is_in_flight().map(|is| !is)).map(drop)
}
