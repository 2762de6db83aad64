//! Table `replies`, any number at a time: what a round of the worker does to all of them, by one
//! statement each. Every statement names its rows by key; none decides anything.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::messages::HistoryRow;
use super::replies::{self, Reply, reply_columns};
use super::sessions::{self, Session, session_columns};
use super::sql::{self, Arg};
use crate::conversation::Action;
use crate::error::Result;
use crate::tallies::{self, ReplyEnd};

/// An open reply, locked with its session.
pub struct Locked {
    pub reply: Reply,
    pub session: Session,
}

/// Locks those of these replies that are open, with their sessions. Whoever is missing has ended, or
/// somebody holds it.
pub fn lock(ids: &[i64]) -> Result<Vec<Locked>> {
    sql::query_by_index(
        concat!(
            "SELECT ",
            reply_columns!("r."),
            ", ",
            session_columns!("s."),
            " FROM unnest($1) AS asked (id) JOIN whaply.replies r ON r.id = asked.id \
               JOIN whaply.sessions s ON s.tenant_id = r.tenant_id AND s.chat_id = r.chat_id \
              WHERE r.state IN ('waiting', 'generating', 'sending') FOR NO KEY UPDATE OF s, r SKIP LOCKED"
        ),
        &[ids.to_vec().into()],
        |row| Ok(Locked { reply: replies::read(row)?, session: sessions::read_from(row, 12)? }),
    )
}

/// Those of these replies that are open, whoever holds them.
pub fn open(ids: &[i64]) -> Result<HashMap<i64, Reply>> {
    let open = sql::query_by_index(
        concat!(
            "SELECT ",
            reply_columns!("r."),
            " FROM unnest($1) AS asked (id) JOIN whaply.replies r ON r.id = asked.id \
              WHERE r.state IN ('waiting', 'generating', 'sending')"
        ),
        &[ids.to_vec().into()],
        replies::read,
    )?;
    Ok(open.into_iter().map(|reply| (reply.id, reply)).collect())
}

/// Each reply with every name of its chat, as `named (reply_id, tenant_id, jid, since)`. Parameters: ids,
/// tenants, chats, times of the first question.
macro_rules! named {
    () => {
        "asked AS MATERIALIZED ( \
             SELECT * FROM unnest($1, $2, $3, $4) AS q (reply_id, tenant_id, chat_id, since)), \
         named AS MATERIALIZED ( \
             SELECT reply_id, tenant_id, chat_id AS jid, since FROM asked \
              UNION \
             SELECT q.reply_id, q.tenant_id, a.jid, q.since \
               FROM asked q JOIN whaply.chat_aliases a ON a.tenant_id = q.tenant_id AND a.chat_id = q.chat_id)"
    };
}

/// The parameters of `named!`.
fn names(replies: &[&Reply]) -> [Arg<'static>; 4] {
    [
        ids(replies),
        sql::array(replies.iter().map(|reply| reply.chat.tenant_id)),
        sql::array(replies.iter().map(|reply| reply.chat.chat_id.clone())),
        sql::array(replies.iter().map(|reply| sql::time(reply.first_sent_at))),
    ]
}

fn ids(replies: &[&Reply]) -> Arg<'static> {
    sql::array(replies.iter().map(|reply| reply.id))
}

/// What a claim has stamped with its reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamped {
    /// Questions that the customer has not taken back.
    pub standing: i64,
    /// One of them is of the Cloud API.
    pub of_the_cloud_api: bool,
}

