//! Table `deliveries`, many at a time: what a round of the worker does to all outgoing messages that
//! are plain, by one statement each. Every statement names its rows by key; none decides anything.

use chrono::{DateTime, Utc};

use super::deliveries::{self, Delivery};
use super::sql;
use crate::error::Result;

/// A part of an answer, to be stored.
pub struct Part {
    pub reply_id: i64,
    pub tenant_id: i32,
    pub chat_id: String,
    pub part: i32,
    pub text: String,
}

/// Stores the parts of answers; the worker sends them.
pub fn add_parts(parts: &[Part]) -> Result<()> {
    sql::execute_by_index(
        "INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, part, text, due_at) \
         SELECT p.tenant_id, p.chat_id, p.reply_id, 'reply', p.part, p.text, clock_timestamp() \
           FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY AS p (tenant_id, chat_id, reply_id, part, text, place) \
          ORDER BY p.place",
        &[
            sql::array(parts.iter().map(|part| part.tenant_id)),
            sql::array(parts.iter().map(|part| part.chat_id.clone())),
            sql::array(parts.iter().map(|part| part.reply_id)),
            sql::array(parts.iter().map(|part| part.part)),
            sql::array(parts.iter().map(|part| part.text.clone())),
        ],
    )?;
    Ok(())
}

/// The columns that `deliveries::read` reads.
macro_rules! delivery {
    () => {
        "d.id, d.tenant_id, d.chat_id::text, d.reply_id, d.kind, d.part, d.text, d.attempt, d.deferrals, d.lookups, \
         d.attempted_at, d.created_at, d.due_at, "
    };
}

/// A delivery that is due, and what may forbid to send it.
pub struct ToSend {
    pub delivery: Delivery,
    /// Paused, whether or not the time of the pause is over by now.
    pub is_paused: bool,
    pub reply_jid: Option<String>,
    /// The chat has another name by now, a call in flight, or a message of unknown author.
    pub is_unusual: bool,
}

/// Those of these deliveries that are pending. The caller has locked their sessions.
pub fn to_send(ids: &[i64]) -> Result<Vec<ToSend>> {
    sql::query_by_index(
        concat!(
            "WITH undecided AS MATERIALIZED ( \
             SELECT DISTINCT m.tenant_id, coalesce(a.chat_id, m.chat_id) AS chat_id FROM whaply.processed_events e \
               JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
               LEFT JOIN whaply.chat_aliases a ON a.tenant_id = m.tenant_id AND a.jid = m.chat_id \
              WHERE e.action_taken = 'pending_echo') \
         SELECT ",
            delivery!(),
            "s.is_paused, s.reply_jid::text, \
                EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = d.tenant_id AND a.jid = d.chat_id) \
             OR EXISTS (SELECT FROM whaply.deliveries o \
                         WHERE o.tenant_id = d.tenant_id AND o.chat_id = d.chat_id \
                           AND o.state IN ('sending', 'uncertain')) \
             OR EXISTS (SELECT FROM whaply.chat_aliases a JOIN whaply.deliveries o \
                            ON o.tenant_id = a.tenant_id AND o.chat_id = a.jid AND o.state IN ('sending', 'uncertain') \
                         WHERE a.tenant_id = d.tenant_id AND a.chat_id = d.chat_id) \
             OR EXISTS (SELECT FROM undecided u WHERE u.tenant_id = d.tenant_id AND u.chat_id = d.chat_id) \
           FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
           JOIN whaply.sessions s ON s.tenant_id = d.tenant_id AND s.chat_id = d.chat_id \
          WHERE d.state = 'pending'"
        ),
        &[ids.to_vec().into()],
        |row| {
            Ok(ToSend {
                delivery: deliveries::read(row)?,
                is_paused: row.get(14)?,
                reply_jid: row.find(15)?,
                is_unusual: row.get(16)?,
            })
        },
    )
}

/// pending -> sending, as `deliveries::begin` does for one.
pub fn begin(ids: &[i64]) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.deliveries d \
            SET state = 'sending', attempt = d.attempt + 1, attempted_at = clock_timestamp(), lookups = 0, error = NULL \
           FROM unnest($1) AS asked (id) WHERE d.id = asked.id",
        &[ids.to_vec().into()],
    )?;
    Ok(())
}

/// Locks the sessions of those of these deliveries whose call has not ended yet; their ids. Whoever is
/// missing has ended, or somebody holds its chat.
pub fn lock_sending(ids: &[i64]) -> Result<Vec<i64>> {
    sql::query_by_index(
        "SELECT d.id FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
           JOIN whaply.sessions s ON s.tenant_id = d.tenant_id AND s.chat_id = d.chat_id \
          WHERE d.state = 'sending' FOR NO KEY UPDATE OF s SKIP LOCKED",
        &[ids.to_vec().into()],
        |row| row.get(1),
    )
}

/// A call that has ended with an id from WhatsApp, and what makes that more than a plain end.
pub struct Taken {
    pub delivery: Delivery,
    /// How many messages of the reply are still to be sent or decided, this one included.
    pub open_of_reply: i64,
    /// The chat has another name by now, or the receiver one that is no name of it, or another delivery
    /// has the id.
    pub is_unusual: bool,
}

