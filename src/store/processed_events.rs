//! Table `processed_events`: one row for each (tenant, message, event) that has acted.

use chrono::{DateTime, Utc};

use super::Chat;
use super::arrivals::Arriving;
use super::chat_aliases::names_of_chat;
use super::sql::{self, Row, per_row, went_through_evolution};
use crate::conversation::Action;
use crate::error::Result;

/// An event that has acted before.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was done with it, or what became of that since.
    pub action: String,
    pub chat_id: Option<String>,
    /// The reply that answers it, from the moment it is queued.
    pub reply_id: Option<i64>,
}

impl Seen {
    /// Another transaction was first with the same action, of which no more is known here.
    pub fn nothing_more(action: Action) -> Self {
        Self { action: action.as_str().to_owned(), chat_id: None, reply_id: None }
    }
}

/// What a [`Seen`] is read from, of the event that three expressions name.
macro_rules! select_seen {
    ($tenant_id:literal, $message_id:literal, $event:literal) => {
        concat!(
            "SELECT coalesce(e.action_taken, '')::text AS action, nullif(m.chat_id, '')::text AS chat, \
                    coalesce(m.reply_id, CASE WHEN e.action_taken = 'ai_queued' THEN ( \
                        SELECT r.id FROM whaply.replies r \
                         WHERE r.tenant_id = m.tenant_id AND r.chat_id = m.chat_id \
                           AND r.state IN ('waiting', 'generating', 'sending')) END) AS reply \
               FROM whaply.processed_events e \
               LEFT JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
              WHERE e.tenant_id = ",
            $tenant_id,
            " AND e.message_id = ",
            $message_id,
            " AND e.event_type = ",
            $event
        )
    };
}

fn read_seen(row: &Row<'_, '_>) -> Result<Seen> {
    Ok(Seen { action: row.get(1)?, chat_id: row.find(2)?, reply_id: row.find(3)? })
}

/// What was done with this event before, if it was seen.
pub fn seen(tenant_id: i32, message_id: &str, event: &str) -> Result<Option<Seen>> {
    let seen = sql::query_by_index(
        select_seen!("$1", "$2", "$3"),
        &[tenant_id.into(), message_id.into(), event.into()],
        read_seen,
    )?;
    Ok(seen.into_iter().next())
}

/// [`seen`] of messages that were, each with its place among them.
pub fn seen_all(arriving: &[Arriving<'_>]) -> Result<Vec<(usize, Seen)>> {
    sql::query_by_index(
        concat!(
            "SELECT seen.*, n.place FROM unnest($1, $2, $3) WITH ORDINALITY AS n (tenant, message, event, place) \
              CROSS JOIN LATERAL (",
            select_seen!("n.tenant", "n.message", "n.event"),
            ") AS seen"
        ),
        &[
            sql::array(arriving.iter().map(|message| message.tenant_id)),
            sql::array(arriving.iter().map(|message| message.message_id)),
            sql::array(arriving.iter().map(|message| message.event)),
        ],
        |row| {
            let place = usize::try_from(row.get::<i64>(4)?).unwrap_or_default().saturating_sub(1);
            Ok((place, read_seen(row)?))
        },
    )
}

/// An event that has acted, and what was done with it.
pub struct Done<'a> {
    pub tenant_id: i32,
    pub message_id: &'a str,
    pub event: &'a str,
    pub action: Action,
}

/// Records what is done with an event; false if another transaction was first.
pub fn record(tenant_id: i32, message_id: &str, event: &str, action: Action) -> Result<bool> {
    let recorded = record_all(&[Done { tenant_id, message_id, event, action }])?;
    Ok(recorded.first().copied().unwrap_or(false))
}

