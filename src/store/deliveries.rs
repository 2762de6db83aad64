//! Table `deliveries`: the WhatsApp messages that go out. The commit of `sending` is the point of
//! no return; the result of a call is written by (delivery, attempt) whatever became of its reply.

use chrono::{DateTime, Utc};

use super::Chat;
use super::chat_aliases::names_of_chat;
use super::shares::{Bounds, fair_shares, may_begin};
use super::sql::{self, Row, went_through_evolution};
use crate::conversation::Sender;
use crate::error::{Error, Result};
use crate::server_log;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of an answer: obeys pauses.
    Reply,
    /// The tenant's words for a failure: cancelled by a takeover only.
    Fallback,
    /// `send_message`: always sent.
    Operator,
}

impl Kind {
    /// Who speaks in it.
    pub fn speaker(self) -> Sender {
        match self {
            Self::Operator => Sender::Operator,
            Self::Reply | Self::Fallback => Sender::Assistant,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Fallback => "fallback",
            Self::Operator => "operator",
        }
    }

    fn from_column(text: &str) -> Self {
        match text {
            "operator" => Self::Operator,
            "fallback" => Self::Fallback,
            _ => Self::Reply,
        }
    }
}

/// A look may read many pages; those of one tenant must not take every thread.
const LOOKUPS_OF_A_TENANT: i64 = 4;

/// How a delivery ended without being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    Cancelled,
    Failed,
}

/// An outgoing message.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: i64,
    pub chat: Chat,
    pub reply_id: Option<i64>,
    pub kind: Kind,
    pub part: i32,
    pub text: String,
    pub attempt: i32,
    pub deferrals: i32,
    pub lookups: i32,
    pub attempted_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// When it is sent, or looked for where its end is not known.
    pub due_at: Option<DateTime<Utc>>,
}

/// The columns that [`read`] reads.
macro_rules! delivery_columns {
    ($of:literal) => {
        $crate::store::sql::columns_of!(
            $of: "id", "tenant_id", "chat_id::text", "reply_id", "kind", "part", "text",
                "attempt", "deferrals", "lookups", "attempted_at", "created_at", "due_at"
        )
    };
}
pub(super) use delivery_columns;

pub(super) fn read(row: &Row<'_, '_>) -> Result<Delivery> {
    Ok(Delivery {
        id: row.get(1)?,
        chat: Chat { tenant_id: row.get(2)?, chat_id: row.get(3)? },
        reply_id: row.find(4)?,
        kind: Kind::from_column(&row.get::<String>(5)?),
        part: row.get(6)?,
        text: row.get(7)?,
        attempt: row.get(8)?,
        deferrals: row.get(9)?,
        lookups: row.get(10)?,
        attempted_at: row.find_time(11)?,
        created_at: row.time(12)?,
        due_at: row.find_time(13)?,
    })
}

/// Stores an outgoing message; the worker sends it.
pub fn add(chat: &Chat, reply_id: Option<i64>, kind: Kind, part: i32, text: &str) -> Result<i64> {
    let id = sql::query_one(
        "INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, part, text, due_at) \
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) RETURNING id",
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reply_id.into(),
            kind.as_str().into(),
            part.into(),
            text.into(),
        ],
        |row| row.get(1),
    )?;
    id.ok_or_else(|| Error::Internal("INSERT INTO deliveries returned no id".to_owned()))
}

/// The chats whose next delivery may be sent now: due, nothing in flight or undecided before it, the
/// tenant at home here with an open line, at most `max_in_flight` of each; where the line is closed
/// those whose time is over, to be given up, but never what an operator wrote. Locks their sessions;
/// what somebody else holds is passed over before the limit counts.
pub fn due(limit: i64, bounds: Bounds<'_>) -> Result<Vec<i64>> {
    const MAY_BEGIN: &str = fair_shares!(
        table: "whaply.deliveries",
        waiting: "pending",
        in_flight: "sending",
        may_begin: "(line.is_open OR (q.kind <> 'operator' AND q.created_at + line.expiry < clock_timestamp())) \
                AND NOT EXISTS (SELECT FROM whaply.deliveries o \
                                 WHERE o.tenant_id = q.tenant_id AND o.chat_id = q.chat_id \
                                   AND o.state IN ('pending', 'sending', 'uncertain') \
                                   AND (o.state <> 'pending' OR (o.id < q.id AND line.is_open)))"
    );
    may_begin(MAY_BEGIN, limit, bounds, bounds.at_full_gateways, bounds.refused_deliveries)
}

