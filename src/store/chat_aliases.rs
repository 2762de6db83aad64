//! Table `chat_aliases`: every JID a chat is known by, and finding the chat of a JID.

use super::Chat;
use super::sql::{self, per_row};
use crate::error::Result;

/// Every name of the chat `$2` of the tenant `$1`, to be compared with by `= ANY` or `<> ALL`.
macro_rules! names_of_chat {
    () => {
        "(ARRAY(SELECT $2 UNION ALL SELECT a.jid FROM whaply.chat_aliases a \
                 WHERE a.tenant_id = $1 AND a.chat_id = $2))"
    };
}
pub(super) use names_of_chat;

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

/// These names, and every one that aliases connect them with, in whatever direction; no session needs to be
/// left of any.
pub fn connected(tenant_id: i32, names: &[String]) -> Result<Vec<String>> {
    sql::query(
        "WITH RECURSIVE known (name) AS ( \
             SELECT n.name FROM unnest($2) AS n (name) \
              UNION \
             SELECT next.name FROM known CROSS JOIN LATERAL ( \
                 SELECT a.chat_id::text AS name FROM whaply.chat_aliases a \
                  WHERE a.tenant_id = $1 AND a.jid = known.name \
                  UNION ALL \
                 SELECT a.jid::text FROM whaply.chat_aliases a \
                  WHERE a.tenant_id = $1 AND a.chat_id = known.name) AS next) \
         SELECT name FROM known",
        &[tenant_id.into(), names.to_vec().into()],
        |row| row.get(1),
    )
}

/// The chat under the name it has today: it may have been found to be one with an older one.
pub fn today(chat: &Chat) -> Result<Chat> {
    let known = sessions_of(chat.tenant_id, std::slice::from_ref(&chat.chat_id))?;
    let chat_id = known.into_iter().next().unwrap_or_else(|| chat.chat_id.clone());
    Ok(Chat { tenant_id: chat.tenant_id, chat_id })
}

/// Whether each of these JIDs names a chat, directly or as an alias.
pub fn are_known(tenant_id: i32, jids: &[String]) -> Result<bool> {
    let known = sql::query_one(
        "SELECT bool_and(EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = $1 AND a.jid = j.jid) \
                      OR EXISTS (SELECT FROM whaply.sessions s WHERE s.tenant_id = $1 AND s.chat_id = j.jid)) \
           FROM unnest($2) AS j (jid)",
        &[tenant_id.into(), jids.to_vec().into()],
        |row| row.get(1),
    )?;
    Ok(known.unwrap_or(false))
}

/// Until the end of this transaction nobody else names a chat by these JIDs for the first time. Two
/// messages that name one chat differently would else make two sessions of it at the same moment.
/// Taken before any session is locked, and in one order, so that nobody waits in a circle.
pub fn reserve(tenant_id: i32, jids: &[String]) -> Result<()> {
    reserve_all(&jids.iter().map(|jid| (tenant_id, jid.as_str())).collect::<Vec<_>>())
}

/// What stands for a name in the table of locks, which has room for some thousands: names share them, and
/// a batch of a thousand new chats takes no more than there are.
macro_rules! lock_of_name {
    ($tenant_id:literal, $jid:literal) => {
        concat!("(hashtextextended(", $jid, ", ", $tenant_id, ") & 4095)::integer")
    };
}

/// The class of these locks among all advisory locks.
const NAMES: i32 = 0x7768_6170;

/// [`reserve`] for names of any tenants.
pub fn reserve_all(names: &[(i32, &str)]) -> Result<()> {
    let statement = per_row!(
        concat!(
            "SELECT pg_advisory_xact_lock($3, names.lock) FROM (SELECT DISTINCT ",
            lock_of_name!("n.tenant_id", "n.jid"),
            " AS lock FROM "
        ),
        ["$1" "$2"],
        " AS n (tenant_id, jid) ORDER BY 1) AS names"
    );
    sql::execute_by_index(
        statement.of(names),
        &[
            sql::column(names, |(tenant_id, _)| *tenant_id),
            sql::column(names, |(_, jid)| *jid),
            NAMES.into(),
        ],
    )?;
    Ok(())
}

