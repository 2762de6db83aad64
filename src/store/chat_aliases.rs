//! Table `chat_aliases`: every JID a chat is known by, and finding the chat of a JID.

use super::{Chat, sql};
use crate::error::Result;

/// The sessions that these JIDs name, directly or as aliases, oldest first. An alias outranks a
/// session of the same name: that session was found to be the same chat.
pub fn sessions_of(tenant_id: i32, jids: &[String]) -> Result<Vec<String>> {
    sql::query(
        "SELECT s.chat_id::text FROM whaply.sessions s \
          WHERE s.tenant_id = $1 AND s.chat_id IN ( \
                SELECT coalesce((SELECT a.chat_id FROM whaply.chat_aliases a \
                                  WHERE a.tenant_id = $1 AND a.jid = j.jid), j.jid) \
                  FROM unnest($2) AS j (jid)) \
          ORDER BY s.id",
        &[tenant_id.into(), jids.to_vec().into()],
        |row| row.get(1),
    )
}

/// Names a chat by one more JID. A JID keeps the chat it was first known by.
pub fn add(chat: &Chat, jid: &str) -> Result<bool> {
    let added = sql::execute(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, jid) DO NOTHING",
        &[chat.tenant_id.into(), jid.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(added > 0)
}

/// From now on every JID of `younger`, its own name too, leads to `older`.
pub fn merge(tenant_id: i32, older: &str, younger: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.chat_aliases SET chat_id = $2 WHERE tenant_id = $1 AND chat_id = $3",
        &[tenant_id.into(), older.into(), younger.into()],
    )?;
    sql::execute(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES ($1, $3, $2) \
         ON CONFLICT (tenant_id, jid) DO UPDATE SET chat_id = excluded.chat_id",
        &[tenant_id.into(), older.into(), younger.into()],
    )?;
    Ok(())
}

/// Every JID the chat is known by, its own name first.
pub fn of_chat(chat: &Chat) -> Result<Vec<String>> {
    sql::query(
        "SELECT $2 UNION ALL \
         SELECT a.jid::text FROM whaply.chat_aliases a WHERE a.tenant_id = $1 AND a.chat_id = $2 AND a.jid <> $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| row.get(1),
    )
}
