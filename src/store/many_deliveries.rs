//! Table `deliveries`, any number at a time: what a round of the worker does to all outgoing messages,
//! by one statement each. Every statement names its rows by key; none decides anything.

use std::collections::HashMap;

use super::Chat;
use super::deliveries::{self, Delivery, delivery_columns};
use super::messages::OwnMessage;
use super::sessions::{self, Session, session_columns};
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

/// Locks the sessions of those of these deliveries that are in one of these states, under the name that
/// their chats had when they were written; their ids. Whoever is missing has ended, or somebody holds it.
pub fn lock(ids: &[i64], states: &[&str]) -> Result<Vec<i64>> {
    sql::query_by_index(
        "SELECT d.id FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
           JOIN whaply.sessions s ON s.tenant_id = d.tenant_id AND s.chat_id = d.chat_id \
          WHERE d.state = ANY ($2) FOR NO KEY UPDATE OF s SKIP LOCKED",
        &[ids.to_vec().into(), sql::array(states.iter().copied())],
        |row| row.get(1),
    )
}

/// Which of these deliveries are in one of these states, whoever holds them.
pub fn are_in(ids: &[i64], states: &[&str]) -> Result<Vec<i64>> {
    sql::query_by_index(
        "SELECT d.id FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
          WHERE d.state = ANY ($2)",
        &[ids.to_vec().into(), sql::array(states.iter().copied())],
        |row| row.get(1),
    )
}

/// A delivery and its session.
pub struct Held {
    /// Its chat has the name that it has today.
    pub delivery: Delivery,
    pub session: Session,
    /// The chat had another name when this was written: the session is that of today, and not locked.
    pub has_moved: bool,
}

/// Those of these deliveries that are in one of these states. The caller has locked their sessions.
pub fn held(ids: &[i64], states: &[&str]) -> Result<Vec<Held>> {
    sql::query_by_index(
        concat!(
            "SELECT ",
            delivery_columns!("d."),
            ", ",
            session_columns!("s."),
            " FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
               JOIN whaply.sessions s ON s.tenant_id = d.tenant_id AND s.chat_id = coalesce( \
                       (SELECT t.chat_id FROM whaply.chat_aliases a \
                          JOIN whaply.sessions t ON t.tenant_id = a.tenant_id AND t.chat_id = a.chat_id \
                         WHERE a.tenant_id = d.tenant_id AND a.jid = d.chat_id), d.chat_id) \
              WHERE d.state = ANY ($2)"
        ),
        &[ids.to_vec().into(), sql::array(states.iter().copied())],
        |row| {
            let (delivery, session) = (deliveries::read(row)?, sessions::read_from(row, 14)?);
            let has_moved = delivery.chat != session.chat;
            let delivery = Delivery { chat: session.chat.clone(), ..delivery };
            Ok(Held { delivery, session, has_moved })
        },
    )
}

/// What keeps a chat from being written to at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hindrance {
    /// A call has not ended, under any name of the chat.
    pub in_flight: bool,
    /// It has a message whose author is not decided yet.
    pub undecided: bool,
}

/// What keeps these chats, each at its place.
pub fn hindrances(chats: &[&Chat]) -> Result<Vec<Hindrance>> {
    let found = sql::query_by_index(
        "WITH undecided AS MATERIALIZED ( \
             SELECT DISTINCT m.tenant_id, coalesce(a.chat_id, m.chat_id) AS chat_id FROM whaply.processed_events e \
               JOIN whaply.messages m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id \
               LEFT JOIN whaply.chat_aliases a ON a.tenant_id = m.tenant_id AND a.jid = m.chat_id \
              WHERE e.action_taken = 'pending_echo') \
         SELECT asked.place, \
                EXISTS (SELECT FROM whaply.deliveries o \
                         WHERE o.tenant_id = asked.tenant_id AND o.chat_id = asked.chat_id \
                           AND o.state IN ('sending', 'uncertain')) \
             OR EXISTS (SELECT FROM whaply.chat_aliases a JOIN whaply.deliveries o \
                            ON o.tenant_id = a.tenant_id AND o.chat_id = a.jid AND o.state IN ('sending', 'uncertain') \
                         WHERE a.tenant_id = asked.tenant_id AND a.chat_id = asked.chat_id), \
                EXISTS (SELECT FROM undecided u WHERE u.tenant_id = asked.tenant_id AND u.chat_id = asked.chat_id) \
           FROM unnest($1, $2) WITH ORDINALITY AS asked (tenant_id, chat_id, place)",
        &[
            sql::array(chats.iter().map(|chat| chat.tenant_id)),
            sql::array(chats.iter().map(|chat| chat.chat_id.as_str())),
        ],
        |row| {
            Ok((row.get::<i64>(1)?, Hindrance { in_flight: row.get(2)?, undecided: row.get(3)? }))
        },
    )?;
    Ok(by_place(chats.len(), found))
}

/// What was found, each at the place that it names from 1 on.
fn by_place<T: Copy + Default>(count: usize, found: Vec<(i64, T)>) -> Vec<T> {
    let mut places = vec![T::default(); count];
    for (place, value) in found {
        let at = usize::try_from(place).unwrap_or_default().wrapping_sub(1);
        if let Some(at) = places.get_mut(at) {
            *at = value;
        }
    }
    places
}

