//! The rows of a scene as its tests read them, and waiting for what they come to. It changes
//! nothing but the settings of the scene's tenant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Row;

use crate::person::Person;
use crate::scene::Scene;
use crate::wait::wait_until;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A turn of the assistant.
#[derive(Clone, Debug)]
pub struct Reply {
    pub id: i64,
    pub chat_id: String,
    pub state: String,
    pub text: Option<String>,
    pub error: Option<String>,
    pub attempt: i32,
    pub deferrals: i32,
    pub requeues: i32,
    pub wanted: i32,
    pub seen: i32,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub input_tokens: Option<i32>,
    pub output_tokens: Option<i32>,
    pub claimed_at: Option<DateTime<Utc>>,
    pub answered_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Reply {
    /// Why it ended as it did; panics where it says nothing.
    #[track_caller]
    pub fn why(&self) -> &str {
        self.error.as_deref().unwrap_or_else(|| panic!("no error in {self:#?}"))
    }
}

/// An outgoing message.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: i64,
    pub kind: String,
    pub part: i32,
    pub text: String,
    pub state: String,
    pub attempt: i32,
    pub deferrals: i32,
    pub lookups: i32,
    pub message_id: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub chat_id: String,
    pub is_paused: bool,
    pub pause_reason: Option<String>,
    pub paused_until: Option<DateTime<Utc>>,
    pub last_human_at: Option<DateTime<Utc>>,
    pub reply_jid: Option<String>,
}

/// A message as the chat shows it.
#[derive(Clone, Debug)]
pub struct Message {
    pub chat_id: String,
    pub from_me: bool,
    pub sender: Option<String>,
    pub text: Option<String>,
    pub reply_id: Option<i64>,
    pub status: Option<String>,
}

impl Scene {
    /// Every turn of the assistant, oldest first.
    #[track_caller]
    pub fn replies(&self) -> Vec<Reply> {
        self.db.rows("SELECT * FROM whaply.replies ORDER BY id", &[]).iter().map(reply).collect()
    }

    /// The one turn of the assistant there is.
    #[track_caller]
    pub fn reply(&self) -> Reply {
        let mut replies = self.replies();
        assert_eq!(replies.len(), 1, "one reply was expected: {replies:#?}");
        replies.remove(0)
    }

    /// The turn that was to answer a question.
    #[track_caller]
    pub fn reply_of(&self, question_id: &str) -> Reply {
        let id = self.message(question_id).reply_id;
        let found = self.replies().into_iter().find(|reply| Some(reply.id) == id);
        found.unwrap_or_else(|| panic!("no reply has read {question_id}"))
    }

    /// Waits until the last turn of the assistant is in this state.
    #[track_caller]
    pub fn wait_for_reply(&self, state: &str) -> Reply {
        wait_until(&format!("a reply that is {state}"), PATIENCE, || {
            let last = self.replies().pop();
            last.clone().filter(|reply| reply.state == state).ok_or_else(|| format!("{last:#?}"))
        })
    }

    /// Every outgoing message, oldest first.
    #[track_caller]
    pub fn deliveries(&self) -> Vec<Delivery> {
        let sql = "SELECT * FROM whaply.deliveries ORDER BY id";
        self.db.rows(sql, &[]).iter().map(delivery).collect()
    }

    /// The states of the outgoing messages, oldest first.
    #[track_caller]
    pub fn delivery_states(&self) -> Vec<String> {
        self.deliveries().into_iter().map(|delivery| delivery.state).collect()
    }

    /// Waits until the last outgoing message fulfils `wanted`.
    #[track_caller]
    pub fn wait_for_delivery(&self, what: &str, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
        wait_until(what, PATIENCE, || {
            let last = self.deliveries().pop();
            last.clone().filter(|delivery| wanted(delivery)).ok_or_else(|| format!("{last:#?}"))
        })
    }

