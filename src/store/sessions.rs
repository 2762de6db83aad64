//! Table `sessions`: a chat's state. Its row is the lock of the chat.

use chrono::{DateTime, Utc};

use super::Chat;
use super::chat_aliases::names_of_chat;
use super::sql::{self, Row};
use crate::conversation::PauseReason;
use crate::error::Result;
use crate::server_log;

/// A session, read under its lock.
#[derive(Clone, Debug)]
pub struct Session {
    pub chat: Chat,
    /// Paused at this moment: a pause whose time is over counts no more.
    pub is_paused: bool,
    /// The time of the pause is over, but nobody has noted it yet.
    pub pause_is_over: bool,
    pub pause_reason: Option<String>,
    /// Where answers go: the JID the customer wrote from.
    pub reply_jid: Option<String>,
    pub contact_name: Option<String>,
    /// When a human of the business last wrote.
    pub last_human_at: Option<DateTime<Utc>>,
    /// When the owner last gave a command.
    pub steered_at: Option<DateTime<Utc>>,
}

impl Session {
    /// Paused because a human of the business wrote.
    pub fn is_with_a_human(&self) -> bool {
        let takeovers = [PauseReason::HumanTakeover, PauseReason::OtherSender];
        let reason = self.pause_reason.as_deref();
        self.is_paused && takeovers.iter().any(|takeover| reason == Some(takeover.as_str()))
    }
}

pub(super) fn read(row: &Row<'_, '_>) -> Result<Session> {
    read_from(row, 1)
}

/// Reads a session whose first column is this one.
pub(super) fn read_from(row: &Row<'_, '_>, first: usize) -> Result<Session> {
    let (is_paused, pause_is_over) = (row.get::<bool>(first + 2)?, row.get::<bool>(first + 6)?);
    Ok(Session {
        chat: Chat { tenant_id: row.get(first)?, chat_id: row.get(first + 1)? },
        is_paused: is_paused && !pause_is_over,
        pause_is_over,
        pause_reason: row.find(first + 3)?,
        reply_jid: row.find(first + 4)?,
        contact_name: row.find(first + 5)?,
        last_human_at: row.find_time(first + 7)?,
        steered_at: row.find_time(first + 8)?,
    })
}

/// The columns that [`read`] reads; with a prefix where another table has columns of these names.
macro_rules! session_columns {
    () => {
        $crate::store::sessions::session_columns!("")
    };
    ($of:literal) => {
        concat!(
            $crate::store::sql::columns_of!(
                $of: "tenant_id", "chat_id::text", "is_paused", "pause_reason::text", "reply_jid::text",
                    "contact_name", "is_paused"
            ),
            " AND coalesce(",
            $of,
            "paused_until <= clock_timestamp(), false), ",
            $crate::store::sql::columns_of!($of: "last_human_at", "steered_at")
        )
    };
}
pub(super) use session_columns;

/// The session of a chat, and what is done with its row.
macro_rules! select_session {
    ($lock:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2 ",
            $lock
        )
    };
}

/// Locks the session of a chat, waiting for whoever holds it: for callers whose own user waits too.
pub fn lock(chat: &Chat) -> Result<Option<Session>> {
    sql::query_one(
        select_session!("FOR NO KEY UPDATE"),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        read,
    )
}

/// Locks the session unless somebody else holds it. For the worker: one forgotten BEGIN must not
/// halt the other chats. None: it is held, or gone.
pub fn try_lock(chat: &Chat) -> Result<Option<Session>> {
    sql::query_one(
        select_session!("FOR NO KEY UPDATE SKIP LOCKED"),
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

/// Records that a human of the business spoke. A late message moves the time forward, never back.
pub fn human_spoke(chat: &Chat, sent_at: DateTime<Utc>) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions SET last_human_at = greatest(last_human_at, $3), updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), sql::time(sent_at).into()],
    )?;
    Ok(())
}

