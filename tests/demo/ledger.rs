//! What the database says about the conversation: the proofs of the play, and the tables at its
//! end. It only reads.

use chrono::{DateTime, Local, Utc};
use postgres::Client;
use support::Database;

use crate::screen;

/// A message as its webhook left it.
#[derive(Debug)]
pub struct Taken {
    pub row: i32,
    pub sender: String,
    pub action: String,
    pub reply_id: Option<i64>,
}

impl Taken {
    pub fn told(&self) -> String {
        let Self { row, sender, action, .. } = self;
        format!("webhook → 200 → messages row {row}, sender {sender} → {action}")
    }
}

/// None if there is no such message, or nothing was decided about it.
pub fn taken(db: &Database, message_id: &str) -> Option<Taken> {
    let sql = "SELECT m.id, m.sender, e.action_taken, m.reply_id
                 FROM whaply.messages m JOIN whaply.processed_events e USING (tenant_id, message_id)
                WHERE m.message_id = $1 AND e.event_type = 'messages.upsert'";
    let row = db.rows(sql, &[&message_id]).into_iter().next()?;
    Some(Taken { row: row.get(0), sender: row.get(1), action: row.get(2), reply_id: row.get(3) })
}

/// How many messages and how many processed events have this id.
pub fn rows_of(db: &Database, message_id: &str) -> (i64, i64) {
    let count = |table: &str| {
        db.value(
            &format!("SELECT count(*) FROM whaply.{table} WHERE message_id = $1"),
            &[&message_id],
        )
    };
    (count("messages"), count("processed_events"))
}

/// Whether the only session is paused, and why.
pub fn pause_of(db: &Database) -> (bool, String) {
    let sql = "SELECT is_paused, coalesce(pause_reason, '') FROM whaply.sessions";
    let row = db.rows(sql, &[]).into_iter().next();
    row.map_or((false, String::new()), |row| (row.get(0), row.get(1)))
}

/// A turn of the assistant, found by a message it sent.
#[derive(Debug)]
pub struct Answered {
    pub reply_id: i64,
    pub state: String,
    row: i32,
    waited: f64,
    thought: f64,
    tokens: String,
}

impl Answered {
    /// What it took: seconds and tokens, in and out.
    pub fn effort(&self) -> String {
        let Self { reply_id, waited, thought, tokens, .. } = self;
        format!("reply {reply_id}: {waited:.1} s listening, {thought:.1} s thinking, {tokens}")
    }

    pub fn told(&self, questions: usize) -> String {
        let (effort, row) = (self.effort(), self.row);
        let questions = match questions {
            1 => "question".to_owned(),
            several => format!("{several} questions"),
        };
        format!(
            "{effort}\n→ sendText 201 → messages row {row}, sender assistant; {questions} ai_replied"
        )
    }
}

/// None if this message is not the assistant's.
pub fn answer(db: &mut Client, message_id: &str) -> Result<Option<Answered>, postgres::Error> {
    let sql = "SELECT r.id, r.state, m.id,
                      extract(epoch FROM r.claimed_at - r.created_at)::float8,
                      extract(epoch FROM r.answered_at - r.claimed_at)::float8,
                      format('%s + %s tokens', r.input_tokens, r.output_tokens)
                 FROM whaply.messages m JOIN whaply.replies r ON r.id = m.reply_id
                WHERE m.message_id = $1 AND m.sender = 'assistant'";
    Ok(db.query_opt(sql, &[&message_id])?.map(|row| Answered {
        reply_id: row.get(0),
        state: row.get(1),
        row: row.get(2),
        waited: row.get::<_, Option<f64>>(3).unwrap_or_default(),
        thought: row.get::<_, Option<f64>>(4).unwrap_or_default(),
        tokens: row.get(5),
    }))
}

/// Why the newest reply has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub text: String,
    /// It was given up.
    pub is_final: bool,
}

pub fn trouble(db: &Database) -> Option<Trouble> {
    let sql = "SELECT error, state = 'failed' FROM whaply.replies
                WHERE id = (SELECT max(id) FROM whaply.replies)
                  AND state IN ('waiting', 'generating', 'failed') AND error IS NOT NULL";
    let row = db.rows(sql, &[]).into_iter().next()?;
    Some(Trouble { text: row.get(0), is_final: row.get(1) })
}

/// The latest decisions, and what every reply took.
pub fn print(db: &Database) {
    screen::plain("");
    screen::verbatim("SELECT processed_at, event_type, action_taken, sender, text");
    screen::verbatim("  FROM whaply.recent_activity;");
    screen::plain("");
    screen::table(&["processed_at", "event_type", "action_taken", "sender", "text"], &activity(db));
    screen::plain("");
    screen::verbatim("SELECT id, state, model, input_tokens, output_tokens,");
    screen::verbatim("       finished_at - created_at AS took FROM whaply.replies ORDER BY id;");
    screen::plain("");
    let header = ["id", "state", "model", "input_tokens", "output_tokens", "took"];
    screen::table(&header, &replies(db));
}

fn activity(db: &Database) -> Vec<Vec<String>> {
    const TEXT_WIDTH: usize = 22;
    let sql = "SELECT processed_at, event_type, action_taken, coalesce(sender, ''),
                      coalesce(text, '')
                 FROM whaply.recent_activity";
    let rows = db.rows(sql, &[]).into_iter();
    rows.map(|row| {
        let at: DateTime<Utc> = row.get(0);
        let at = at.with_timezone(&Local).format("%H:%M:%S%.3f").to_string();
        let text = screen::shortened(row.get::<_, &str>(4), TEXT_WIDTH);
        vec![at, row.get(1), row.get(2), row.get(3), text]
    })
    .collect()
}

fn replies(db: &Database) -> Vec<Vec<String>> {
    let sql = "SELECT id::text, state, coalesce(model, ''), coalesce(input_tokens::text, ''),
                      coalesce(output_tokens::text, ''),
                      coalesce(round(extract(epoch FROM finished_at - created_at), 1) || ' s', '')
                 FROM whaply.replies ORDER BY id";
    let rows = db.rows(sql, &[]).into_iter();
    rows.map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
}
