//! Table `messages`: what was said in a chat, by whom, and what became of it.

use chrono::{DateTime, Utc};

use super::Chat;
use super::chat_aliases::names_of_chat;
use super::jsonb::Ready;
use super::sql::{self, per_row};
use crate::conversation::Sender;
use crate::error::Result;
use crate::webhook::{Jsonb, Status};

/// A message of ours that Evolution confirmed, before or after its echo came.
pub struct OwnMessage<'a> {
    pub chat: &'a Chat,
    pub message_id: &'a str,
    pub text: &'a str,
    pub sent_at: DateTime<Utc>,
    pub sender: Sender,
    pub reply_id: Option<i64>,
}

/// Stores or completes messages of ours, no two of one id: an echo that came first has no reply and a
/// wrong sender, and an edit or deletion that came first told no more than the id.
pub fn store_own(messages: &[OwnMessage<'_>]) -> Result<()> {
    let statement = per_row!(
        "INSERT INTO whaply.messages AS m \
                (tenant_id, chat_id, message_id, from_me, message_type, text, sent_at, sender, reply_id, status) \
         SELECT o.tenant_id, o.chat_id, o.message_id, true, 'conversation', o.text, o.sent_at, o.sender, o.reply_id, \
                'PENDING' FROM ",
        ["$1" "$2" "$3" "$4" "$5" "$6" "$7"],
        " AS o (tenant_id, chat_id, message_id, text, sent_at, sender, reply_id) ORDER BY o.tenant_id, o.message_id \
         ON CONFLICT (tenant_id, message_id) DO UPDATE \
            SET chat_id = excluded.chat_id, sender = excluded.sender, reply_id = excluded.reply_id, \
                text = coalesce(m.text, excluded.text), from_me = true, \
                message_type = CASE WHEN m.sender IS NULL THEN excluded.message_type ELSE m.message_type END, \
                sent_at = CASE WHEN m.sender IS NULL THEN excluded.sent_at ELSE m.sent_at END"
    );
    sql::execute_by_index(
        statement.of(messages),
        &[
            sql::column(messages, |message| message.chat.tenant_id),
            sql::column(messages, |message| message.chat.chat_id.as_str()),
            sql::column(messages, |message| message.message_id),
            sql::column(messages, |message| message.text),
            sql::column(messages, |message| sql::time(message.sent_at)),
            sql::column(messages, |message| message.sender.as_str()),
            sql::column(messages, |message| message.reply_id),
        ],
    )?;
    Ok(())
}

/// The echo of a message of ours brings its payload: kept, for debugging, where there is none.
pub fn keep_echo(tenant_id: i32, message_id: &str, raw: &Jsonb) -> Result<()> {
    sql::execute(
        "UPDATE whaply.messages SET raw = $3 WHERE tenant_id = $1 AND message_id = $2 AND raw IS NULL",
        &[tenant_id.into(), message_id.into(), Ready(raw).into()],
    )?;
    Ok(())
}

/// An undecided message has found its author.
pub fn set_sender(tenant_id: i32, message_id: &str, sender: Sender) -> Result<()> {
    sql::execute(
        "UPDATE whaply.messages SET sender = $3 WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into(), sender.as_str().into()],
    )?;
    Ok(())
}

/// An undecided message says nothing: it is nobody's turn.
pub fn forget(tenant_id: i32, message_id: &str) -> Result<()> {
    sql::execute(
        "DELETE FROM whaply.messages WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into()],
    )?;
    Ok(())
}

/// Sets the status of a message whose row the caller has locked and compared.
pub fn set_status(tenant_id: i32, message_id: &str, to: Status) -> Result<()> {
    sql::execute(
        "UPDATE whaply.messages SET status = $3 WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into(), to.as_str().into()],
    )?;
    Ok(())
}

/// The status of a message: None if there is no such message. Locks its row.
pub fn lock_status(tenant_id: i32, message_id: &str) -> Result<Option<Option<Status>>> {
    sql::query_one(
        "SELECT status FROM whaply.messages WHERE tenant_id = $1 AND message_id = $2 FOR NO KEY UPDATE",
        &[tenant_id.into(), message_id.into()],
        |row| Ok(row.find::<String>(1)?.and_then(|text| Status::parse(&text))),
    )
}

/// A message that an edit or a deletion names.
pub struct Changed {
    /// None while the message itself has not come.
    pub chat: Option<Chat>,
    pub sender_is_customer: bool,
}

pub fn find(tenant_id: i32, message_id: &str) -> Result<Option<Changed>> {
    sql::query_one(
        "SELECT chat_id::text, sender FROM whaply.messages \
          WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into()],
        |row| {
            let sender = row.find::<String>(2)?;
            Ok(Changed {
                chat: if sender.is_some() {
                    Some(Chat { tenant_id, chat_id: row.get(1)? })
                } else {
                    None
                },
                sender_is_customer: sender.as_deref() == Some(Sender::Customer.as_str()),
            })
        },
    )
}

/// Keeps a place for a message that has not come, for the change that came first; false if there is
/// a row already. Waits for a transaction that is about to store the message.
pub fn keep_place(tenant_id: i32, message_id: &str, at: DateTime<Utc>) -> Result<bool> {
    let added = sql::execute(
        "INSERT INTO whaply.messages (tenant_id, chat_id, message_id, message_type, sent_at) \
         VALUES ($1, '', $2, 'protocolMessage', $3) ON CONFLICT (tenant_id, message_id) DO NOTHING",
        &[tenant_id.into(), message_id.into(), sql::time(at).into()],
    )?;
    Ok(added > 0)
}

/// The newest edit wins; whether this one is the newest. Before its message it waits in a row of
/// its own, without a chat and without a sender.
pub fn edit(
    tenant_id: i32,
    message_id: &str,
    text: Option<&str>,
    at: DateTime<Utc>,
) -> Result<bool> {
    let changed = sql::execute(
        "INSERT INTO whaply.messages AS m (tenant_id, chat_id, message_id, message_type, text, sent_at, edited_at) \
         VALUES ($1, '', $2, 'protocolMessage', $3, $4, $4) \
         ON CONFLICT (tenant_id, message_id) DO UPDATE \
            SET text = excluded.text, edited_at = excluded.edited_at \
          WHERE m.deleted_at IS NULL AND (m.edited_at IS NULL OR m.edited_at < excluded.edited_at)",
        &[
            tenant_id.into(),
            message_id.into(),
            text.map(str::to_owned).into(),
            sql::time(at).into(),
        ],
    )?;
    Ok(changed > 0)
}

/// Marks a message as deleted for everyone; whether it was not yet. Its text stays, for the owner.
pub fn delete(tenant_id: i32, message_id: &str, at: DateTime<Utc>) -> Result<bool> {
    let changed = sql::execute(
        "INSERT INTO whaply.messages AS m (tenant_id, chat_id, message_id, message_type, sent_at, deleted_at) \
         VALUES ($1, '', $2, 'protocolMessage', $3, $3) \
         ON CONFLICT (tenant_id, message_id) DO UPDATE SET deleted_at = excluded.deleted_at \
          WHERE m.deleted_at IS NULL",
        &[tenant_id.into(), message_id.into(), sql::time(at).into()],
    )?;
    Ok(changed > 0)
}

/// A line of the chat as the model will see it.
pub struct HistoryRow {
    pub from_me: bool,
    pub text: Option<String>,
    /// Present where the message has more than a text: its payload tells what.
    pub raw: Option<String>,
    pub is_deleted: bool,
    /// A question of the reply that reads this.
    pub is_asked: bool,
}

/// What was asked in a chat while it was paused, after the last word of the business and not before
/// `since`, is a question again; when the first of it was sent. None: nothing waits. Of an answer that
/// the pause cut short the customer may have a part: its questions stay with the human.
pub fn reopen_unanswered(chat: &Chat, since: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let first = sql::query_one(
        "WITH names AS ( \
             SELECT $2 AS jid UNION ALL SELECT a.jid FROM whaply.chat_aliases a WHERE a.tenant_id = $1 AND a.chat_id = $2), \
         said AS ( \
             SELECT m.sent_at, m.id FROM whaply.messages m JOIN names n ON n.jid = m.chat_id \
              WHERE m.tenant_id = $1 AND m.sent_at >= $3 AND m.sender IN ('owner', 'assistant', 'operator', 'other') \
              ORDER BY m.sent_at DESC, m.id DESC LIMIT 1), \
         asked AS ( \
             SELECT m.id, m.message_id FROM whaply.messages m JOIN names n ON n.jid = m.chat_id \
              WHERE m.tenant_id = $1 AND m.sent_at >= $3 AND m.sender = 'customer' AND m.deleted_at IS NULL \
                AND NOT EXISTS (SELECT FROM said WHERE (said.sent_at, said.id) > (m.sent_at, m.id)) \
                AND NOT EXISTS (SELECT FROM whaply.deliveries d WHERE d.reply_id = m.reply_id \
                                   AND d.kind = 'reply' AND d.state IN ('sending', 'uncertain', 'sent'))), \
         reopened AS ( \
             UPDATE whaply.processed_events e SET action_taken = 'ai_queued' FROM asked \
              WHERE e.tenant_id = $1 AND e.message_id = asked.message_id AND e.event_type = 'messages.upsert' \
                AND e.action_taken IN ('ignored_paused', 'cancelled_paused') \
             RETURNING asked.id), \
         released AS ( \
             UPDATE whaply.messages m SET reply_id = NULL FROM reopened WHERE m.id = reopened.id RETURNING m.sent_at) \
         SELECT min(sent_at) FROM released",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), sql::time(since).into()],
        |row| row.find_time(1),
    )?;
    Ok(first.flatten())
}