/// Pauses because a human of the business spoke. A manual pause stays one: it is a hold. One with an
/// end lasts at least until `until`, when the silence of that human would end a takeover.
pub fn pause_by_human(chat: &Chat, reason: PauseReason, until: DateTime<Utc>) -> Result<()> {
    let was_paused = sql::query_one(
        "UPDATE whaply.sessions s \
            SET is_paused = true, pause_reason = CASE WHEN hold.is_timed THEN s.pause_reason ELSE $3 END, \
                paused_until = CASE WHEN hold.is_timed THEN greatest(s.paused_until, $4) END, \
                updated_at = clock_timestamp() \
           FROM (SELECT h.id, h.is_paused AS was_paused, coalesce(h.is_paused AND h.paused_until > clock_timestamp() AND h.pause_reason NOT IN ( \
                            'human_takeover', 'other_sender', 'ai_failed', 'loop_guard'), false) AS is_timed \
                   FROM whaply.sessions h WHERE h.tenant_id = $1 AND h.chat_id = $2) AS hold \
          WHERE s.id = hold.id \
            AND (NOT s.is_paused OR s.pause_reason IS NULL OR s.paused_until IS NOT NULL \
                 OR s.pause_reason IN ('human_takeover', 'other_sender', 'ai_failed', 'loop_guard')) \
         RETURNING hold.was_paused, (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = s.tenant_id)",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reason.as_str().into(),
            sql::time(until).into(),
        ],
        |row| Ok((row.find::<bool>(1)?.unwrap_or(false), row.get::<String>(2)?)),
    )?;
    if let Some((false, instance_name)) = was_paused {
        say_paused(chat, &instance_name, reason.as_str());
    }
    Ok(())
}

/// The owner keeps the chat until a person ends that. A hold with a reason of its own keeps it.
pub fn hold(chat: &Chat) -> Result<()> {
    let held = sql::query_one(
        "UPDATE whaply.sessions \
            SET pause_reason = CASE WHEN is_paused AND paused_until IS NULL \
                                     AND pause_reason NOT IN ('human_takeover', 'other_sender', 'ai_failed', 'loop_guard') \
                                    THEN pause_reason ELSE $3 END, \
                is_paused = true, paused_until = NULL, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 \
         RETURNING (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = tenant_id)",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), PauseReason::Manual.as_str().into()],
        |row| row.get::<String>(1),
    )?;
    if let Some(instance_name) = held {
        say_paused(chat, &instance_name, PauseReason::Manual.as_str());
    }
    Ok(())
}

/// Records that an operator paused: the owner's command of before, which comes late, does not end it.
/// WhatsApp tells times in seconds, so that a command of the same second counts as later.
pub fn steered_by_hand(chat: &Chat) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions \
            SET steered_at = greatest(steered_at, date_trunc('second', clock_timestamp())), \
                updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// Records that the owner gave a command: what was said before it pauses no more.
pub fn steered(chat: &Chat, at: DateTime<Utc>) -> Result<()> {
    sql::execute(
        "UPDATE whaply.sessions SET steered_at = greatest(steered_at, $3), updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), sql::time(at).into()],
    )?;
    Ok(())
}

/// Whether a customer ever wrote in this chat: then its names are a customer's.
pub fn customer_has_written(chat: &Chat) -> Result<bool> {
    let written = sql::query_one(
        "SELECT last_message_at IS NOT NULL FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| row.get(1),
    )?;
    Ok(written.unwrap_or(false))
}

