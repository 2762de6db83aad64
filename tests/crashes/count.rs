//! The count after each round, from outside: what the customers have seen at the fake Evolution, held
//! against what was asked, and against what the database says of it. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use support::SentText;

use crate::load::{Asked, Chat, Question, mark_of};
use crate::stage::Stage;
use crate::table::Table;

/// The chat that is known as $2, whatever its own JID is.
const CHAT: &str = "(SELECT coalesce(max(chat_id), $2) FROM whaply.chat_aliases
                      WHERE tenant_id = $1 AND jid = $2)";

/// What the database says of a question.
#[derive(Debug)]
struct Verdict {
    action: Option<String>,
    reply_state: Option<String>,
    reply_error: Option<String>,
}

impl Verdict {
    fn is_open(&self) -> bool {
        let open = ["waiting", "generating", "sending"];
        self.action.as_deref() == Some("ai_queued")
            || self.reply_state.as_deref().is_some_and(|state| open.contains(&state))
    }

    fn is_held(&self) -> bool {
        self.reply_state.as_deref() == Some("failed")
            && self.reply_error.as_deref().is_some_and(|error| error.starts_with("held:"))
    }

    fn is_the_owners(&self) -> bool {
        matches!(self.action.as_deref(), Some("ignored_paused" | "cancelled_paused"))
    }
}

/// One round as it is counted.
pub struct Count<'a> {
    stage: &'a Stage,
    asked: &'a Asked,
    sent: BTreeMap<usize, Vec<SentText>>,
    verdicts: BTreeMap<String, Verdict>,
    /// What must not be, each in words that say where to look.
    defects: Vec<String>,
}

/// Enters the outcome of every question into the table; what must not be, in words.
pub fn count(stage: &Stage, asked: &Asked, is_idle: bool, table: &mut Table) -> Vec<String> {
    let sent = stage.shops.iter().map(|shop| shop.instance.sent()).enumerate().collect();
    let mut count =
        Count { stage, asked, sent, verdicts: verdicts(stage, asked), defects: Vec::new() };
    if !is_idle {
        count.defects.push("the worker never came to rest".to_owned());
    }
    for question in &asked.questions {
        count.enter(question, table);
    }
    count.enter_answers_after_takeovers(table);
    count.compare_with_deliveries();
    count.defects
}

