//! Table `replies`: questions come, of any number of chats by one statement. The caller holds the locks
//! of their sessions.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::Chat;
use super::sql::{self, per_row};
use crate::error::{Error, Result};

/// Questions of a chat that has no open reply.
pub struct NewReply<'a> {
    pub chat: &'a Chat,
    pub due_at: DateTime<Utc>,
    /// When the first of them was sent.
    pub first_sent_at: DateTime<Utc>,
    /// How many they are.
    pub wanted: i32,
}

/// Questions for an open reply.
pub struct More {
    pub reply_id: i64,
    pub due_at: DateTime<Utc>,
    /// When the first of them was sent.
    pub first_sent_at: DateTime<Utc>,
    /// How many they are.
    pub wanted: i32,
}

/// An open reply, as far as a question needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub id: i64,
    pub created_at: DateTime<Utc>,
}

/// Opens replies for chats, their ids; none for a chat that has one open.
pub fn open_all(replies: &[NewReply<'_>]) -> Result<HashMap<Chat, i64>> {
    let statement = per_row!(
        "INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at, wanted) SELECT n.* FROM ",
        ["$1" "$2" "$3" "$4" "$5"],
        " AS n (tenant_id, chat_id, due_at, first_sent_at, wanted) \
         ON CONFLICT (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending') DO NOTHING \
         RETURNING id, tenant_id, chat_id::text"
    );
    let opened = sql::query_by_index(
        statement.of(replies),
        &[
            sql::column(replies, |reply| reply.chat.tenant_id),
            sql::column(replies, |reply| reply.chat.chat_id.as_str()),
            sql::column(replies, |reply| sql::time(reply.due_at)),
            sql::column(replies, |reply| sql::time(reply.first_sent_at)),
            sql::column(replies, |reply| reply.wanted),
        ],
        |row| Ok((Chat { tenant_id: row.get(2)?, chat_id: row.get(3)? }, row.get(1)?)),
    )?;
    Ok(opened.into_iter().collect())
}

/// Opens a reply for one question of a chat that has none open.
pub fn open(chat: &Chat, due_at: DateTime<Utc>, first_sent_at: DateTime<Utc>) -> Result<i64> {
    let opened = open_all(&[NewReply { chat, due_at, first_sent_at, wanted: 1 }])?;
    let id = opened.get(chat).copied();
    id.ok_or_else(|| Error::Internal("INSERT INTO replies returned no id".to_owned()))
}

/// More questions for open replies, which of them are open still; a waiting one is moved to `due_at`. One
/// that was tried before is never brought forward: it may wait because a provider asked for it.
pub fn want_more_all(more: &[More]) -> Result<HashSet<i64>> {
    let statement = per_row!(
        "UPDATE whaply.replies r \
            SET wanted = r.wanted + n.wanted, first_sent_at = least(r.first_sent_at, n.first_sent_at), \
                due_at = CASE WHEN r.state <> 'waiting' THEN r.due_at \
                              WHEN r.attempt = 0 THEN n.due_at ELSE greatest(r.due_at, n.due_at) END FROM ",
        ["$1" "$2" "$3" "$4"],
        " AS n (id, due_at, first_sent_at, wanted) \
          WHERE r.id = n.id AND r.state IN ('waiting', 'generating', 'sending') RETURNING r.id"
    );
    let open = sql::query_by_index(
        statement.of(more),
        &[
            sql::column(more, |more| more.reply_id),
            sql::column(more, |more| sql::time(more.due_at)),
            sql::column(more, |more| sql::time(more.first_sent_at)),
            sql::column(more, |more| more.wanted),
        ],
        |row| row.get(1),
    )?;
    Ok(open.into_iter().collect())
}

/// One more question for an open reply.
pub fn want_more(reply_id: i64, due_at: DateTime<Utc>, first_sent_at: DateTime<Utc>) -> Result<()> {
    want_more_all(&[More { reply_id, due_at, first_sent_at, wanted: 1 }])?;
    Ok(())
}