/// The deliveries of unknown end that can be decided now: by a look into Evolution's store that is
/// due, a few of each tenant, or by an echo that has come. While the line is closed a message may
/// still wait inside Evolution, so that its absence would prove nothing. Locks nothing.
pub fn due_for_lookup(limit: i64, bounds: Bounds<'_>) -> Result<Vec<i64>> {
    sql::query_by_index(
        concat!(
            "SELECT ranked.id \
           FROM (SELECT d.id, d.tenant_id, d.due_at, \
                        row_number() OVER (PARTITION BY d.tenant_id ORDER BY d.due_at, d.id) AS place \
                   FROM whaply.deliveries d \
                  WHERE d.state = 'uncertain' AND d.id <> ALL ($4) \
                    AND (d.due_at <= clock_timestamp() OR EXISTS ( \
                         SELECT FROM whaply.processed_events e \
                           JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
                          WHERE e.tenant_id = d.tenant_id AND e.action_taken = 'pending_echo' AND m.text = d.text AND ",
            went_through_evolution!(),
            "))) AS ranked \
           JOIN whaply.tenants t ON t.id = ranked.tenant_id \
          WHERE t.home = whaply.home_id() AND coalesce(t.connection_state, 'open') = 'open' \
            AND ranked.place <= $2 AND t.id <> ALL ($3) \
          ORDER BY ranked.due_at, ranked.id LIMIT $1"
        ),
        &[
            limit.into(),
            LOOKUPS_OF_A_TENANT.into(),
            bounds.at_full_gateways.to_vec().into(),
            bounds.refused_deliveries.to_vec().into(),
        ],
        |row| row.get(1),
    )
}

/// sending -> pending: it did not leave, and is tried again at `due_at`.
pub fn try_again(id: i64, due_at: DateTime<Utc>, deferred: bool, error: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.deliveries SET state = 'pending', due_at = $2, deferrals = deferrals + $3, error = $4 \
          WHERE id = $1",
        &[id.into(), sql::time(due_at).into(), i32::from(deferred).into(), error.into()],
    )?;
    Ok(())
}

/// -> uncertain: Evolution is asked at `look_at` whether it was sent.
pub fn uncertain(id: i64, look_at: DateTime<Utc>, error: &str) -> Result<()> {
    let whose = sql::query_one(
        "UPDATE whaply.deliveries d SET state = 'uncertain', due_at = $2, error = $3 WHERE id = $1 \
         RETURNING d.tenant_id, (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = d.tenant_id)",
        &[id.into(), sql::time(look_at).into(), error.into()],
        |row| Ok((row.get::<i32>(1)?, row.get::<String>(2)?)),
    )?;
    say(id, whose, "uncertain", error);
    Ok(())
}

/// A look into Evolution's store found nothing: once more at `look_at`.
pub fn looked(id: i64, look_at: DateTime<Utc>, counted: bool) -> Result<()> {
    sql::execute(
        "UPDATE whaply.deliveries SET lookups = lookups + $3, due_at = $2 WHERE id = $1 AND state = 'uncertain'",
        &[id.into(), sql::time(look_at).into(), i32::from(counted).into()],
    )?;
    Ok(())
}

/// Ends a delivery that will not be sent.
pub fn end(id: i64, how: NotSent, error: &str) -> Result<()> {
    let state = match how {
        NotSent::Cancelled => "cancelled",
        NotSent::Failed => "failed",
    };
    let whose = sql::query_one(
        "UPDATE whaply.deliveries d SET state = $2, error = $3, due_at = NULL, finished_at = clock_timestamp() \
          WHERE id = $1 \
         RETURNING d.tenant_id, (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = d.tenant_id)",
        &[id.into(), state.into(), error.into()],
        |row| Ok((row.get::<i32>(1)?, row.get::<String>(2)?)),
    )?;
    if how == NotSent::Failed {
        say(id, whose, state, error);
    }
    Ok(())
}

fn say(id: i64, whose: Option<(i32, String)>, state: &str, error: &str) {
    if let Some((tenant_id, instance_name)) = whose {
        let what = format!("delivery {id}: {state}: {}", server_log::own_words(error));
        server_log::tenant_changed(tenant_id, &instance_name, &what);
    }
}

/// Cancels what has not left in a chat, but for what an operator wrote; `fallback` too only where a
/// human took over. How many.
pub fn cancel_pending(chat: &Chat, fallback_too: bool, why: &str) -> Result<usize> {
    sql::execute(
        "UPDATE whaply.deliveries SET state = 'cancelled', error = $4, due_at = NULL, finished_at = clock_timestamp() \
          WHERE tenant_id = $1 AND chat_id = $2 AND state = 'pending' \
            AND (kind = 'reply' OR (kind = 'fallback' AND $3))",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), fallback_too.into(), why.into()],
    )
}

/// Cancels what has not left of one reply.
pub fn cancel_of_reply(reply_id: i64, why: &str) -> Result<usize> {
    sql::execute(
        "UPDATE whaply.deliveries SET state = 'cancelled', error = $2, due_at = NULL, finished_at = clock_timestamp() \
          WHERE reply_id = $1 AND state = 'pending'",
        &[reply_id.into(), why.into()],
    )
}