/// Records what is done with events, each once: for each whether it was, or another transaction was
/// first.
pub fn record_all(done: &[Done<'_>]) -> Result<Vec<bool>> {
    let statement = per_row!(
        "INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken) SELECT n.* FROM ",
        ["$1" "$2" "$3" "$4"],
        " AS n (tenant_id, message_id, event_type, action_taken) \
         ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING \
         RETURNING tenant_id, message_id::text, event_type::text"
    );
    let recorded = sql::query_by_index(
        statement.of(done),
        &[
            sql::column(done, |done| done.tenant_id),
            sql::column(done, |done| done.message_id),
            sql::column(done, |done| done.event),
            sql::column(done, |done| done.action.as_str()),
        ],
        |row| Ok((row.get::<i32>(1)?, row.get::<String>(2)?, row.get::<String>(3)?)),
    )?;
    let asked =
        done.iter().map(|done| (done.tenant_id, done.message_id.to_owned(), done.event.to_owned()));
    Ok(sql::which(asked, &recorded))
}

/// Whether a message came before and has had its effect, though it may not be stored any more: it was
/// archived, or forgotten.
pub fn was_taken(tenant_id: i32, message_id: &str) -> Result<bool> {
    let found = sql::query_one(
        "SELECT EXISTS (SELECT FROM whaply.processed_events WHERE tenant_id = $1 AND message_id = $2 \
                           AND event_type IN ('messages.upsert', 'send.message'))",
        &[tenant_id.into(), message_id.into()],
        |row| row.get(1),
    )?;
    Ok(found.unwrap_or(false))
}

/// Changes the record of an event, or makes it: for edits, of which the newest counts.
pub fn overwrite(tenant_id: i32, message_id: &str, event: &str, action: Action) -> Result<()> {
    sql::execute(
        "INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken) \
         VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, message_id, event_type) DO UPDATE SET action_taken = excluded.action_taken",
        &[tenant_id.into(), message_id.into(), event.into(), action.as_str().into()],
    )?;
    Ok(())
}

/// An undecided message: what was stored of its payload.
pub struct PendingEcho {
    pub raw: String,
}

/// The chats with undecided messages and no call in flight any more, under any of their names. A
/// message to somebody without a session waits for every call of its tenant; its chat is named as the
/// message names it. Each after its first such event, and but for those whose first is one of these.
pub fn chats_with_decidable_echoes(but_for: &[i64]) -> Result<Vec<(i64, Chat)>> {
    sql::query(
        "SELECT min(e.id)::bigint, e.tenant_id, coalesce(a.chat_id, m.chat_id)::text \
           FROM whaply.processed_events e \
           JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
           LEFT JOIN whaply.chat_aliases a ON a.tenant_id = m.tenant_id AND a.jid = m.chat_id \
          WHERE e.action_taken = 'pending_echo' \
            AND NOT EXISTS ( \
                SELECT FROM whaply.deliveries d \
                  LEFT JOIN whaply.chat_aliases n ON n.tenant_id = d.tenant_id AND n.jid = d.chat_id \
                 WHERE d.tenant_id = e.tenant_id AND d.state IN ('sending', 'uncertain') \
                   AND (coalesce(n.chat_id, d.chat_id) = coalesce(a.chat_id, m.chat_id) \
                        OR NOT EXISTS (SELECT FROM whaply.sessions s \
                                        WHERE s.tenant_id = m.tenant_id \
                                          AND s.chat_id = coalesce(a.chat_id, m.chat_id)))) \
          GROUP BY 2, 3 HAVING min(e.id) <> ALL ($1) ORDER BY 2, 3",
        &[but_for.to_vec().into()],
        |row| Ok((row.get(1)?, Chat { tenant_id: row.get(2)?, chat_id: row.get(3)? })),
    )
}

/// Which of these events are those of undecided messages, with their tenants.
pub fn are_pending_echoes(ids: &[i64]) -> Result<Vec<(i64, i32)>> {
    sql::query_by_index(
        "SELECT e.id::bigint, e.tenant_id FROM unnest($1) AS asked (id) \
           JOIN whaply.processed_events e ON e.id = asked.id WHERE e.action_taken = 'pending_echo'",
        &[ids.to_vec().into()],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}

/// The messages of a chat whose author could not be known while a send was in flight, oldest first.
pub fn pending_echoes(chat: &Chat) -> Result<Vec<PendingEcho>> {
    sql::query(
        concat!(
            "SELECT m.raw::text FROM whaply.messages m \
          WHERE m.tenant_id = $1 \
            AND m.message_id = ANY (ARRAY(SELECT e.message_id FROM whaply.processed_events e \
                                           WHERE e.tenant_id = $1 AND e.action_taken = 'pending_echo')) \
            AND m.chat_id = ANY ",
            names_of_chat!(),
            " ORDER BY m.sent_at, m.id"
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| Ok(PendingEcho { raw: row.find(1)?.unwrap_or_default() }),
    )
}

/// The id of an undecided message that is the echo of this text, sent through Evolution not before
/// a time. Asked only about a call that ended without an id, when the text is all there is.
pub fn echo_of(chat: &Chat, text: &str, not_before: DateTime<Utc>) -> Result<Option<String>> {
    sql::query_one(
        concat!(
            "SELECT m.message_id::text \
           FROM whaply.processed_events e \
           JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
          WHERE e.tenant_id = $1 AND e.action_taken = 'pending_echo' AND m.text = $3 AND m.sent_at >= $4 AND ",
            went_through_evolution!(),
            " \
            AND (m.chat_id = ANY ",
            names_of_chat!(),
            " OR NOT EXISTS ( \
                   SELECT FROM whaply.sessions s WHERE s.tenant_id = $1 AND s.chat_id = m.chat_id)) \
          ORDER BY m.sent_at, m.id LIMIT 1"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            text.into(),
            sql::time(not_before).into(),
        ],
        |row| row.get(1),
    )
}

/// An undecided message has been decided.
pub fn settle(tenant_id: i32, message_id: &str, action: Action) -> Result<()> {
    sql::execute(
        "UPDATE whaply.processed_events SET action_taken = $3 \
          WHERE tenant_id = $1 AND message_id = $2 AND action_taken = 'pending_echo'",
        &[tenant_id.into(), message_id.into(), action.as_str().into()],
    )?;
    Ok(())
}

/// What one step of the clean-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    pub count: i64,
    /// The last row that was looked at, and whether there may be more to delete behind it.
    pub up_to: i64,
    pub is_behind: bool,
}

/// Looks at so many of the oldest rows behind an id, and deletes those that are older than this many
/// days. Rows that somebody holds are passed over; nobody is waited for.
///
/// By id, which grows with time: of a BRIN index every page that was used twice is as old as its first
/// row for ever. A row entered by hand with a time of before is left to [`delete_older_than`].
pub fn delete_oldest(days: i32, after_id: i64, rows: i64) -> Result<Deleted> {
    let deleted = sql::query_by_index(
        "WITH oldest AS MATERIALIZED ( \
             SELECT id FROM whaply.processed_events WHERE id > $2 ORDER BY id LIMIT $3), \
         deleted AS ( \
             DELETE FROM whaply.processed_events WHERE ctid = ANY (ARRAY( \
                 SELECT e.ctid FROM whaply.processed_events e \
                  WHERE e.id > $2 AND e.id <= (SELECT max(id) FROM oldest) \
                    AND e.processed_at < now() - make_interval(days => $1) \
                    FOR UPDATE SKIP LOCKED)) \
             RETURNING id) \
         SELECT (SELECT count(*) FROM deleted), coalesce((SELECT max(id) FROM oldest), $2)::bigint, \
                (SELECT count(*) FROM oldest)",
        &[days.into(), after_id.into(), rows.into()],
        |row| Ok((row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?)),
    )?;
    let (count, up_to, seen) = deleted.into_iter().next().unwrap_or((0, after_id, 0));
    Ok(Deleted { count, up_to, is_behind: count > 0 && seen >= rows })
}

/// Deletes what is older than this many days, but for rows that somebody holds; how many.
pub fn delete_older_than(days: i32) -> Result<i64> {
    let deleted = sql::execute(
        "DELETE FROM whaply.processed_events WHERE ctid = ANY (ARRAY( \
             SELECT ctid FROM whaply.processed_events \
              WHERE processed_at < now() - make_interval(days => $1) FOR UPDATE SKIP LOCKED))",
        &[days.into()],
    )?;
    Ok(i64::try_from(deleted).unwrap_or(i64::MAX))
}
