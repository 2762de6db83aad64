//! Table `sessions`: a chat's state. Its row is the lock of the chat.

use chrono::{DateTime, Utc};

use super::Chat;
use super::sql::{self, Row};
use crate::conversation::PauseReason;
use crate::error::Result;

/// A session, read under its lock.
#[derive(Clone, Debug)]
pub struct Session {
    pub chat: Chat,
    pub is_paused: bool,
    pub pause_reason: Option<String>,
    /// Where answers go: the JID the customer wrote from.
    pub reply_jid: Option<String>,
    pub contact_name: Option<String>,
}

impl Session {
    /// Paused because a human of the business wrote.
    pub fn is_with_a_human(&self) -> bool {
        let takeovers = [PauseReason::HumanTakeover, PauseReason::OtherSender];
        let reason = self.pause_reason.as_deref();
        self.is_paused && takeovers.iter().any(|takeover| reason == Some(takeover.as_str()))
    }
}

fn read(row: &Row<'_, '_>) -> Result<Session> {
    Ok(Session {
        chat: Chat { tenant_id: row.get(1)?, chat_id: row.get(2)? },
        is_paused: row.get(3)?,
        pause_reason: row.find(4)?,
        reply_jid: row.find(5)?,
        contact_name: row.find(6)?,
    })
}

/// Locks the session of a chat, waiting for whoever holds it: for callers whose own user waits too.
pub fn lock(chat: &Chat) -> Result<Option<Session>> {
    sql::query_one(
        "SELECT tenant_id, chat_id::text, is_paused, pause_reason::text, reply_jid::text, contact_name \
           FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2 FOR NO KEY UPDATE",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        read,
    )
}

/// Locks the session unless somebody else holds it. For the worker: one forgotten BEGIN must not
/// halt the other chats. None: it is held, or gone.
pub fn try_lock(chat: &Chat) -> Result<Option<Session>> {
    sql::query_one(
        "SELECT tenant_id, chat_id::text, is_paused, pause_reason::text, reply_jid::text, contact_name \
           FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2 FOR NO KEY UPDATE SKIP LOCKED",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        read,
    )
}

pub fn exists(chat: &Chat) -> Result<bool> {
    Ok(sql::query_one(
        "SELECT 1 FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// Makes the session of a chat if there is none, and locks it.
pub fn create_and_lock(chat: &Chat) -> Result<Option<Session>> {
    sql::execute(
        "INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES ($1, $2) \
         ON CONFLICT (tenant_id, chat_id) DO NOTHING",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
    )?;
    lock(chat)
}

/// Records that a customer wrote: when, from which JID, under which name. Times only move forward.
pub fn customer_wrote(
    chat: &Chat,
    sent_at: DateTime<Utc>,
    jid: &str,
    name: Option<&str>,
) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions \
            SET last_message_at = greatest(last_message_at, $3), reply_jid = $4, \
                contact_name = coalesce($5, contact_name), updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            sql::time(sent_at).into(),
            jid.into(),
            name.map(str::to_owned).into(),
        ],
    )?;
    Ok(())
}

/// Records that a human of the business spoke. A late message moves the time forward, never back.
pub fn human_spoke(chat: &Chat, sent_at: DateTime<Utc>) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions SET last_human_at = greatest(last_human_at, $3), updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), sql::time(sent_at).into()],
    )?;
    Ok(())
}

/// Pauses because a human of the business spoke. A manual pause stays one: it is a hold.
pub fn pause_by_human(chat: &Chat, reason: PauseReason) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions \
            SET is_paused = true, pause_reason = $3, paused_until = NULL, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 \
            AND (NOT is_paused OR pause_reason IS NULL OR pause_reason IN ('human_takeover', 'other_sender', 'ai_failed'))",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), reason.as_str().into()],
    )?;
    Ok(())
}