/// Stamps the questions of these chats that no reply has claimed yet with the reply that reads them now;
/// how many still stand, those stamped by an earlier claim included.
///
/// Events are looked up one by one: of a joined table the planner would read all that a tenant has.
pub fn claim_questions(replies: &[&Reply]) -> Result<HashMap<i64, Stamped>> {
    let stamped = sql::query_by_index(
        concat!(
            "WITH ",
            named!(),
            ", claimed AS ( \
             UPDATE whaply.messages m SET reply_id = n.reply_id FROM named n \
              WHERE m.tenant_id = n.tenant_id AND m.chat_id = n.jid AND m.sent_at >= n.since AND m.sender = 'customer' \
                AND (m.reply_id IS NULL OR m.reply_id = n.reply_id) \
                AND (SELECT e.action_taken FROM whaply.processed_events e \
                     WHERE e.tenant_id = m.tenant_id AND e.message_id = m.message_id \
                       AND e.event_type = 'messages.upsert') = 'ai_queued' \
             RETURNING m.reply_id, m.deleted_at, m.message_id) \
         SELECT reply_id, count(*) FILTER (WHERE deleted_at IS NULL), bool_or(message_id LIKE 'wamid.%') \
           FROM claimed GROUP BY reply_id"
        ),
        &names(replies),
        |row| {
            let stamped = Stamped { standing: row.get(2)?, of_the_cloud_api: row.get(3)? };
            Ok((row.get::<i64>(1)?, stamped))
        },
    )?;
    Ok(stamped.into_iter().collect())
}

/// waiting -> generating. What the customer has asked until now is what the model will see. Fails unless all
/// of them are claimed: a model that is asked for a reply nobody holds would be asked for ever.
pub fn claim(ids: &[i64], lease_until: DateTime<Utc>) -> Result<()> {
    let claimed = sql::execute_by_index(
        "UPDATE whaply.replies r \
            SET state = 'generating', attempt = r.attempt + 1, seen = r.wanted, lease_until = $2, \
                claimed_at = clock_timestamp() \
           FROM unnest($1) AS asked (id) WHERE r.id = asked.id",
        &[ids.to_vec().into(), sql::time(lease_until).into()],
    )?;
    sql::require_all("replies", ids.len(), claimed)
}

/// Those of these replies that have no answer yet and have not ended, with their tenants.
pub fn not_answered(ids: &[i64]) -> Result<Vec<(i64, i32)>> {
    sql::query_by_index(
        "SELECT r.id, r.tenant_id FROM unnest($1) AS asked (id) JOIN whaply.replies r ON r.id = asked.id \
          WHERE r.state IN ('waiting', 'generating')",
        &[ids.to_vec().into()],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}

/// The newest messages of the chats of these replies under all their names, at most so many of each,
/// oldest first; but what a reply is to answer stands last. A question that came while an earlier answer
/// was being sent is older than that answer, which never read it. A message of ours whose author is
/// undecided may yet be a command.
pub fn histories(replies: &[(&Reply, i32)]) -> Result<HashMap<i64, Vec<HistoryRow>>> {
    let rows = sql::query_by_index(
        "SELECT q.reply_id, m.from_me, m.text, \
                CASE WHEN m.message_type IS DISTINCT FROM 'conversation' THEN m.raw::text END, \
                m.deleted_at IS NOT NULL, m.sender = 'customer' AND m.reply_id IS NOT DISTINCT FROM q.reply_id \
           FROM unnest($1, $2, $3, $4) AS q (reply_id, tenant_id, chat_id, most) \
          CROSS JOIN LATERAL ( \
                SELECT every.* \
                  FROM (SELECT q.chat_id AS jid UNION SELECT a.jid FROM whaply.chat_aliases a \
                         WHERE a.tenant_id = q.tenant_id AND a.chat_id = q.chat_id) AS n \
                 CROSS JOIN LATERAL ( \
                       SELECT l.* FROM whaply.messages l \
                        WHERE l.tenant_id = q.tenant_id AND l.chat_id = n.jid \
                          AND l.sender NOT IN ('command', 'unverified') \
                          AND NOT (l.sender = 'other' AND EXISTS ( \
                               SELECT FROM whaply.processed_events e \
                                WHERE e.tenant_id = l.tenant_id AND e.message_id = l.message_id \
                                  AND e.action_taken = 'pending_echo')) \
                        ORDER BY l.sent_at DESC, l.id DESC LIMIT q.most) AS every \
                 ORDER BY every.sent_at DESC, every.id DESC LIMIT q.most) AS m \
          ORDER BY q.reply_id, m.sent_at, m.id",
        &[
            sql::array(replies.iter().map(|(reply, _)| reply.id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.tenant_id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.chat_id.clone())),
            sql::array(replies.iter().map(|(_, most)| *most)),
        ],
        |row| {
            let line = HistoryRow {
                from_me: row.get(2)?,
                text: row.find(3)?,
                raw: row.find(4)?,
                is_deleted: row.get(5)?,
                is_asked: row.get(6)?,
            };
            Ok((row.get::<i64>(1)?, line))
        },
    )?;
    let mut histories: HashMap<i64, Vec<HistoryRow>> = HashMap::new();
    for (reply_id, line) in rows {
        histories.entry(reply_id).or_default().push(line);
    }
    for history in histories.values_mut() {
        history.sort_by_key(|line| line.is_asked);
    }
    Ok(histories)
}

/// What a model answered to one reply.
pub struct Answer {
    pub reply_id: i64,
    pub text: String,
    pub provider: &'static str,
    pub model: String,
    pub input_tokens: Option<i32>,
    pub output_tokens: Option<i32>,
    pub note: Option<String>,
}

/// generating -> sending; the answers are kept, and no other text is generated after this. Fails unless all of
/// them are: what stays generating would be answered again.
pub fn answered(answers: &[Answer]) -> Result<()> {
    let kept = sql::execute_by_index(
        "UPDATE whaply.replies r \
            SET state = 'sending', lease_until = NULL, text = a.text, provider = a.provider, model = a.model, \
                input_tokens = a.input_tokens, output_tokens = a.output_tokens, error = a.note, \
                answered_at = clock_timestamp() \
           FROM unnest($1, $2, $3, $4, $5, $6, $7) \
                AS a (id, text, provider, model, input_tokens, output_tokens, note) \
          WHERE r.id = a.id",
        &[
            sql::array(answers.iter().map(|answer| answer.reply_id)),
            sql::array(answers.iter().map(|answer| answer.text.clone())),
            sql::array(answers.iter().map(|answer| answer.provider)),
            sql::array(answers.iter().map(|answer| answer.model.clone())),
            sql::array(answers.iter().map(|answer| answer.input_tokens)),
            sql::array(answers.iter().map(|answer| answer.output_tokens)),
            sql::array(answers.iter().map(|answer| answer.note.clone())),
        ],
    )?;
    sql::require_all("replies", answers.len(), kept)
}

/// Which questions end with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that it has read.
    Read,
    /// Those that no claim has read yet, too.
    AndThoseUnread,
}

