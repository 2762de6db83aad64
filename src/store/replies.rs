//! Table `replies`: the turns of the assistant; a queue while they are open, the record afterwards.
//! Every change of state happens under the lock of the session.

use chrono::{DateTime, Utc};
use pgrx::datum::TimestampWithTimeZone;

use super::Chat;
use super::shares::{Bounds, fair_shares, may_begin};
use super::sql::{self, Row};
use crate::conversation::Action;
use crate::error::Result;
use crate::server_log;
use crate::tallies::{self, ReplyEnd};

/// Where an open reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenState {
    Waiting,
    Generating,
    Sending,
}

/// How a reply ends that is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Drafted,
    Superseded,
    Cancelled,
    Failed,
}

impl From<End> for ReplyEnd {
    fn from(end: End) -> Self {
        match end {
            End::Drafted => Self::Drafted,
            End::Superseded => Self::Superseded,
            End::Cancelled => Self::Cancelled,
            End::Failed => Self::Failed,
        }
    }
}

/// An open reply. `wanted` counts what the customer has asked, `seen` what the claim has read.
#[derive(Clone, Debug)]
pub struct Reply {
    pub id: i64,
    pub chat: Chat,
    pub state: OpenState,
    pub attempt: i32,
    pub deferrals: i32,
    pub requeues: i32,
    pub wanted: i32,
    pub seen: i32,
    /// The time of its first question: where to look for the others.
    pub first_sent_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
}

/// The columns that [`read`] reads.
macro_rules! reply_columns {
    ($of:literal) => {
        $crate::store::sql::columns_of!(
            $of: "id", "tenant_id", "chat_id::text", "state", "attempt", "deferrals", "requeues",
                "wanted", "seen", "first_sent_at", "created_at"
        )
    };
}
pub(super) use reply_columns;

pub(super) fn read(row: &Row<'_, '_>) -> Result<Reply> {
    Ok(Reply {
        id: row.get(1)?,
        chat: Chat { tenant_id: row.get(2)?, chat_id: row.get(3)? },
        state: match row.get::<String>(4)?.as_str() {
            "waiting" => OpenState::Waiting,
            "generating" => OpenState::Generating,
            _ => OpenState::Sending,
        },
        attempt: row.get(5)?,
        deferrals: row.get(6)?,
        requeues: row.get(7)?,
        wanted: row.get(8)?,
        seen: row.get(9)?,
        first_sent_at: row.time(10)?,
        created_at: row.time(11)?,
    })
}

