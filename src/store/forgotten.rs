//! Removing a chat with all that was said in it, under each of its names. What stays are the ids of
//! its events, so that a webhook that is repeated does not bring it back.

use chrono::{DateTime, Utc};

use super::{Chat, messages_archive, sql};
use crate::conversation::Action;
use crate::error::Result;

/// How many rows of each kind are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub sessions: usize,
    pub messages: i64,
    pub archived_messages: i64,
    pub replies: usize,
    pub deliveries: i64,
}

/// The names of one person, in the chats of a tenant.
#[derive(Clone, Debug)]
pub struct Named {
    pub tenant_id: i32,
    pub names: Vec<String>,
}

/// Deletes what has one of the names `$2` from a table; of each message in it (`said`: id, whether it is of
/// the business), the events stay or are entered now: an event that comes again, or an echo that is late, is
/// one that has acted.
macro_rules! to_events {
    ($table:literal, $said:expr) => {
        concat!(
            "WITH gone AS (DELETE FROM ",
            $table,
            " WHERE tenant_id = $1 AND chat_id = ANY ($2) RETURNING *), \
             said (message_id, from_me) AS (",
            $said,
            "), \
             kept AS ( \
                 INSERT INTO whaply.processed_events AS e (tenant_id, message_id, event_type, action_taken, processed_at) \
                 SELECT $1, said.message_id, event.type, $3, clock_timestamp() \
                   FROM said, (VALUES ('messages.upsert', false), ('send.message', true)) AS event (type, is_ours) \
                  WHERE said.from_me OR NOT event.is_ours \
                  ORDER BY 2, 3 \
                 ON CONFLICT (tenant_id, message_id, event_type) DO UPDATE SET action_taken = excluded.action_taken \
                  WHERE e.action_taken IN ('ai_queued', 'pending_echo')) \
             SELECT count(*) FROM gone"
        )
    };
}

/// What stands in place of the id of a message that may have left without telling it: its echo, which comes
/// under one of the names, is known by it. Nobody reads a name or a word in it.
macro_rules! id_of_words {
    ($name:literal, $text:literal) => {
        concat!("'forgotten:' || md5(", $name, " || E'\\n' || ", $text, ")")
    };
}

/// Locks the sessions that have one of these names, the oldest first, as a merge does.
pub fn lock_sessions(person: &Named) -> Result<()> {
    sql::execute(
        "SELECT FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = ANY ($2) ORDER BY id FOR UPDATE",
        &[person.tenant_id.into(), person.names.clone().into()],
    )?;
    Ok(())
}

/// Removes what has one of these names. The caller holds the locks of their sessions, and no call that
/// could be waited for is on its way.
pub fn forget(person: &Named) -> Result<Forgotten> {
    let to_events = |statement: &'static str| -> Result<i64> {
        let arguments = [
            person.tenant_id.into(),
            person.names.clone().into(),
            Action::Forgotten.as_str().into(),
        ];
        Ok(sql::query_one(statement, &arguments, |row| row.get(1))?.unwrap_or(0))
    };
    let gone = |statement: &'static str| {
        sql::execute(statement, &[person.tenant_id.into(), person.names.clone().into()])
    };
    let messages =
        to_events(to_events!("whaply.messages", "SELECT message_id::text, from_me FROM gone"))?;
    let archived_messages = if messages_archive::exists()? {
        // It may have no unique index.
        to_events(to_events!(
            "whaply.messages_archive",
            "SELECT message_id::text, bool_or(from_me) FROM gone GROUP BY message_id"
        ))?
    } else {
        0
    };
    let deliveries = to_events(to_events!(
        "whaply.deliveries",
        concat!(
            "SELECT message_id::text, true FROM gone WHERE message_id IS NOT NULL \
              UNION \
             SELECT ",
            id_of_words!("n.name", "gone.text"),
            ", true FROM gone CROSS JOIN unnest($2) AS n (name) \
              WHERE message_id IS NULL AND attempted_at > now() - interval '1 day'"
        )
    ))?;
    let forgotten = Forgotten {
        messages,
        archived_messages,
        deliveries,
        replies: gone("DELETE FROM whaply.replies WHERE tenant_id = $1 AND chat_id = ANY ($2)")?,
        sessions: gone("DELETE FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = ANY ($2)")?,
    };
    gone(
        "DELETE FROM whaply.chat_aliases WHERE tenant_id = $1 AND (jid = ANY ($2) OR chat_id = ANY ($2))",
    )?;
    Ok(forgotten)
}

