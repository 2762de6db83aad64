//! `POST /chat/findMessages/{instance}`: a look into Evolution's own store, to learn whether a send
//! without an answer went out. What is not there proves nothing; the store can be switched off.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::read_query;
use super::{Instance, is_identifier, request};
use crate::exchange::{CallResult, HttpRequest, Method};

const CALL: &str = "findMessages";

/// Evolution's `offset` is the size of a page; this is also its default.
const PAGE_SIZE: u32 = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMessage {
    pub id: String,
    /// None for media and everything else without a text of its own.
    pub text: Option<String>,
    pub from_me: bool,
    /// Seconds since 1970, rounded by WhatsApp.
    pub sent_at: Option<i64>,
}

/// One page, newest message first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPage {
    pub messages: Vec<FoundMessage>,
    /// How many pages there are; 0 where nothing was found.
    pub pages: u32,
    /// Which one this is, from 1.
    pub current: u32,
}

/// Asks for page `page` (from 1) of our own messages to `jid`, newest first. Evolution compares
/// `remoteJid` exactly, so every alias of a chat is a call of its own.
pub fn find_messages(instance: &Instance, jid: &str, page: u32, timeout: Duration) -> HttpRequest {
    let body = json!({
        "where": { "key": { "remoteJid": jid, "fromMe": true } },
        "page": page,
        "offset": PAGE_SIZE,
    });
    request(instance, Method::Post, ["chat", CALL], Some(body), timeout)
}

/// The error is one line on why nothing can be said.
pub fn read_found(result: CallResult) -> Result<FoundPage, String> {
    let body = read_query(CALL, result)?;
    let found = &body["messages"];
    let records = found["records"]
        .as_array()
        .ok_or_else(|| format!("{CALL} answered without messages.records"))?;
    Ok(FoundPage {
        messages: records.iter().filter_map(found_message).collect(),
        pages: count(&found["pages"]).unwrap_or(0),
        current: count(&found["currentPage"]).unwrap_or(1),
    })
}

fn found_message(record: &Value) -> Option<FoundMessage> {
    let key = &record["key"];
    Some(FoundMessage {
        id: key["id"].as_str().filter(|id| is_identifier(id))?.to_owned(),
        text: text_of(&record["message"]),
        from_me: key["fromMe"].as_bool().unwrap_or(false),
        sent_at: record["messageTimestamp"].as_i64(),
    })
}

/// Evolution stores a sent text as `conversation`, and as `extendedTextMessage` when it comes back
/// from the phone; chats with disappearing messages wrap either.
fn text_of(message: &Value) -> Option<String> {
    ["", "/ephemeralMessage/message"].iter().find_map(|wrapper| {
        let message = message.pointer(wrapper)?;
        let text = message["conversation"]
            .as_str()
            .or_else(|| message["extendedTextMessage"]["text"].as_str())?;
        Some(text.to_owned())
    })
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}