/// What was taken for a human was none: when a human last spoke is told again by the messages, and
/// a takeover without a human in the last `auto_resume_after` ends. Whether it did.
pub fn forget_machine(chat: &Chat, auto_resume_after: chrono::Duration) -> Result<bool> {
    let lifted = sql::query_one(
        concat!(
            "WITH human AS ( \
             SELECT max(m.sent_at) AS spoke_at FROM whaply.messages m \
              WHERE m.tenant_id = $1 AND m.sender IN ('owner', 'other') \
                AND m.chat_id = ANY ",
            names_of_chat!(),
            "), \
         before AS ( \
             SELECT s.id, s.is_paused AND s.pause_reason = 'human_takeover' AND s.paused_until IS NULL \
                    AND coalesce(human.spoke_at < clock_timestamp() - make_interval(secs => $3), true) AS lifts \
               FROM whaply.sessions s, human WHERE s.tenant_id = $1 AND s.chat_id = $2) \
         UPDATE whaply.sessions s \
            SET last_human_at = human.spoke_at, is_paused = s.is_paused AND NOT before.lifts, \
                pause_reason = CASE WHEN before.lifts THEN NULL ELSE s.pause_reason END, \
                updated_at = clock_timestamp() \
           FROM before, human WHERE s.id = before.id \
         RETURNING before.lifts"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            sql::seconds(auto_resume_after).into(),
        ],
        |row| row.get(1),
    )?;
    Ok(lifted.unwrap_or(false))
}

/// A session takes over what the younger session of the same chat knows: its times, and of both
/// pauses the one that lasts longer: a hold, then a human's, then one that ends by itself.
pub fn take_over_state(older: &Chat, younger: &Chat) -> Result<()> {
    sql::execute(
        "WITH both_of_them AS ( \
             SELECT s.*, CASE WHEN NOT s.is_paused THEN 0 WHEN s.paused_until IS NOT NULL THEN 1 \
                              WHEN s.pause_reason IN ('human_takeover', 'other_sender') THEN 2 ELSE 3 END AS lasts \
               FROM whaply.sessions s WHERE s.tenant_id = $1 AND s.chat_id IN ($2, $3)), \
         longest AS (SELECT * FROM both_of_them ORDER BY lasts DESC, paused_until DESC, chat_id = $2 DESC LIMIT 1), \
         newest AS (SELECT max(last_human_at) AS last_human_at, max(last_message_at) AS last_message_at, \
                           max(steered_at) AS steered_at FROM both_of_them) \
         UPDATE whaply.sessions o \
            SET is_paused = l.is_paused, pause_reason = l.pause_reason, paused_until = l.paused_until, \
                last_human_at = n.last_human_at, last_message_at = n.last_message_at, steered_at = n.steered_at, \
                updated_at = clock_timestamp() \
           FROM longest l, newest n WHERE o.tenant_id = $1 AND o.chat_id = $2",
        &[older.tenant_id.into(), older.chat_id.as_str().into(), younger.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// Pauses until a time, or until a person ends it (None).
pub fn pause(chat: &Chat, reason: &str, until: Option<DateTime<Utc>>) -> Result<bool> {
    let changed = sql::query_one(
        "UPDATE whaply.sessions \
            SET is_paused = true, pause_reason = $3, paused_until = $4, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 \
            AND (NOT is_paused OR pause_reason IS DISTINCT FROM $3 OR paused_until IS DISTINCT FROM $4) \
         RETURNING (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = tenant_id)",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reason.into(),
            until.and_then(sql::time).into(),
        ],
        |row| row.get::<String>(1),
    )?;
    if let Some(instance_name) = &changed {
        say_paused(chat, instance_name, reason);
    }
    Ok(changed.is_some())
}

pub fn resume(chat: &Chat) -> Result<bool> {
    let changed = sql::query_one(
        "UPDATE whaply.sessions \
            SET is_paused = false, pause_reason = NULL, paused_until = NULL, updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 AND is_paused \
         RETURNING (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = tenant_id)",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| row.get::<String>(1),
    )?;
    if let Some(instance_name) = &changed {
        let what = format!("chat {}: resumed", chat.chat_id);
        server_log::tenant_changed(chat.tenant_id, instance_name, &what);
    }
    Ok(changed.is_some())
}

fn say_paused(chat: &Chat, instance_name: &str, reason: &str) {
    let what = format!("chat {}: paused: {reason}", chat.chat_id);
    server_log::tenant_changed(chat.tenant_id, instance_name, &what);
}