/// Whether the customer has a part of this reply, or may have.
pub fn may_have_left(reply_id: i64) -> Result<bool> {
    Ok(sql::query_one(
        "SELECT 1 FROM whaply.deliveries WHERE reply_id = $1 AND state IN ('sending', 'uncertain', 'sent') LIMIT 1",
        &[reply_id.into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// The messages of a reply go on in the chat that its own became one with.
pub fn move_to(reply_id: i64, chat: &Chat) -> Result<()> {
    sql::execute(
        "UPDATE whaply.deliveries SET chat_id = $2 WHERE reply_id = $1",
        &[reply_id.into(), chat.chat_id.as_str().into()],
    )?;
    Ok(())
}

/// Whether a delivery of the tenant has this message id: then the message is ours.
pub fn by_message_id(tenant_id: i32, message_id: &str) -> Result<bool> {
    Ok(sql::query_one(
        "SELECT 1 FROM whaply.deliveries WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// Whether a call of ours has not ended: in this chat under any of its names, or anywhere in the
/// tenant (None).
pub fn in_flight(tenant_id: i32, chat_id: Option<&str>) -> Result<bool> {
    Ok(sql::query_one(
        "SELECT 1 FROM whaply.deliveries d \
          WHERE d.tenant_id = $1 AND d.state IN ('sending', 'uncertain') \
            AND ($2 IS NULL OR d.chat_id = $2 OR EXISTS ( \
                 SELECT FROM whaply.chat_aliases a \
                  WHERE a.tenant_id = $1 AND a.jid = d.chat_id AND a.chat_id = $2)) LIMIT 1",
        &[tenant_id.into(), chat_id.map(str::to_owned).into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// Which of these message ids a look into Evolution's store must not take for the delivery in
/// question: those of other deliveries, and those the owner typed, perhaps in the same words. What
/// was typed comes by messages.upsert alone, and not as a gateway reports its own sends.
pub fn taken_ids(tenant_id: i32, message_ids: &[String]) -> Result<Vec<String>> {
    sql::query(
        concat!(
            "SELECT message_id::text FROM whaply.deliveries WHERE tenant_id = $1 AND message_id = ANY ($2) \
          UNION ALL \
         SELECT e.message_id::text FROM whaply.processed_events e \
           LEFT JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
          WHERE e.tenant_id = $1 AND e.message_id = ANY ($2) \
          GROUP BY e.message_id \
         HAVING bool_or(e.event_type = 'messages.upsert') AND NOT coalesce(bool_or(",
            went_through_evolution!(),
            "), false)"
        ),
        &[tenant_id.into(), message_ids.to_vec().into()],
        |row| row.get(1),
    )
}

/// The id of the last message of ours in a chat, under any of its names, that Evolution confirmed.
pub fn last_confirmed(chat: &Chat) -> Result<Option<String>> {
    sql::query_one(
        concat!(
            "SELECT message_id::text FROM whaply.deliveries \
          WHERE tenant_id = $1 AND state = 'sent' AND message_id IS NOT NULL \
            AND chat_id = ANY ",
            names_of_chat!(),
            " ORDER BY id DESC LIMIT 1"
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into()],
        |row| row.get(1),
    )
}

/// When the next delivery of this database is due, or the next look at an uncertain one; where the
/// line is closed, when the next one is given up. One that waits behind another is woken by the end
/// of that one.
pub fn next_due_at(bounds: Bounds<'_>) -> Result<Option<DateTime<Utc>>> {
    let next = sql::query_by_index(
        "SELECT min(CASE WHEN line.is_open THEN d.due_at \
                         ELSE greatest(d.due_at, d.created_at + make_interval(secs => coalesce( \
                                  extract(epoch FROM t.reply_expiry)::float8, $1))) END) \
           FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id, \
        LATERAL (SELECT coalesce(t.connection_state, 'open') = 'open' AS is_open) AS line \
          WHERE t.home = whaply.home_id() AND t.id <> ALL ($2) \
            AND d.state IN ('pending', 'uncertain') AND d.id <> ALL ($3) \
            AND (line.is_open OR (d.state = 'pending' AND d.kind <> 'operator')) \
            AND NOT EXISTS (SELECT FROM whaply.deliveries o \
                             WHERE o.tenant_id = d.tenant_id AND o.chat_id = d.chat_id AND o.id <> d.id \
                               AND o.state IN ('pending', 'sending', 'uncertain') \
                               AND (o.state <> 'pending' OR (o.id < d.id AND line.is_open)))",
        &[
            sql::seconds(bounds.reply_expiry).into(),
            bounds.at_full_gateways.to_vec().into(),
            bounds.refused_deliveries.to_vec().into(),
        ],
        |row| row.find_time(1),
    )?;
    Ok(next.into_iter().next().flatten())
}