/// pending -> sending. The caller makes the commit synchronous: after it the requests leave. Fails unless all
/// of them are: one that stays pending would be sent again.
pub fn begin(ids: &[i64]) -> Result<()> {
    let begun = sql::execute_by_index(
        "UPDATE whaply.deliveries d \
            SET state = 'sending', attempt = d.attempt + 1, attempted_at = clock_timestamp(), lookups = 0, error = NULL \
           FROM unnest($1) AS asked (id) WHERE d.id = asked.id",
        &[ids.to_vec().into()],
    )?;
    sql::require_all("deliveries", ids.len(), begun)
}

/// Those of these deliveries that have not ended, with their tenants.
pub fn not_ended(ids: &[i64]) -> Result<Vec<(i64, i32)>> {
    sql::query_by_index(
        "SELECT d.id, d.tenant_id FROM unnest($1) AS asked (id) JOIN whaply.deliveries d ON d.id = asked.id \
          WHERE d.state IN ('pending', 'sending', 'uncertain')",
        &[ids.to_vec().into()],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}

/// What Evolution answered to a send.
pub struct Taken<'a> {
    pub chat: &'a Chat,
    pub message_id: &'a str,
    /// As which WhatsApp knows the receiver.
    pub jid: Option<&'a str>,
}

/// What is known of an answer of Evolution's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The receiver's JID is no confirmed name of the chat so far.
    pub jid_is_new: bool,
    /// Another delivery has the message id.
    pub id_is_known: bool,
}

/// What is known of these answers, each at its place.
pub fn known(taken: &[Taken<'_>]) -> Result<Vec<Known>> {
    let found = sql::query_by_index(
        "SELECT asked.place, \
                coalesce(asked.jid LIKE '%@%' AND asked.jid <> asked.chat_id, false) AND NOT EXISTS ( \
                     SELECT FROM whaply.chat_aliases a \
                      WHERE a.tenant_id = asked.tenant_id AND a.jid = asked.jid AND a.chat_id = asked.chat_id \
                        AND a.confirmed), \
                EXISTS (SELECT FROM whaply.deliveries o \
                         WHERE o.tenant_id = asked.tenant_id AND o.message_id = asked.message_id) \
           FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS asked (tenant_id, chat_id, message_id, jid, place)",
        &[
            sql::array(taken.iter().map(|one| one.chat.tenant_id)),
            sql::array(taken.iter().map(|one| one.chat.chat_id.as_str())),
            sql::array(taken.iter().map(|one| one.message_id)),
            sql::array(taken.iter().map(|one| one.jid)),
        ],
        |row| Ok((row.get::<i64>(1)?, Known { jid_is_new: row.get(2)?, id_is_known: row.get(3)? })),
    )?;
    Ok(by_place(taken.len(), found))
}

/// How many messages of each of these replies are still to be sent or decided.
pub fn open_of(reply_ids: &[i64]) -> Result<HashMap<i64, usize>> {
    let open = sql::query_by_index(
        "SELECT asked.id, (SELECT count(*) FROM whaply.deliveries d \
                            WHERE d.reply_id = asked.id AND d.state IN ('pending', 'sending', 'uncertain')) \
           FROM unnest($1) AS asked (id)",
        &[reply_ids.to_vec().into()],
        |row| Ok((row.get::<i64>(1)?, usize::try_from(row.get::<i64>(2)?).unwrap_or_default())),
    )?;
    Ok(open.into_iter().collect())
}

/// The echoes of these messages, by tenant and id, may have come first, when nobody could say whose they
/// were.
pub fn decide_echoes(messages: &[OwnMessage<'_>]) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.processed_events e SET action_taken = 'own_echo' \
           FROM unnest($1, $2) AS o (tenant_id, message_id) \
          WHERE e.tenant_id = o.tenant_id AND e.message_id = o.message_id AND e.action_taken = 'pending_echo'",
        &[
            sql::array(messages.iter().map(|message| message.chat.tenant_id)),
            sql::array(messages.iter().map(|message| message.message_id)),
        ],
    )?;
    Ok(())
}

/// -> sent, of deliveries with the message ids that they have on WhatsApp; no other has these. After the
/// replies have been finished: locks are taken in the order of the tables.
pub fn sent(taken: &[(i64, &str)]) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.deliveries d \
            SET state = 'sent', message_id = o.message_id, error = NULL, due_at = NULL, finished_at = clock_timestamp() \
           FROM unnest($1, $2) AS o (id, message_id) WHERE d.id = o.id AND d.state <> 'sent'",
        &[
            sql::array(taken.iter().map(|(id, _)| *id)),
            sql::array(taken.iter().map(|(_, message_id)| *message_id)),
        ],
    )?;
    Ok(())
}

/// -> sent, of one whose message cannot be stored, for the reason that `error` tells; under its id where
/// that fits.
pub fn sent_unstored(id: i64, message_id: &str, error: &str) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.deliveries d \
            SET state = 'sent', error = $3, due_at = NULL, finished_at = clock_timestamp(), \
                message_id = CASE WHEN length($2) <= 255 AND NOT EXISTS ( \
                                  SELECT FROM whaply.deliveries o WHERE o.tenant_id = d.tenant_id AND o.message_id = $2) \
                                  THEN $2 END \
          WHERE d.id = $1",
        &[id.into(), message_id.into(), error.into()],
    )?;
    Ok(())
}