/// Those of these deliveries that are being sent, with the message id and the JID that Evolution
/// answered ('' for none). The caller has locked their sessions.
pub fn taken(answers: &[(i64, &str, &str)]) -> Result<Vec<Taken>> {
    sql::query_by_index(
        concat!(
            "SELECT ",
            delivery!(),
            "(SELECT count(*) FROM whaply.deliveries o \
               WHERE o.reply_id = d.reply_id AND o.state IN ('pending', 'sending', 'uncertain')), \
             EXISTS (SELECT FROM whaply.chat_aliases a WHERE a.tenant_id = d.tenant_id AND a.jid = d.chat_id) \
             OR (asked.jid LIKE '%@%' AND asked.jid <> d.chat_id AND NOT EXISTS ( \
                     SELECT FROM whaply.chat_aliases a \
                      WHERE a.tenant_id = d.tenant_id AND a.jid = asked.jid AND a.chat_id = d.chat_id AND a.confirmed)) \
             OR EXISTS (SELECT FROM whaply.deliveries o \
                         WHERE o.tenant_id = d.tenant_id AND o.message_id = asked.message_id) \
           FROM unnest($1, $2, $3) AS asked (id, message_id, jid) JOIN whaply.deliveries d ON d.id = asked.id \
          WHERE d.state = 'sending'"
        ),
        &[
            sql::array(answers.iter().map(|(id, ..)| *id)),
            sql::array(answers.iter().map(|(_, message_id, _)| *message_id)),
            sql::array(answers.iter().map(|(_, _, jid)| *jid)),
        ],
        |row| {
            Ok(Taken {
                delivery: deliveries::read(row)?,
                open_of_reply: row.get(14)?,
                is_unusual: row.get(15)?,
            })
        },
    )
}

/// A part of an answer that WhatsApp took, under this id and at this time.
pub struct Confirmed<'a> {
    pub delivery: &'a Delivery,
    pub message_id: &'a str,
    pub sent_at: DateTime<Utc>,
}

/// Stores the messages of these parts, decides their echoes and ends the deliveries, as
/// `messages::store_own`, `processed_events::settle` and `deliveries::sent` do for one. No two have the
/// same id.
pub fn confirm(confirmed: &[Confirmed<'_>]) -> Result<()> {
    let tenants = || sql::array(confirmed.iter().map(|one| one.delivery.chat.tenant_id));
    let message_ids = || sql::array(confirmed.iter().map(|one| one.message_id));
    sql::execute_by_index(
        "INSERT INTO whaply.messages AS m \
                (tenant_id, chat_id, message_id, from_me, message_type, text, sent_at, sender, reply_id, status) \
         SELECT o.tenant_id, o.chat_id, o.message_id, true, 'conversation', o.text, o.sent_at, 'assistant', o.reply_id, \
                'PENDING' \
           FROM unnest($1, $2, $3, $4, $5, $6) AS o (tenant_id, chat_id, message_id, text, sent_at, reply_id) \
          ORDER BY o.tenant_id, o.message_id \
         ON CONFLICT (tenant_id, message_id) DO UPDATE \
            SET chat_id = excluded.chat_id, sender = excluded.sender, reply_id = excluded.reply_id, \
                text = coalesce(m.text, excluded.text), from_me = true, \
                message_type = CASE WHEN m.sender IS NULL THEN excluded.message_type ELSE m.message_type END, \
                sent_at = CASE WHEN m.sender IS NULL THEN excluded.sent_at ELSE m.sent_at END",
        &[
            tenants(),
            sql::array(confirmed.iter().map(|one| one.delivery.chat.chat_id.clone())),
            message_ids(),
            sql::array(confirmed.iter().map(|one| one.delivery.text.clone())),
            sql::array(confirmed.iter().map(|one| sql::time(one.sent_at))),
            sql::array(confirmed.iter().map(|one| one.delivery.reply_id)),
        ],
    )?;
    sql::execute_by_index(
        "UPDATE whaply.processed_events e SET action_taken = 'own_echo' \
           FROM unnest($1, $2) AS o (tenant_id, message_id) \
          WHERE e.tenant_id = o.tenant_id AND e.message_id = o.message_id AND e.action_taken = 'pending_echo'",
        &[tenants(), message_ids()],
    )?;
    Ok(())
}

/// -> sent. After the replies have been finished: locks are taken in the order of the tables.
pub fn sent(confirmed: &[Confirmed<'_>]) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.deliveries d \
            SET state = 'sent', message_id = o.message_id, error = NULL, due_at = NULL, finished_at = clock_timestamp() \
           FROM unnest($1, $2) AS o (id, message_id) WHERE d.id = o.id AND d.state <> 'sent'",
        &[
            sql::array(confirmed.iter().map(|one| one.delivery.id)),
            sql::array(confirmed.iter().map(|one| one.message_id)),
        ],
    )?;
    Ok(())
}
