//! Table `sessions`: what customers' messages leave there, in any number of chats by one statement.

use chrono::{DateTime, Utc};

use super::Chat;
use super::questions::Open;
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

/// Records that customers wrote: when, from which JID, under which name; the sessions, locked by that.
/// Times only move forward. The order of chats is that of [`lock_all`].
pub fn wrote_again(wrote: &[Wrote<'_>]) -> Result<Vec<Session>> {
    let statement = per_row!(
        "UPDATE whaply.sessions s \
            SET last_message_at = greatest(s.last_message_at, n.sent_at), reply_jid = n.jid, \
                contact_name = coalesce(n.name, s.contact_name), updated_at = clock_timestamp() FROM ",
        ["$1" "$2" "$3" "$4" "$5"],
        concat!(
            " AS n (tenant, chat, sent_at, jid, name) WHERE s.tenant_id = n.tenant AND s.chat_id = n.chat RETURNING ",
            session_columns!()
        )
    );
    sql::query_by_index(statement.of(wrote), &args(wrote), sessions::read)
}

/// A chat whose session is locked, and the names that led to it.
pub struct Led<'a> {
    pub chat: &'a Chat,
    pub by: [Option<&'a str>; 2],
}

/// What stands in a locked chat.
pub struct Standing {
    /// A name leads to another chat by now, or is only presumed to lead here.
    pub has_moved: bool,
    pub open_reply: Option<Open>,
}

/// What stands in chats, each at its place.
pub fn standing(led: &[Led<'_>]) -> Result<Vec<Standing>> {
    let statement = per_row!(
        "SELECT coalesce(coalesce(a.chat_id, n.name) <> n.chat OR NOT a.confirmed, false) \
             OR coalesce(coalesce(b.chat_id, n.other) <> n.chat OR NOT b.confirmed, false), r.id, r.created_at FROM ",
        ["$1" "$2" "$3" "$4"],
        " AS n (tenant, chat, name, other) \
           LEFT JOIN whaply.chat_aliases a ON a.tenant_id = n.tenant AND a.jid = n.name \
           LEFT JOIN whaply.chat_aliases b ON b.tenant_id = n.tenant AND b.jid = n.other \
           LEFT JOIN whaply.replies r ON r.tenant_id = n.tenant AND r.chat_id = n.chat \
                AND r.state IN ('waiting', 'generating', 'sending')"
    );
    sql::query_by_index(
        statement.of(led),
        &[
            sql::column(led, |led| led.chat.tenant_id),
            sql::column(led, |led| led.chat.chat_id.as_str()),
            sql::column(led, |led| led.by[0]),
            sql::column(led, |led| led.by[1]),
        ],
        |row| {
            let (id, created_at) = (row.find(2)?, row.find_time(3)?);
            let open_reply = id.zip(created_at).map(|(id, created_at)| Open { id, created_at });
            Ok(Standing { has_moved: row.get(1)?, open_reply })
        },
    )
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
