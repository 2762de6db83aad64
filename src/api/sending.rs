//! `send_message`: a person or a program of the business writes through this database.

use pgrx::prelude::*;

use super::arguments::given;
use super::named::locked_chat;
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake::consequences;
use crate::store::access::Caller;
use crate::store::acting_role::as_worker;
use crate::store::deliveries::{self, Kind};
use crate::store::sessions;
use crate::worker;

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn send_message(
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    text: Option<&str>,
    pause: default!(Option<bool>, "false"),
) -> i64 {
    or_raise(as_worker(|caller| send(caller, instance_name, chat_id, text, pause.unwrap_or(false))))
}

fn send(
    caller: &Caller,
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    text: Option<&str>,
    pause: bool,
) -> Result<i64> {
    let chat = locked_chat(caller, instance_name, chat_id)?;
    let text = given(text, "text")?;
    if text.trim().is_empty() {
        return Err(Error::InvalidArgument {
            argument: "text",
            reason: "it is empty".to_owned(),
            hint: "Give the words to send.",
        });
    }
    sessions::create_and_lock(&chat)?;
    if pause {
        sessions::pause(&chat, "manual_pause", None)?;
        sessions::steered_by_hand(&chat)?;
        consequences::stop_speaking(&chat, "an operator took over by send_message", true)?;
    }
    let id = deliveries::add(&chat, None, Kind::Operator, 1, text)?;
    worker::wake_at_commit();
    Ok(id)
}