/// The open reply of a chat. The caller holds the session's lock, so that it stays what it is.
pub fn open_in(chat: &Chat) -> Result<Option<Reply>> {
    sql::query_one(
        concat!(
            "SELECT ",
            reply_columns!(""),
            " FROM whaply.replies \
              WHERE tenant_id = $1 AND chat_id = $2 AND state IN ('waiting', 'generating', 'sending')"
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        read,
    )
}

/// An open reply by its id.
pub fn open_by_id(id: i64) -> Result<Option<Reply>> {
    sql::query_one(
        concat!(
            "SELECT ",
            reply_columns!(""),
            " FROM whaply.replies WHERE id = $1 AND state IN ('waiting', 'generating', 'sending')"
        ),
        &[id.into()],
        read,
    )
}

/// A question of an open reply was edited or deleted: an answer to its old text is stale.
pub fn question_changed(chat: &Chat) -> Result<bool> {
    let changed = sql::execute(
        "UPDATE whaply.replies SET wanted = wanted + 1 \
          WHERE tenant_id = $1 AND chat_id = $2 AND state IN ('waiting', 'generating', 'sending')",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(changed > 0)
}

/// The ids of replies that may be generated now: due, of tenants that are at home here and whose
/// line is open, at most `max_in_flight` of each; where the line is closed those whose time is over,
/// to be given up. Locks their sessions; what somebody else holds is passed over before the limit
/// counts.
pub fn due(limit: i64, bounds: Bounds<'_>) -> Result<Vec<i64>> {
    const MAY_BEGIN: &str = fair_shares!(
        table: "whaply.replies",
        waiting: "waiting",
        in_flight: "generating",
        may_begin: "line.is_open OR q.created_at + line.expiry < clock_timestamp()"
    );
    may_begin(MAY_BEGIN, limit, bounds, bounds.cooling, bounds.refused_replies)
}

/// Why a generating reply goes back to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// The call failed: it has cost an attempt.
    Failed,
    /// The provider asked to wait: the attempt does not count.
    Deferred,
    /// The customer wrote meanwhile: the attempt does not count.
    Stale,
}

/// generating -> waiting.
pub fn requeue(id: i64, why: Requeue, due_at: DateTime<Utc>, error: Option<&str>) -> Result<()> {
    let counts = |reason| i32::from(why == reason);
    sql::execute(
        "UPDATE whaply.replies \
            SET state = 'waiting', due_at = $2, lease_until = NULL, error = coalesce($3, error), \
                deferrals = deferrals + $4, requeues = requeues + $5 \
          WHERE id = $1",
        &[
            id.into(),
            sql::time(due_at).into(),
            error.map(str::to_owned).into(),
            counts(Requeue::Deferred).into(),
            counts(Requeue::Stale).into(),
        ],
    )?;
    Ok(())
}

/// sending -> waiting, before anything was sent: the answer in hand is stale.
pub fn take_back(id: i64, due_at: DateTime<Utc>) -> Result<()> {
    sql::execute(
        "UPDATE whaply.replies \
            SET state = 'waiting', due_at = $2, text = NULL, answered_at = NULL, requeues = requeues + 1 \
          WHERE id = $1",
        &[id.into(), sql::time(due_at).into()],
    )?;
    Ok(())
}

/// An open reply goes on in the chat that its own became one with. That chat must have none open.
pub fn move_to(id: i64, chat: &Chat) -> Result<()> {
    sql::execute(
        "UPDATE whaply.replies SET chat_id = $2 WHERE id = $1",
        &[id.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// Ends an open reply that is not sent.
pub fn finish(id: i64, end: End, error: Option<&str>) -> Result<()> {
    let end = ReplyEnd::from(end);
    let ended = sql::query_one(
        "UPDATE whaply.replies r \
            SET state = $2, error = coalesce($3, error), lease_until = NULL, finished_at = clock_timestamp() \
          WHERE id = $1 AND state IN ('waiting', 'generating', 'sending') \
         RETURNING r.tenant_id, (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = r.tenant_id)",
        &[id.into(), end.as_str().into(), error.map(str::to_owned).into()],
        |row| Ok((row.get::<i32>(1)?, row.get::<String>(2)?)),
    )?;
    let Some((tenant_id, instance_name)) = ended else { return Ok(()) };
    tallies::replies_end(end, 1);
    if end == ReplyEnd::Failed {
        let why = server_log::own_words(error.unwrap_or("its error says why"));
        let what = format!("reply {id}: failed: {why}");
        server_log::tenant_changed(tenant_id, &instance_name, &what);
    }
    Ok(())
}

/// The chat of a failed reply. None: there is no failed reply of this id.
pub fn find_failed(id: i64) -> Result<Option<Chat>> {
    sql::query_one(
        "SELECT tenant_id, chat_id::text FROM whaply.replies WHERE id = $1 AND state = 'failed'",
        &[id.into()],
        |row| Ok(Chat { tenant_id: row.get(1)?, chat_id: row.get(2)? }),
    )
}

/// Failed replies of a tenant since a time, oldest first.
pub fn failed_since(tenant_id: i32, since: TimestampWithTimeZone) -> Result<Vec<i64>> {
    sql::query(
        "SELECT id FROM whaply.replies WHERE tenant_id = $1 AND state = 'failed' AND finished_at >= $2 ORDER BY id",
        &[tenant_id.into(), since.into()],
        |row| row.get(1),
    )
}

/// failed -> waiting, as if it had never been tried, in the chat that it belongs to today.
pub fn reopen(id: i64, chat: &Chat, due_at: DateTime<Utc>) -> Result<bool> {
    let changed = sql::execute(
        "UPDATE whaply.replies r \
            SET state = 'waiting', due_at = $2, attempt = 0, deferrals = 0, requeues = 0, error = NULL, text = NULL, \
                answered_at = NULL, finished_at = NULL, created_at = clock_timestamp(), chat_id = $3 \
          WHERE id = $1 AND state = 'failed' \
            AND NOT EXISTS (SELECT FROM whaply.replies o WHERE o.tenant_id = r.tenant_id AND o.chat_id = $3 \
                               AND o.state IN ('waiting', 'generating', 'sending'))",
        &[id.into(), sql::time(due_at).into(), chat.chat_id.as_str().into()],
    )?;
    Ok(changed > 0)
}

/// The questions of a reopened reply are open again.
pub fn reopen_questions(id: i64) -> Result<()> {
    failed_questions_become(id, Action::AiQueued)
}

fn failed_questions_become(id: i64, action: Action) -> Result<()> {
    sql::execute(
        "UPDATE whaply.processed_events e SET action_taken = $2 \
           FROM whaply.replies r, whaply.messages m \
          WHERE r.id = $1 AND m.tenant_id = r.tenant_id AND m.reply_id = r.id AND m.sender = 'customer' \
            AND m.sent_at >= r.first_sent_at AND e.tenant_id = m.tenant_id AND e.message_id = m.message_id \
            AND e.event_type = 'messages.upsert' AND e.action_taken = 'ai_failed'",
        &[id.into(), action.as_str().into()],
    )?;
    Ok(())
}

/// A reply failed only because nobody could tell that its last message was sent, and it was: all of
/// it is out, and its questions are answered. Whether that is so. Where the customer had written once
/// more, it stays with the human: what no answer has read must not count as answered.
pub fn was_sent_after_all(id: i64) -> Result<bool> {
    let sent = sql::execute(
        "UPDATE whaply.replies r SET state = 'sent', error = NULL \
          WHERE id = $1 AND state = 'failed' AND wanted <= seen \
            AND NOT EXISTS (SELECT FROM whaply.deliveries d \
                             WHERE d.reply_id = r.id AND d.kind = 'reply' AND d.state <> 'sent')",
        &[id.into()],
    )?;
    if sent > 0 {
        failed_questions_become(id, Action::AiReplied)?;
    }
    Ok(sent > 0)
}

/// When the next reply is due that this database may generate, or give up where the line is closed, if
/// any waits. One that waits for another of its tenant to end is woken by that.
pub fn next_due_at(bounds: Bounds<'_>) -> Result<Option<DateTime<Utc>>> {
    // The first in the order of the queue that may be taken ends the look: thousands may wait.
    let next = sql::query_by_index(
        "WITH full_tenants AS MATERIALIZED ( \
             SELECT g.tenant_id FROM whaply.replies g JOIN whaply.tenants t ON t.id = g.tenant_id \
              WHERE g.state = 'generating' \
              GROUP BY g.tenant_id, t.max_in_flight HAVING count(*) >= coalesce(t.max_in_flight, $1)) \
         SELECT least( \
             (SELECT r.due_at FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id \
               WHERE r.state = 'waiting' AND r.id <> ALL ($4) AND t.home = whaply.home_id() AND t.id <> ALL ($3) \
                 AND coalesce(t.connection_state, 'open') = 'open' \
                 AND t.id <> ALL (ARRAY(SELECT f.tenant_id FROM full_tenants f)) \
               ORDER BY r.due_at LIMIT 1), \
             (SELECT min(greatest(r.due_at, r.created_at + make_interval(secs => coalesce( \
                             extract(epoch FROM t.reply_expiry)::float8, $2)))) \
                FROM whaply.tenants t \
                JOIN whaply.replies r ON r.tenant_id = t.id AND r.state = 'waiting' AND r.id <> ALL ($4) \
               WHERE t.connection_state <> 'open' AND t.home = whaply.home_id() AND t.id <> ALL ($3) \
                 AND t.id <> ALL (ARRAY(SELECT f.tenant_id FROM full_tenants f))))",
        &[
            bounds.max_in_flight.into(),
            sql::seconds(bounds.reply_expiry).into(),
            bounds.cooling.to_vec().into(),
            bounds.refused_replies.to_vec().into(),
        ],
        |row| row.find_time(1),
    )?;
    Ok(next.into_iter().next().flatten())
}