impl Count<'_> {
    fn enter(&mut self, question: &Question, table: &mut Table) {
        let answers = self.answers_of(question);
        let tally = table.of(question.kind);
        tally.asked += 1;
        let Some(verdict) = self.verdicts.get(&question.said[0].id) else {
            tally.lost += 1;
            self.defects.push(format!("question {} is not stored", question.number));
            return;
        };
        let was_taken_over =
            self.asked.takeovers.iter().any(|takeover| takeover.chat == question.chat);
        let (outcome, is_right) = match answers.len() {
            _ if verdict.is_open() => (&mut tally.stuck, false),
            2.. => (&mut tally.doubled, false),
            _ if verdict.is_held() => (&mut tally.held, true),
            1 => (&mut tally.answered_once, true),
            _ if was_taken_over && verdict.is_the_owners() => (&mut tally.left_to_owner, true),
            _ => (&mut tally.lost, false),
        };
        *outcome += 1;
        if !is_right {
            let chat = self.chat_as_stored(&question.chat);
            self.defects.push(format!(
                "question {} ({:?}) in {:?}: {verdict:?}\nanswers: {answers:#?}\n{chat}",
                question.number, question.kind, question.chat,
            ));
        }
    }

    /// The messages that reached the customer and answer the question.
    fn answers_of(&self, question: &Question) -> Vec<String> {
        let (shop, jid) = &question.chat;
        let mark = mark_of(question.number);
        let answers = self.sent[shop].iter().filter(|sent| {
            sent.number == *jid && sent.text.split_whitespace().any(|word| word == mark)
        });
        answers.map(|sent| format!("{} at {}", sent.text, sent.at)).collect()
    }

    /// The commit of `sending` is the point of no return: none may follow the takeover's.
    fn enter_answers_after_takeovers(&mut self, table: &mut Table) {
        for takeover in &self.asked.takeovers {
            let chat = &takeover.chat;
            let tenant_id = self.stage.shops[chat.0].tenant_id;
            let taken_at: DateTime<Utc> = takeover.said.answer().at;
            let sql = format!(
                "SELECT attempted_at, text FROM whaply.deliveries
                  WHERE tenant_id = $1 AND chat_id = {CHAT} AND attempted_at > $3"
            );
            let late = self.stage.db.rows(&sql, &[&tenant_id, &chat.1, &taken_at]);
            table.of(takeover.kind).after_takeover += late.len();
            self.defects.extend(late.iter().map(|row| {
                let (at, text): (DateTime<Utc>, String) = (row.get(0), row.get(1));
                format!("{chat:?} was taken over at {taken_at}, and at {at} this was sent: {text}")
            }));
            let sql = format!(
                "SELECT is_paused FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = {CHAT}"
            );
            if self.stage.db.column::<bool>(&sql, &[&tenant_id, &chat.1]) != [true] {
                self.defects.push(format!("{chat:?} was taken over and is not paused"));
            }
        }
    }

    /// Every message that Evolution took is a delivery that says so, and the other way round. Where
    /// a message was held though Evolution had it, this tells.
    fn compare_with_deliveries(&mut self) {
        for (place, sent) in &self.sent {
            let taken: BTreeSet<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
            let sql = "SELECT message_id::text FROM whaply.deliveries
                        WHERE tenant_id = $1 AND state = 'sent'";
            let tenant_id = self.stage.shops[*place].tenant_id;
            let told: Vec<String> = self.stage.db.column(sql, &[&tenant_id]);
            let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
            for id in taken.symmetric_difference(&told) {
                let message = sent.iter().find(|sent| sent.id == **id);
                let sql = "SELECT coalesce(jsonb_agg(to_jsonb(d)), '[]') FROM whaply.deliveries d
                            WHERE tenant_id = $1 AND (message_id = $2 OR text = $3)";
                let text = message.map(|message| message.text.as_str());
                let rows: Value = self.stage.db.value(sql, &[&tenant_id, id, &text]);
                self.defects.push(format!("taken: {message:?}\nas stored: {rows}"));
            }
        }
    }

    fn chat_as_stored(&self, (shop, jid): &Chat) -> Value {
        let sql = format!(
            "SELECT jsonb_build_object('replies', (
                SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM whaply.replies r
                 WHERE r.tenant_id = $1 AND r.chat_id = {CHAT}
            ), 'deliveries', (
                SELECT jsonb_agg(to_jsonb(d) ORDER BY d.id) FROM whaply.deliveries d
                 WHERE d.tenant_id = $1 AND d.chat_id = {CHAT}))"
        );
        self.stage.db.value(&sql, &[&self.stage.shops[*shop].tenant_id, jid])
    }
}

fn verdicts(stage: &Stage, asked: &Asked) -> BTreeMap<String, Verdict> {
    let ids: Vec<&str> = asked.questions.iter().map(|asked| asked.said[0].id.as_str()).collect();
    let sql = "SELECT e.message_id::text, e.action_taken::text, r.state, r.error
                 FROM whaply.processed_events e
                 JOIN whaply.messages m USING (tenant_id, message_id)
                 LEFT JOIN whaply.replies r ON r.id = m.reply_id
                WHERE e.event_type = 'messages.upsert' AND e.message_id = ANY ($1)";
    let rows = stage.db.rows(sql, &[&ids]);
    let verdict = |row: &postgres::Row| Verdict {
        action: row.get(1),
        reply_state: row.get(2),
        reply_error: row.get(3),
    };
    rows.iter().map(|row| (row.get(0), verdict(row))).collect()
}
