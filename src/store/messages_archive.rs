//! Table `messages_archive`: the user's own, made on first use here or by their own statement
//! (`CREATE TABLE messages_archive (LIKE messages INCLUDING ALL)`). No message in it is ever read by whaply.

use super::sql;
use crate::error::Result;

/// Moves messages stored more than this many days ago, but for those that somebody holds; how many. One
/// that is in the archive already is not doubled.
pub fn move_older_than(days: i32) -> Result<i64> {
    if !exists()? {
        // Without defaults: that of id would tie the user's table to a sequence of the extension.
        let create = "CREATE TABLE whaply.messages_archive \
                          (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS)";
        sql::execute(create, &[])?;
    }
    let moved = sql::query_one(
        "WITH moved AS ( \
             DELETE FROM whaply.messages WHERE ctid = ANY (ARRAY( \
                 SELECT ctid FROM whaply.messages \
                  WHERE created_at < now() - make_interval(days => $1) FOR UPDATE SKIP LOCKED)) RETURNING *), \
         kept AS ( \
             INSERT INTO whaply.messages_archive (id, tenant_id, chat_id, message_id, from_me, message_type, text, raw, \
                         created_at, sent_at, sender, reply_id, status, edited_at, deleted_at) \
             SELECT id, tenant_id, chat_id, message_id, from_me, message_type, text, raw, created_at, sent_at, sender, \
                    reply_id, status, edited_at, deleted_at FROM moved ON CONFLICT DO NOTHING) \
         SELECT count(*) FROM moved",
        &[days.into()],
        |row| row.get(1),
    )?;
    Ok(moved.unwrap_or(0))
}

pub fn exists() -> Result<bool> {
    let exists =
        sql::query_one("SELECT to_regclass('whaply.messages_archive') IS NOT NULL", &[], |row| {
            row.get(1)
        })?;
    Ok(exists.unwrap_or(false))
}