/// Questions that a reply has read are open again, for the reply that takes its place.
pub fn release_questions(chat: &Chat, reply_id: i64, since: DateTime<Utc>) -> Result<()> {
    sql::execute(
        "UPDATE whaply.messages SET reply_id = NULL \
          WHERE tenant_id = $1 AND sent_at >= $4 AND sender = 'customer' AND reply_id = $3 \
            AND chat_id IN (SELECT $2 UNION ALL SELECT a.jid FROM whaply.chat_aliases a \
                             WHERE a.tenant_id = $1 AND a.chat_id = $2)",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reply_id.into(),
            sql::time(since).into(),
        ],
    )?;
    Ok(())
}

/// The questions of a chat that no reply has read, for the reply that will.
pub struct Unclaimed {
    /// The time of the oldest.
    pub first_sent_at: DateTime<Utc>,
    /// When the first and the newest of them arrived here.
    pub first_arrived_at: DateTime<Utc>,
    pub last_arrived_at: DateTime<Utc>,
}

/// What no reply has read in a chat since a time. None: there is nothing, or the customer has taken it
/// back. `first_sent_at` may be that of a question taken back, which then ends with the others.
pub fn unclaimed_questions(chat: &Chat, since: DateTime<Utc>) -> Result<Option<Unclaimed>> {
    let unclaimed = sql::query_one(
        concat!(
            "SELECT min(m.sent_at), min(m.created_at) FILTER (WHERE m.deleted_at IS NULL), \
                max(m.created_at) FILTER (WHERE m.deleted_at IS NULL) FROM whaply.messages m \
          WHERE m.tenant_id = $1 AND m.sent_at >= $3 AND m.sender = 'customer' AND m.reply_id IS NULL \
            AND (SELECT e.action_taken FROM whaply.processed_events e \
                 WHERE e.tenant_id = $1 AND e.message_id = m.message_id AND e.event_type = 'messages.upsert') = 'ai_queued' \
            AND m.chat_id = ANY ",
            names_of_chat!()
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), sql::time(since).into()],
        |row| {
            let times = (row.find_time(1)?, row.find_time(2)?, row.find_time(3)?);
            let (Some(first_sent_at), Some(first_arrived_at), Some(last_arrived_at)) = times else {
                return Ok(None);
            };
            Ok(Some(Unclaimed { first_sent_at, first_arrived_at, last_arrived_at }))
        },
    )?;
    Ok(unclaimed.flatten())
}
