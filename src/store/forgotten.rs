//! Removing a chat with all that was said in it, under each of its names. What stays are the ids of
//! its events, so that a webhook that is repeated does not bring it back.

use super::{Chat, messages_archive, sql};
use crate::conversation::Action;
use crate::error::Result;

/// How many rows of each kind are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub sessions: usize,
    pub messages: i64,
    pub archived_messages: usize,
    pub replies: usize,
    pub deliveries: usize,
}

/// Removes the chat that these names have (its own first). The caller holds the session's lock, and
/// no call of the chat is on its way.
pub fn forget(chat: &Chat, names: &[String]) -> Result<Forgotten> {
    let tenant_id = chat.tenant_id;
    let messages = messages_to_events(tenant_id, names)?;
    let gone = |statement: &'static str| {
        sql::execute(statement, &[tenant_id.into(), names.to_vec().into()])
    };
    let archived_messages = if messages_archive::exists()? {
        gone("DELETE FROM whaply.messages_archive WHERE tenant_id = $1 AND chat_id = ANY ($2)")?
    } else {
        0
    };
    let forgotten = Forgotten {
        messages,
        archived_messages,
        deliveries: gone(
            "DELETE FROM whaply.deliveries WHERE tenant_id = $1 AND chat_id = ANY ($2)",
        )?,
        replies: gone("DELETE FROM whaply.replies WHERE tenant_id = $1 AND chat_id = ANY ($2)")?,
        sessions: gone("DELETE FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = ANY ($2)")?,
    };
    gone(
        "DELETE FROM whaply.chat_aliases WHERE tenant_id = $1 AND (jid = ANY ($2) OR chat_id = ANY ($2))",
    )?;
    Ok(forgotten)
}

/// Deletes the messages; of each, and of each that was sent, the events stay or are entered now: an
/// event that comes again, or an echo that is late, is one that has acted.
fn messages_to_events(tenant_id: i32, names: &[String]) -> Result<i64> {
    let count = sql::query_one(
        "WITH gone AS ( \
             DELETE FROM whaply.messages WHERE tenant_id = $1 AND chat_id = ANY ($2) \
             RETURNING message_id, from_me), \
         said AS ( \
             SELECT message_id, from_me FROM gone \
             UNION SELECT message_id, true FROM whaply.deliveries \
                    WHERE tenant_id = $1 AND chat_id = ANY ($2) AND message_id IS NOT NULL), \
         kept AS ( \
             INSERT INTO whaply.processed_events AS e (tenant_id, message_id, event_type, action_taken) \
             SELECT $1, said.message_id, event.type, $3 \
               FROM said, (VALUES ('messages.upsert', false), ('send.message', true)) AS event (type, is_ours) \
              WHERE said.from_me OR NOT event.is_ours \
              ORDER BY 2, 3 \
             ON CONFLICT (tenant_id, message_id, event_type) DO UPDATE SET action_taken = excluded.action_taken \
              WHERE e.action_taken IN ('ai_queued', 'pending_echo')) \
         SELECT count(*) FROM gone",
        &[tenant_id.into(), names.to_vec().into(), Action::Forgotten.as_str().into()],
        |row| row.get(1),
    )?;
    Ok(count.unwrap_or(0))
}

/// The class of these locks among all advisory locks, and the one in it that tells that anybody is being
/// forgotten. Chats share the others.
const FORGETTING: i32 = 0x7768_6171;
const ANYBODY: i32 = 0;

/// Which lock stands for a chat.
macro_rules! lock_of_chat {
    () => {
        "1 + (hashtextextended($2, $1) & 1023)::integer"
    };
}

/// From now on, until the end of this transaction, the worker begins no send in this chat; the one that
/// is under way ends as it does. Waits for the round of the worker that is under way.
pub fn begin(chat: &Chat) -> Result<()> {
    sql::execute(
        concat!(
            "SELECT pg_advisory_xact_lock_shared($3, $4), pg_advisory_xact_lock($3, ",
            lock_of_chat!(),
            ")"
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), FORGETTING.into(), ANYBODY.into()],
    )?;
    Ok(())
}

/// For the worker, in the transaction in which it begins sends: whether no chat is being forgotten, nor
/// will be before that ends.
pub fn nobody_is_being_forgotten() -> Result<bool> {
    let nobody = sql::query_one(
        "SELECT pg_try_advisory_xact_lock($1, $2)",
        &[FORGETTING.into(), ANYBODY.into()],
        |row| row.get(1),
    )?;
    Ok(nobody.unwrap_or(false))
}

/// The same of one chat.
pub fn is_kept(chat: &Chat) -> Result<bool> {
    let kept = sql::query_one(
        concat!("SELECT pg_try_advisory_xact_lock_shared($3, ", lock_of_chat!(), ")"),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), FORGETTING.into()],
        |row| row.get(1),
    )?;
    Ok(kept.unwrap_or(false))
}