/// [`reserve`] of one name, unless somebody else has it.
pub fn try_reserve(tenant_id: i32, jid: &str) -> Result<bool> {
    let is_ours = sql::query_one(
        concat!("SELECT pg_try_advisory_xact_lock($3, ", lock_of_name!("$1", "$2"), ")"),
        &[tenant_id.into(), jid.into(), NAMES.into()],
        |row| row.get(1),
    )?;
    Ok(is_ours.unwrap_or(false))
}

fn names_of(names: &[(&Chat, &str)]) -> [sql::Arg<'static>; 3] {
    [
        sql::column(names, |(chat, _)| chat.tenant_id),
        sql::column(names, |(chat, _)| chat.chat_id.as_str()),
        sql::column(names, |(_, name)| *name),
    ]
}

/// Names a chat by one more JID: [`add_all`].
pub fn add(chat: &Chat, jid: &str) -> Result<()> {
    add_all(&[(chat, jid)])
}

/// Names chats by one more JID each. A JID keeps the chat it was first known by, unless that was only
/// presumed; and one under which there is a session of its own, with its own pause, is left to a merge.
pub fn add_all(names: &[(&Chat, &str)]) -> Result<()> {
    // Not ON CONFLICT DO UPDATE, which would lock, and so write, a row that is as it should be.
    let confirm = per_row!(
        "UPDATE whaply.chat_aliases a SET chat_id = n.chat, confirmed = true FROM ",
        ["$1" "$2" "$3"],
        " AS n (tenant, chat, name) WHERE a.tenant_id = n.tenant AND a.jid = n.name AND NOT a.confirmed"
    );
    let add = per_row!(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) SELECT n.tenant, n.name, n.chat FROM ",
        ["$1" "$2" "$3"],
        " AS n (tenant, chat, name) \
          WHERE NOT EXISTS (SELECT FROM whaply.sessions s WHERE s.tenant_id = n.tenant AND s.chat_id = n.name) \
         ON CONFLICT (tenant_id, jid) DO NOTHING"
    );
    let added = sql::execute_by_index(add.of(names), &names_of(names))?;
    if added < names.len() {
        sql::execute_by_index(confirm.of(names), &names_of(names))?;
    }
    Ok(())
}

/// Names a chat by a LID that only a message of ours tells: it could be our own.
pub fn presume(chat: &Chat, lid: &str) -> Result<()> {
    sql::execute(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id, confirmed) VALUES ($1, $2, $3, false) \
         ON CONFLICT (tenant_id, jid) DO NOTHING",
        &[chat.tenant_id.into(), lid.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// The chat that a LID is presumed to name, if that is all that is known of it.
pub fn presumed(tenant_id: i32, lid: &str) -> Result<Option<String>> {
    sql::query_one(
        "SELECT chat_id::text FROM whaply.chat_aliases WHERE tenant_id = $1 AND jid = $2 AND NOT confirmed",
        &[tenant_id.into(), lid.into()],
        |row| row.get(1),
    )
}

/// What was presumed of a LID was wrong.
pub fn forget_presumed(tenant_id: i32, lid: &str) -> Result<()> {
    sql::execute(
        "DELETE FROM whaply.chat_aliases WHERE tenant_id = $1 AND jid = $2 AND NOT confirmed",
        &[tenant_id.into(), lid.into()],
    )?;
    Ok(())
}

/// From now on every JID of `younger`, its own name too, leads to `older`. The caller has locked both; who
/// has read the session of `younger` without a lock finds it changed.
pub fn merge(tenant_id: i32, older: &str, younger: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.chat_aliases SET chat_id = $2 WHERE tenant_id = $1 AND chat_id = $3",
        &[tenant_id.into(), older.into(), younger.into()],
    )?;
    sql::execute(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES ($1, $3, $2) \
         ON CONFLICT (tenant_id, jid) DO UPDATE SET chat_id = excluded.chat_id, confirmed = true",
        &[tenant_id.into(), older.into(), younger.into()],
    )?;
    sql::execute(
        "UPDATE whaply.sessions SET updated_at = clock_timestamp() WHERE tenant_id = $1 AND chat_id = $2",
        &[tenant_id.into(), younger.into()],
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
