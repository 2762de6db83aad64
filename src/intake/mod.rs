//! From a webhook to rows, in one transaction: read what the event needs to know, ask
//! `conversation/` what it means, write what follows. It decides nothing itself, and holds no SQL.
//!
//! `batch` takes any number of webhooks: what is of `plain` chats together, everything else by `single`, as
//! `message`, `change`, `history` or `line` have it. `chat` and `names` find whose it is; `consequences`,
//! `pauses`, `commands` and `greetings` are what follows. Without a webhook run `echo`, `upkeep`, `adoption`.

pub mod adoption;
mod batch;
mod change;
pub mod chat;
mod commands;
pub mod consequences;
pub mod echo;
mod greetings;
mod grouping;
mod history;
pub mod line;
mod message;
mod names;
pub mod pauses;
mod plain;
mod single;
pub mod test_chats;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
pub mod upkeep;
mod written;

pub use batch::{ingest_all, ingest_all_with};
pub use chat::lock_today;

use chrono::{DateTime, Utc};

use crate::conversation::Action;
use crate::error::{Error, Result};
use crate::store::forgotten::Named;
use crate::store::processed_events::Seen;
use crate::store::tenants::Tenant;
use crate::store::{Chat, chat_aliases};
use crate::webhook::{Jid, Payload};

/// What was done with an event: the answer of `ingest`.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub action: String,
    /// The event was seen before: `action` is what was done then (or what became of it).
    pub duplicate: bool,
    pub tenant_id: i32,
    pub chat_id: Option<String>,
    pub message_id: Option<String>,
    pub reply_id: Option<i64>,
    /// When the worker has something to do, from the commit on.
    pub wakes_worker: Option<DateTime<Utc>>,
}

impl Outcome {
    fn new(tenant: &Tenant, action: Action) -> Self {
        Self {
            action: action.as_str().to_owned(),
            duplicate: false,
            tenant_id: tenant.id,
            chat_id: None,
            message_id: None,
            reply_id: None,
            wakes_worker: None,
        }
    }

    /// Answered as the first was.
    fn duplicate(tenant: &Tenant, message_id: &str, seen: Seen) -> Self {
        Self {
            action: seen.action,
            duplicate: true,
            chat_id: seen.chat_id,
            message_id: Some(message_id.to_owned()),
            reply_id: seen.reply_id,
            ..Self::new(tenant, Action::IgnoredEvent)
        }
    }
}

/// Takes one webhook, exactly once: [`ingest_all`].
///
/// Errors: no tenant has its instance (P0002); then nothing is stored.
pub fn ingest(payload: &Payload, now: DateTime<Utc>) -> Result<Outcome> {
    let alone = ingest_all(std::slice::from_ref(payload), now).into_iter().next();
    alone.unwrap_or_else(|| Err(Error::Internal("an event was not taken".to_owned())))
}

/// The chat that a person means by a JID, a LID or a phone number in any writing. A chat never
/// seen has the JID itself as its name.
pub fn chat_in_any_writing(tenant_id: i32, writing: &str) -> Result<Chat> {
    let jid = read_any_writing(writing)?;
    let names: Vec<String> =
        jid.phone_variants().iter().map(|jid| jid.as_str().to_owned()).collect();
    let mut known = chat_aliases::sessions_of(tenant_id, &names)?;
    if known.is_empty() {
        // It may be about to become a name of a chat.
        chat_aliases::reserve(tenant_id, &names)?;
        known = chat_aliases::sessions_of(tenant_id, &names)?;
    }
    let chat_id = known.into_iter().next().unwrap_or_else(|| jid.as_str().to_owned());
    Ok(Chat { tenant_id, chat_id })
}

/// The same, with its session locked if it has one.
pub fn lock_in_any_writing(tenant_id: i32, writing: &str) -> Result<Chat> {
    chat::lock_under(|| chat_in_any_writing(tenant_id, writing))
}

fn read_any_writing(writing: &str) -> Result<Jid> {
    Jid::from_any_writing(writing).ok_or_else(|| Error::InvalidArgument {
        argument: "chat_id",
        reason: "it is no JID, LID or phone number".to_owned(),
        hint: "Give it as in 5511999990001@s.whatsapp.net, or the phone number with its country code.",
    })
}

/// Every name that the person may have here, with a session or without one.
pub fn person_in_any_writing(tenant_id: i32, writing: &str) -> Result<Named> {
    let jid = read_any_writing(writing)?;
    let mut names = chat_aliases::connected(tenant_id, &chat::writings(&mut [&jid].into_iter()))?;
    let jids: Vec<Jid> = names.iter().filter_map(|name| Jid::new(name)).collect();
    names.extend(chat::writings(&mut jids.iter()));
    Ok(Named { tenant_id, names: chat_aliases::connected(tenant_id, &names)? })
}
