//! Table `replies`, many at a time: what a round of the worker does to all replies that are plain, by
//! one statement each. Every statement names its rows by key; none decides anything.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

use super::messages::HistoryRow;
use super::replies::{self, Reply};
use super::sql::{self, Arg};
use crate::conversation::Action;
use crate::conversation::loop_guard::Answers;
use crate::error::Result;

/// An open reply, locked with its session, and what is to be known of that.
pub struct Locked {
    pub reply: Reply,
    /// Paused, whether or not the time of the pause is over by now.
    pub is_paused: bool,
    pub contact_name: Option<String>,
}

/// Locks those of these replies that are open, with their sessions. Whoever is missing has ended, or
/// somebody holds it.
pub fn lock(ids: &[i64]) -> Result<Vec<Locked>> {
    sql::query_by_index(
        "SELECT r.id, r.tenant_id, r.chat_id::text, r.state, r.attempt, r.deferrals, r.requeues, r.wanted, r.seen, \
                r.first_sent_at, r.created_at, s.is_paused, s.contact_name \
           FROM unnest($1) AS asked (id) JOIN whaply.replies r ON r.id = asked.id \
           JOIN whaply.sessions s ON s.tenant_id = r.tenant_id AND s.chat_id = r.chat_id \
          WHERE r.state IN ('waiting', 'generating', 'sending') FOR NO KEY UPDATE OF s, r SKIP LOCKED",
        &[ids.to_vec().into()],
        |row| {
            Ok(Locked {
                reply: replies::read(row)?,
                is_paused: row.get(12)?,
                contact_name: row.find(13)?,
            })
        },
    )
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

/// Stamps the questions of these replies, as `messages::claim_questions` does for one.
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

/// waiting -> generating, as `replies::claim` does for one.
pub fn claim(replies: &[&Reply], lease_until: DateTime<Utc>) -> Result<()> {
    sql::execute_by_index(
        "UPDATE whaply.replies r \
            SET state = 'generating', attempt = r.attempt + 1, seen = r.wanted, lease_until = $2, \
                claimed_at = clock_timestamp() \
           FROM unnest($1) AS asked (id) WHERE r.id = asked.id",
        &[ids(replies), sql::time(lease_until).into()],
    )?;
    Ok(())
}

/// The histories of these replies, at most so many lines of each, as `messages::history` reads one.
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

/// How many answers the chats and tenants of these replies were given in a window before now, or are
/// about to be, as `answers::since` counts for one, but with the reply that asks as far as it counts.
pub fn answers(replies: &[(&Reply, Duration)]) -> Result<HashMap<i64, Answers>> {
    let counted = sql::query_by_index(
        "WITH asked AS MATERIALIZED ( \
             SELECT q.*, clock_timestamp() - make_interval(secs => q.seconds) AS since \
               FROM unnest($1, $2, $3, $4) AS q (reply_id, tenant_id, chat_id, seconds)), \
         of_tenants AS MATERIALIZED ( \
             SELECT t.tenant_id, t.since, \
                    (SELECT count(*) FROM whaply.replies r WHERE r.tenant_id = t.tenant_id AND r.answered_at >= t.since) \
                  + (SELECT count(*) FROM whaply.replies r \
                      WHERE r.tenant_id = t.tenant_id AND r.state IN ('generating', 'sending') \
                        AND (r.answered_at IS NULL OR r.answered_at < t.since)) \
                  + (SELECT count(*) FROM whaply.replies r \
                      WHERE r.tenant_id = t.tenant_id AND r.state = 'failed' AND r.finished_at >= t.since) AS answers \
               FROM (SELECT tenant_id, min(since) AS since FROM asked GROUP BY tenant_id) AS t) \
         SELECT q.reply_id, \
                (SELECT count(*) FROM (SELECT q.chat_id AS jid UNION SELECT a.jid FROM whaply.chat_aliases a \
                                        WHERE a.tenant_id = q.tenant_id AND a.chat_id = q.chat_id) AS n \
                   JOIN whaply.replies r ON r.tenant_id = q.tenant_id AND r.chat_id = n.jid \
                  WHERE r.answered_at >= q.since OR r.state IN ('generating', 'sending') \
                     OR (r.state = 'failed' AND r.finished_at >= q.since)), \
                t.answers \
           FROM asked q JOIN of_tenants t ON t.tenant_id = q.tenant_id",
        &[
            sql::array(replies.iter().map(|(reply, _)| reply.id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.tenant_id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.chat_id.clone())),
            sql::array(replies.iter().map(|(_, window)| sql::seconds(*window))),
        ],
        |row| Ok((row.get::<i64>(1)?, Answers { of_chat: row.get(2)?, of_tenant: row.get(3)? })),
    )?;
    Ok(counted.into_iter().collect())
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

/// generating -> sending, as `replies::answered` does for one.
pub fn answered(answers: &[Answer]) -> Result<()> {
    sql::execute_by_index(
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
    Ok(())
}

/// Open replies by their ids; their sessions are locked.
pub fn open(ids: &[i64]) -> Result<HashMap<i64, Reply>> {
    let open = sql::query_by_index(
        "SELECT r.id, r.tenant_id, r.chat_id::text, r.state, r.attempt, r.deferrals, r.requeues, r.wanted, r.seen, \
                r.first_sent_at, r.created_at \
           FROM unnest($1) AS asked (id) JOIN whaply.replies r ON r.id = asked.id \
          WHERE r.state IN ('waiting', 'generating', 'sending')",
        &[ids.to_vec().into()],
        replies::read,
    )?;
    Ok(open.into_iter().map(|reply| (reply.id, reply)).collect())
}

/// sending -> sent: the last part of each is out, and its questions are answered.
pub fn finish(replies: &[&Reply]) -> Result<()> {
    close_questions(replies)?;
    sql::execute_by_index(
        "UPDATE whaply.replies r SET state = 'sent', lease_until = NULL, finished_at = clock_timestamp() \
           FROM unnest($1) AS asked (id) \
          WHERE r.id = asked.id AND r.state IN ('waiting', 'generating', 'sending')",
        &[ids(replies)],
    )?;
    Ok(())
}

/// The questions that these replies have read are answered.
fn close_questions(replies: &[&Reply]) -> Result<()> {
    let [ids, tenants, chats, since] = names(replies);
    sql::execute_by_index(
        concat!(
            "WITH ",
            named!(),
            ", questions AS MATERIALIZED ( \
             SELECT m.tenant_id, m.message_id FROM named n JOIN whaply.messages m \
                 ON m.tenant_id = n.tenant_id AND m.chat_id = n.jid AND m.sent_at >= n.since \
              WHERE m.sender = 'customer' AND m.reply_id = n.reply_id) \
         UPDATE whaply.processed_events e SET action_taken = $5 FROM questions q \
          WHERE e.tenant_id = q.tenant_id AND e.message_id = q.message_id AND e.event_type = 'messages.upsert' \
            AND e.action_taken = 'ai_queued'"
        ),
        &[ids, tenants, chats, since, Action::AiReplied.as_str().into()],
    )?;
    Ok(())
}