/// Whether one of these names was forgotten, not before `since`, when a call with these words had not told
/// the id of its message.
pub fn had_sent(person: &Named, text: &str, since: DateTime<Utc>) -> Result<bool> {
    let had = sql::query_one(
        concat!(
            "SELECT EXISTS (SELECT FROM whaply.processed_events e \
                             WHERE e.tenant_id = $1 AND e.event_type = 'send.message' AND e.action_taken = $4 \
                               AND e.processed_at >= $5 \
                               AND e.message_id = ANY (ARRAY(SELECT ",
            id_of_words!("n.name", "$3"),
            " FROM unnest($2) AS n (name))))"
        ),
        &[
            person.tenant_id.into(),
            person.names.clone().into(),
            text.into(),
            Action::Forgotten.as_str().into(),
            sql::time(since).into(),
        ],
        |row| row.get(1),
    )?;
    Ok(had.unwrap_or(false))
}

/// Tables that look as if messages were kept in them, of which whaply knows nothing; and the archive where
/// somebody's own policies may hide rows of it.
pub fn tables_out_of_sight() -> Result<Vec<String>> {
    sql::query(
        "SELECT c.oid::regclass::text \
           FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped \
                AND a.attname IN ('tenant_id', 'chat_id', 'message_id') \
          WHERE c.relkind IN ('r', 'p', 'f', 'm') \
            AND (c.oid IS DISTINCT FROM to_regclass('whaply.messages_archive') OR row_security_active(c.oid)) \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) \
          GROUP BY c.oid HAVING count(*) = 3 ORDER BY 1",
        &[],
        |row| row.get(1),
    )
}

/// The class of these locks among all advisory locks, and the one in it that tells that anybody is being
/// forgotten. Chats share the others.
const FORGETTING: i32 = 0x7768_6171;
const ANYBODY: i32 = 0;

/// Which lock stands for a chat of the tenant `$1`.
macro_rules! lock_of_chat {
    ($name:literal) => {
        concat!("1 + (hashtextextended(", $name, ", $1) & 1023)::integer")
    };
}

/// From now on, until the end of this transaction, the worker begins no send under these names; one that
/// is under way ends as it does. Waits for the round of the worker that is under way.
pub fn begin(person: &Named) -> Result<()> {
    sql::execute(
        "SELECT pg_advisory_xact_lock_shared($1, $2)",
        &[FORGETTING.into(), ANYBODY.into()],
    )?;
    sql::execute(
        concat!(
            "SELECT pg_advisory_xact_lock($3, chats.lock) FROM (SELECT DISTINCT ",
            lock_of_chat!("n.name"),
            " AS lock FROM unnest($2) AS n (name) ORDER BY 1) AS chats"
        ),
        &[person.tenant_id.into(), person.names.clone().into(), FORGETTING.into()],
    )?;
    Ok(())
}

/// Whether a call of ours under one of these names has not ended.
pub fn is_in_flight(person: &Named) -> Result<bool> {
    let is = sql::query_one(
        "SELECT EXISTS (SELECT FROM whaply.deliveries \
                         WHERE tenant_id = $1 AND chat_id = ANY ($2) AND state IN ('sending', 'uncertain'))",
        &[person.tenant_id.into(), person.names.clone().into()],
        |row| row.get(1),
    )?;
    Ok(is.unwrap_or(false))
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
        concat!("SELECT pg_try_advisory_xact_lock_shared($3, ", lock_of_chat!("$2"), ")"),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), FORGETTING.into()],
        |row| row.get(1),
    )?;
    Ok(kept.unwrap_or(false))
}