/// Marks what these replies were to answer with how they ended.
pub fn close_questions(replies: &[&Reply], which: Which, action: Action) -> Result<()> {
    let [ids, tenants, chats, since] = names(replies);
    sql::execute_by_index(
        concat!(
            "WITH ",
            named!(),
            ", questions AS MATERIALIZED ( \
             SELECT m.tenant_id, m.message_id FROM named n JOIN whaply.messages m \
                 ON m.tenant_id = n.tenant_id AND m.chat_id = n.jid AND m.sent_at >= n.since \
              WHERE m.sender = 'customer' AND (m.reply_id = n.reply_id OR (m.reply_id IS NULL AND $6))) \
         UPDATE whaply.processed_events e SET action_taken = $5 FROM questions q \
          WHERE e.tenant_id = q.tenant_id AND e.message_id = q.message_id AND e.event_type = 'messages.upsert' \
            AND e.action_taken = 'ai_queued'"
        ),
        &[
            ids,
            tenants,
            chats,
            since,
            action.as_str().into(),
            (which == Which::AndThoseUnread).into(),
        ],
    )?;
    Ok(())
}

/// sending -> sent: the last part of each is out, and its questions are answered.
pub fn finish(replies: &[&Reply]) -> Result<()> {
    close_questions(replies, Which::Read, Action::AiReplied)?;
    let sent = sql::execute_by_index(
        "UPDATE whaply.replies r SET state = 'sent', lease_until = NULL, finished_at = clock_timestamp() \
           FROM unnest($1) AS asked (id) \
          WHERE r.id = asked.id AND r.state IN ('waiting', 'generating', 'sending')",
        &[ids(replies)],
    )?;
    tallies::replies_end(ReplyEnd::Sent, sent);
    Ok(())
}
