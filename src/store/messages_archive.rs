//! Table `messages_archive`: the user's own, made on first use here or by their own statement
//! (`CREATE TABLE messages_archive (LIKE messages INCLUDING ALL)`). One that is there when the extension is made
//! or updated is opened to whaply_worker by that, any other by the first call of `archive_messages` or
//! `forget_chat`; until then `health` says so. No message in it is ever read by whaply.

use super::acting_role::{self, Acting};
use super::sql;
use crate::error::{Error, Result};

/// Makes the archive if there is none, and lets whaply_worker write to it, both with the rights of whoever
/// runs this statement: it is to be called before the role is switched.
pub fn prepare() -> Result<()> {
    if !exists()? {
        require_right_to_create()?;
        // Without defaults: that of id would tie the user's table to a sequence of the extension.
        let create = "CREATE TABLE whaply.messages_archive \
                          (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS)";
        sql::execute(create, &[])?;
    }
    open()
}

/// The same of an archive that is there.
pub fn open_if_there() -> Result<()> {
    if exists()? { open() } else { Ok(()) }
}

fn open() -> Result<()> {
    require_own_archive()?;
    if acting_role::acting() != Acting::OlderTables && !is_open()? {
        require_right_to_create()?;
        sql::execute(
            "GRANT SELECT, INSERT, UPDATE (raw), DELETE ON TABLE whaply.messages_archive TO whaply_worker",
            &[],
        )?;
    }
    Ok(())
}

/// Moves messages stored more than this many days ago, but for those that somebody holds; how many. One
/// that is in the archive already is not doubled.
pub fn move_older_than(days: i32) -> Result<i64> {
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

fn require_right_to_create() -> Result<()> {
    let may = "SELECT pg_catalog.has_schema_privilege('whaply', 'CREATE')";
    match sql::query_one(may, &[], |row| row.get::<bool>(1))? {
        Some(true) => Ok(()),
        _ => Err(Error::NotAllowed {
            message: "messages_archive is not there yet, or not open to whaply_worker".to_owned(),
            hint: "A superuser calls archive_messages once.",
        }),
    }
}

/// Whoever owns a table can put triggers on it, which would run as whaply_worker and read every key.
fn is_own() -> Result<bool> {
    let is_own = sql::query_one(
        "SELECT r.rolsuper OR r.oid = m.relowner FROM pg_catalog.pg_class a \
           JOIN pg_catalog.pg_class m ON m.oid = 'whaply.messages'::regclass \
           JOIN pg_catalog.pg_roles r ON r.oid = a.relowner \
          WHERE a.oid = to_regclass('whaply.messages_archive')",
        &[],
        |row| row.get(1),
    )?;
    Ok(is_own.unwrap_or(false))
}

fn require_own_archive() -> Result<()> {
    if !is_own()? {
        return Err(Error::NotPossible {
            message: "the owner of messages_archive is not that of messages".to_owned(),
            hint: "ALTER TABLE whaply.messages_archive OWNER TO the owner of whaply.messages, and drop its triggers.",
        });
    }
    Ok(())
}

/// Whether there is one that whaply_worker may delete from, and nobody else's.
pub fn is_open() -> Result<bool> {
    if !is_own()? {
        return Ok(false);
    }
    let is_open = sql::query_one(
        "SELECT pg_catalog.has_table_privilege('whaply_worker', to_regclass('whaply.messages_archive'), 'DELETE')",
        &[],
        |row| row.find(1),
    )?;
    Ok(is_open.flatten().unwrap_or(false))
}

pub fn exists() -> Result<bool> {
    let exists =
        sql::query_one("SELECT to_regclass('whaply.messages_archive') IS NOT NULL", &[], |row| {
            row.get(1)
        })?;
    Ok(exists.unwrap_or(false))
}