    /// The session whose chat_id is this person's JID.
    #[track_caller]
    pub fn session(&self, who: impl Into<Person>) -> Session {
        let sql = "SELECT * FROM whaply.sessions WHERE tenant_id = $1 AND chat_id = $2";
        let mut rows = self.db.rows(sql, &[&self.tenant_id, &who.into().jid()]);
        assert_eq!(rows.len(), 1, "one session was expected");
        session(&rows.remove(0))
    }

    /// The message with this id of WhatsApp's.
    #[track_caller]
    pub fn message(&self, message_id: &str) -> Message {
        let sql = "SELECT * FROM whaply.messages WHERE tenant_id = $1 AND message_id = $2";
        let mut rows = self.db.rows(sql, &[&self.tenant_id, &message_id]);
        assert_eq!(rows.len(), 1, "one message {message_id} was expected");
        message(&rows.remove(0))
    }

    /// Waits until a message's arrival is recorded with this action.
    #[track_caller]
    pub fn wait_for_action(&self, message_id: &str, action: &str) {
        wait_until(&format!("{message_id} to be {action}"), PATIENCE, || {
            let taken = self.action(message_id);
            (taken.as_deref() == Some(action)).then_some(()).ok_or_else(|| format!("{taken:?}"))
        });
    }

    /// Changes columns of the tenant, e.g. `debounce = '0 s'`. They act at once.
    #[track_caller]
    pub fn set_tenant(&self, assignments: &str) {
        let id = self.tenant_id;
        self.db.execute(&format!("UPDATE whaply.tenants SET {assignments} WHERE id = {id}"));
    }

    /// The fresh answer to a question of somebody else's: by then the worker has seen all that came
    /// before it, and what it has not done it will not do.
    #[track_caller]
    pub fn somebody_else_is_answered(&self) {
        const SOMEBODY_ELSE: &str = "5511999999999";
        let before = self.texts_to(SOMEBODY_ELSE);
        self.shop.customer_says(SOMEBODY_ELSE, "And me?").delivered();
        wait_until("the answer to somebody else", PATIENCE, || {
            self.texts_to(SOMEBODY_ELSE).len() > before.len()
        });
    }

    /// What reached a customer, by the digits of the JID it was sent to.
    pub fn texts_to(&self, digits: &str) -> Vec<String> {
        let sent = self.shop.sent().into_iter();
        let to = sent.filter(|sent| sent.number.split('@').next() == Some(digits));
        to.map(|sent| sent.text).collect()
    }
}

fn reply(row: &Row) -> Reply {
    Reply {
        id: row.get("id"),
        chat_id: row.get("chat_id"),
        state: row.get("state"),
        text: row.get("text"),
        error: row.get("error"),
        attempt: row.get("attempt"),
        deferrals: row.get("deferrals"),
        requeues: row.get("requeues"),
        wanted: row.get("wanted"),
        seen: row.get("seen"),
        provider: row.get("provider"),
        model: row.get("model"),
        input_tokens: row.get("input_tokens"),
        output_tokens: row.get("output_tokens"),
        claimed_at: row.get("claimed_at"),
        answered_at: row.get("answered_at"),
        finished_at: row.get("finished_at"),
    }
}

fn delivery(row: &Row) -> Delivery {
    Delivery {
        id: row.get("id"),
        kind: row.get("kind"),
        part: row.get("part"),
        text: row.get("text"),
        state: row.get("state"),
        attempt: row.get("attempt"),
        deferrals: row.get("deferrals"),
        lookups: row.get("lookups"),
        message_id: row.get("message_id"),
        error: row.get("error"),
    }
}

fn session(row: &Row) -> Session {
    Session {
        chat_id: row.get("chat_id"),
        is_paused: row.get("is_paused"),
        pause_reason: row.get("pause_reason"),
        paused_until: row.get("paused_until"),
        last_human_at: row.get("last_human_at"),
        reply_jid: row.get("reply_jid"),
    }
}

fn message(row: &Row) -> Message {
    Message {
        chat_id: row.get("chat_id"),
        from_me: row.get("from_me"),
        sender: row.get("sender"),
        text: row.get("text"),
        reply_id: row.get("reply_id"),
        status: row.get("status"),
    }
}