/// A session takes over what the younger session of the same chat knows: its pause, and its times.
pub fn take_over_state(older: &Chat, younger: &Chat) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions o \
            SET is_paused = o.is_paused OR y.is_paused, \
                pause_reason = CASE WHEN o.is_paused THEN o.pause_reason ELSE y.pause_reason END, \
                paused_until = CASE WHEN o.is_paused THEN o.paused_until ELSE y.paused_until END, \
                last_human_at = greatest(o.last_human_at, y.last_human_at), \
                last_message_at = greatest(o.last_message_at, y.last_message_at), \
                updated_at = clock_timestamp() \
           FROM whaply.sessions y \
          WHERE o.tenant_id = $1 AND o.chat_id = $2 AND y.tenant_id = $1 AND y.chat_id = $3",
        &[older.tenant_id.into(), older.chat_id.as_str().into(), younger.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// Pauses until a time, or until a person ends it (None).
pub fn pause(chat: &Chat, reason: &str, until: Option<DateTime<Utc>>) -> Result<bool> {
    let changed = sql::execute(
        "UPDATE whaply.sessions \
            SET is_paused = true, pause_reason = $3, paused_until = $4, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 \
            AND (NOT is_paused OR pause_reason IS DISTINCT FROM $3 OR paused_until IS DISTINCT FROM $4)",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reason.into(),
            until.and_then(sql::time).into(),
        ],
    )?;
    Ok(changed > 0)
}

pub fn resume(chat: &Chat) -> Result<bool> {
    let changed = sql::execute(
        "UPDATE whaply.sessions \
            SET is_paused = false, pause_reason = NULL, paused_until = NULL, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 AND is_paused",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(changed > 0)
}

/// Resumes every session of a tenant that is paused for this reason; how many.
pub fn resume_all(tenant_id: i32, reason: &str) -> Result<i64> {
    let changed = sql::execute(
        "UPDATE whaply.sessions \
            SET is_paused = false, pause_reason = NULL, paused_until = NULL, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND is_paused AND pause_reason = $2",
        &[tenant_id.into(), reason.into()],
    )?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}

/// Resumes where no human has spoken for this many hours; how many. A manual pause is a hold and
/// stays; rows that somebody holds are left for the next time.
pub fn resume_silent(hours: f64) -> Result<i64> {
    let changed = sql::execute(
        "WITH silent AS ( \
             SELECT id FROM whaply.sessions \
              WHERE is_paused = true AND last_human_at < now() - make_interval(secs => $1 * 3600) \
                AND paused_until IS NULL \
                AND (pause_reason IS NULL OR pause_reason IN ('human_takeover', 'other_sender')) \
              ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) \
         UPDATE whaply.sessions s \
            SET is_paused = false, pause_reason = NULL, updated_at = clock_timestamp() \
           FROM silent WHERE s.id = silent.id",
        &[hours.into()],
    )?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}

/// The same with each tenant's own `auto_resume_after`; this many seconds where it has none.
pub fn resume_silent_by_tenant(default_seconds: f64) -> Result<i64> {
    let changed = sql::execute(
        "WITH silent AS ( \
             SELECT s.id FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id \
              WHERE s.is_paused = true AND s.paused_until IS NULL \
                AND s.last_human_at < now() - coalesce(t.auto_resume_after, make_interval(secs => $1)) \
                AND (s.pause_reason IS NULL OR s.pause_reason IN ('human_takeover', 'other_sender')) \
              ORDER BY s.id FOR NO KEY UPDATE OF s SKIP LOCKED) \
         UPDATE whaply.sessions s \
            SET is_paused = false, pause_reason = NULL, updated_at = clock_timestamp() \
           FROM silent WHERE s.id = silent.id",
        &[default_seconds.into()],
    )?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}

/// Resumes where the pause had an end and it has passed; how many.
pub fn resume_expired() -> Result<i64> {
    let changed = sql::execute(
        "WITH expired AS ( \
             SELECT id FROM whaply.sessions WHERE is_paused AND paused_until <= now() \
              ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) \
         UPDATE whaply.sessions s \
            SET is_paused = false, pause_reason = NULL, paused_until = NULL, updated_at = clock_timestamp() \
           FROM expired WHERE s.id = expired.id",
        &[],
    )?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}
