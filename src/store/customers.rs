//! Table `sessions`: what customers' messages leave there, in any number of chats by one statement.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::Chat;
use super::sessions::{self, Session, session_columns};
use super::sql::{self, per_row};
use crate::error::Result;

/// A customer wrote in a chat.
pub struct Wrote<'a> {
    pub chat: &'a Chat,
    pub sent_at: DateTime<Utc>,
    /// From which JID: answers go there.
    pub jid: &'a str,
    pub name: Option<&'a str>,
    /// Only if the session has not changed since it was read. None: the caller has locked it.
    pub unchanged_since: Option<DateTime<Utc>>,
}

/// Locks the sessions of chats, waiting for whoever holds one: those that are there. Whoever locks
/// several gives them in the order of their chats, so that nobody waits in a circle.
pub fn lock_all(chats: &[Chat]) -> Result<Vec<Session>> {
    let statement = per_row!(
        concat!("SELECT ", session_columns!(), " FROM "),
        ["$1" "$2"],
        " AS n (tenant, chat) \
           JOIN whaply.sessions s ON s.tenant_id = n.tenant AND s.chat_id = n.chat FOR NO KEY UPDATE OF s"
    );
    sql::query_by_index(
        statement.of(chats),
        &[
            sql::column(chats, |chat| chat.tenant_id),
            sql::column(chats, |chat| chat.chat_id.as_str()),
        ],
        sessions::read,
    )
}

/// Makes sessions of chats in which a customer writes for the first time; for each whether it was made,
/// or somebody else has made it meanwhile.
pub fn first_wrote(wrote: &[Wrote<'_>]) -> Result<Vec<bool>> {
    let statement = per_row!(
        "INSERT INTO whaply.sessions (tenant_id, chat_id, last_message_at, reply_jid, contact_name) SELECT n.* FROM ",
        ["$1" "$2" "$3" "$4" "$5"],
        " AS n (tenant_id, chat_id, sent_at, jid, name) \
         ON CONFLICT (tenant_id, chat_id) DO NOTHING RETURNING tenant_id, chat_id::text"
    );
    let made = sql::query_by_index(statement.of(wrote), &args(wrote), |row| {
        Ok(Chat { tenant_id: row.get(1)?, chat_id: row.get(2)? })
    })?;
    Ok(sql::which(wrote.iter().map(|wrote| wrote.chat.clone()), &made))
}

/// Records that customers wrote: when, from which JID, under which name. The sessions are locked by that,
/// waiting for whoever holds one; which chats took it. Times only move forward. The order of chats is that
/// of [`lock_all`].
pub fn wrote_again(wrote: &[Wrote<'_>]) -> Result<HashSet<Chat>> {
    let statement = per_row!(
        "UPDATE whaply.sessions s \
            SET last_message_at = greatest(s.last_message_at, n.sent_at), reply_jid = n.jid, \
                contact_name = coalesce(n.name, s.contact_name), updated_at = clock_timestamp() FROM ",
        ["$1" "$2" "$3" "$4" "$5" "$6"],
        " AS n (tenant, chat, sent_at, jid, name, read_at) \
          WHERE s.tenant_id = n.tenant AND s.chat_id = n.chat AND (n.read_at IS NULL OR s.updated_at = n.read_at) \
         RETURNING s.tenant_id, s.chat_id::text"
    );
    let [tenant, chat, sent_at, jid, name] = args(wrote);
    let read_at = sql::column(wrote, |wrote| wrote.unchanged_since.and_then(sql::time));
    let args = [tenant, chat, sent_at, jid, name, read_at];
    let took = sql::query_by_index(statement.of(wrote), &args, |row| {
        Ok(Chat { tenant_id: row.get(1)?, chat_id: row.get(2)? })
    })?;
    Ok(took.into_iter().collect())
}

fn args(wrote: &[Wrote<'_>]) -> [sql::Arg<'static>; 5] {
    [
        sql::column(wrote, |wrote| wrote.chat.tenant_id),
        sql::column(wrote, |wrote| wrote.chat.chat_id.as_str()),
        sql::column(wrote, |wrote| sql::time(wrote.sent_at)),
        sql::column(wrote, |wrote| wrote.jid),
        sql::column(wrote, |wrote| wrote.name),
    ]
}
