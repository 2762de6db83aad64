//! Table `messages`: what is said is stored, any number of messages by one statement.

use chrono::{DateTime, Utc};

use super::Chat;
use super::jsonb::Ready;
use super::sql::{self, per_row};
use crate::conversation::Sender;
use crate::error::Result;
use crate::webhook::{Jsonb, Status};

/// What both statements begin with.
macro_rules! insert {
    () => {
        "INSERT INTO whaply.messages AS m \
                (tenant_id, chat_id, message_id, from_me, message_type, text, raw, sent_at, sender, status) \
         SELECT n.tenant_id, n.chat_id, n.message_id, n.from_me, n.message_type, n.text, n.raw::jsonb, n.sent_at, \
                n.sender, n.status"
    };
}

/// The names of the ten parameters.
macro_rules! columns {
    () => {
        " AS n (tenant_id, chat_id, message_id, from_me, message_type, text, raw, sent_at, sender, status)"
    };
}

/// A message to store, as its event brought it.
pub struct NewMessage<'a> {
    pub chat: &'a Chat,
    pub message_id: &'a str,
    pub from_me: bool,
    pub message_type: &'a str,
    pub text: Option<&'a str>,
    pub raw: Option<&'a Jsonb>,
    pub sent_at: DateTime<Utc>,
    pub sender: Sender,
    pub status: Option<Status>,
}

/// What storing a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is new, or took the place of a placeholder or of an edit that came before it.
    New,
    /// It was deleted before it arrived: it is there, without being a question.
    DeletedAlready,
    /// Another event stored it before.
    Known,
}

/// Stores a message once: [`store_all`].
pub fn store(message: NewMessage<'_>) -> Result<Stored> {
    Ok(store_all(&[message])?.first().copied().unwrap_or(Stored::Known))
}

/// Stores each message once, in this order; no two may have the same id.
pub fn store_all(messages: &[NewMessage<'_>]) -> Result<Vec<Stored>> {
    let statement = per_row!(
        concat!(insert!(), " FROM "),
        ["$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$10"],
        concat!(
            columns!(),
            " ON CONFLICT (tenant_id, message_id) DO NOTHING RETURNING m.tenant_id, m.message_id::text"
        )
    );
    let new = sql::query_by_index(statement.of(messages), &args(messages), |row| {
        Ok((row.get::<i32>(1)?, row.get::<String>(2)?))
    })?;
    let ids = messages.iter().map(|new| (new.chat.tenant_id, new.message_id.to_owned()));
    let is_new = sql::which(ids, &new);
    let known = messages.iter().zip(is_new);
    known.map(|(message, is_new)| if is_new { Ok(Stored::New) } else { replace(message) }).collect()
}

/// A message whose id is there already. A row without a sender is an edit or deletion that came first:
/// the message takes its place and keeps the edited text. A row of a customer without a text may be a
/// placeholder whose content comes now.
fn replace(message: &NewMessage<'_>) -> Result<Stored> {
    let replaced = sql::query_by_index(
        concat!(
            insert!(),
            " FROM (SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            columns!(),
            " ON CONFLICT (tenant_id, message_id) DO UPDATE \
                 SET chat_id = excluded.chat_id, from_me = excluded.from_me, message_type = excluded.message_type, \
                     text = CASE WHEN m.sender IS NULL THEN coalesce(m.text, excluded.text) ELSE excluded.text END, \
                     raw = excluded.raw, sent_at = excluded.sent_at, sender = excluded.sender, \
                     status = coalesce(m.status, excluded.status) \
               WHERE m.sender IS NULL \
                  OR (m.sender = 'customer' AND excluded.sender = 'customer' AND m.text IS NULL \
                      AND NOT EXISTS (SELECT FROM whaply.processed_events e WHERE e.tenant_id = m.tenant_id \
                                         AND e.message_id = m.message_id AND e.event_type = 'messages.upsert')) \
              RETURNING m.deleted_at IS NOT NULL"
        ),
        &args(std::slice::from_ref(message)),
        |row| row.get::<bool>(1),
    )?;
    Ok(match replaced.first() {
        Some(false) => Stored::New,
        Some(true) => Stored::DeletedAlready,
        None => Stored::Known,
    })
}

fn args(messages: &[NewMessage<'_>]) -> [sql::Arg<'static>; 10] {
    [
        sql::column(messages, |message| message.chat.tenant_id),
        sql::column(messages, |message| message.chat.chat_id.as_str()),
        sql::column(messages, |message| message.message_id),
        sql::column(messages, |message| message.from_me),
        sql::column(messages, |message| message.message_type),
        sql::column(messages, |message| message.text),
        sql::column(messages, |message| message.raw.map(Ready)),
        sql::column(messages, |message| sql::time(message.sent_at)),
        sql::column(messages, |message| message.sender.as_str()),
        sql::column(messages, |message| message.status.map(Status::as_str)),
    ]
}
