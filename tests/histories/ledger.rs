//! What happened in one chat of one history, as it was seen from outside: by the people, the model,
//! the gateway, and in the tables. Plain values that the invariants read; it asks nobody anything.

use chrono::{DateTime, Utc};
use support::{SendCall, SentText};

use super::words::{Place, Voice, Word, words_in};

pub type Time = DateTime<Utc>;

/// A chat, once its history is over.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    pub place: Place,
    /// What the tenant says when its assistant gives up.
    pub fallback_text: String,
    /// Whether `ai_failed` pauses the chat, and whether other API clients do.
    pub failure_pauses: bool,
    pub other_client_pauses: bool,
    /// From its first message on, each tells every name that the chat has.
    pub is_known_by_all_names: bool,
    pub said: Vec<Spoken>,
    pub operations: Vec<Operated>,
    pub prompts: Vec<Prompt>,
    pub calls: Vec<SendCall>,
    pub sent: Vec<SentText>,
    /// How often the model, the gateway or the line did not do what they should.
    pub troubles: usize,
    pub rows: Rows,
}

/// A message that came by webhook.
#[derive(Clone, Debug)]
pub struct Spoken {
    pub voice: Voice,
    pub what: Said,
    pub id: String,
    /// What the model sees of it while nobody changes it.
    pub shown: String,
    pub typed_at: Time,
    /// Whether its webhook tells both names of the chat.
    pub tells_both_names: bool,
    pub arrivals: Vec<Arrival>,
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Words,
    Sticker,
    ResumeWord,
    HoldWord,
}

/// One delivery of a webhook, as the database answered it.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Time,
    pub action: String,
    pub is_duplicate: bool,
}

/// An edit, or a deletion (None).
#[derive(Clone, Debug)]
pub struct Change {
    pub shown: Option<String>,
    pub arrivals: Vec<Arrival>,
}

/// Something an operator did by SQL.
#[derive(Clone, Debug)]
pub struct Operated {
    pub what: Operation,
    pub began_at: Time,
    pub ended_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Pause,
    Resume,
    Send(String),
}

/// A call to the model.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub at: Time,
    /// All that it read.
    pub text: String,
    /// What it answered; None: nothing that can be sent.
    pub answer: Option<String>,
}

/// The chat in the tables, under all its names.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Those that are not another name of an older one.
    pub sessions: Vec<SessionRow>,
    pub replies: Vec<ReplyRow>,
    pub deliveries: Vec<DeliveryRow>,
    pub messages: Vec<MessageRow>,
    pub events: Vec<EventRow>,
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "part of the story of a failure")]
pub struct SessionRow {
    pub chat_id: String,
    pub is_paused: bool,
    pub pause_reason: Option<String>,
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "its error is part of the story of a failure")]
pub struct ReplyRow {
    pub id: i64,
    pub state: String,
    pub requeues: i32,
    pub error: Option<String>,
    pub text: Option<String>,
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "its id is part of the story of a failure")]
pub struct DeliveryRow {
    pub id: i64,
    pub reply_id: Option<i64>,
    pub kind: String,
    pub part: i32,
    pub text: String,
    pub state: String,
    pub attempt: i32,
    pub attempted_at: Option<Time>,
    pub message_id: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug)]
pub struct MessageRow {
    pub message_id: String,
    pub from_me: bool,
    pub sender: Option<String>,
    pub reply_id: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct EventRow {
    pub message_id: String,
    pub event: String,
    pub action: String,
}

impl Spoken {
    /// When the database first took it.
    pub fn taken_at(&self) -> Option<Time> {
        self.arrivals.iter().map(|arrival| arrival.at).min()
    }

    pub fn is_deleted(&self) -> bool {
        self.changes.iter().any(|change| change.shown.is_none())
    }

    /// Every form in which the model may have read it.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let edits = self.changes.iter().filter_map(|change| change.shown.as_deref());
        std::iter::once(self.shown.as_str()).chain(edits)
    }
}

impl Change {
    pub fn taken_at(&self) -> Option<Time> {
        self.arrivals.iter().map(|arrival| arrival.at).min()
    }
}

impl DeliveryRow {
    pub fn is_held(&self) -> bool {
        self.state == "failed" && self.error.as_deref().is_some_and(|why| why.starts_with("held:"))
    }
}

impl Chat {
    pub fn questions(&self) -> impl Iterator<Item = &Spoken> {
        self.said.iter().filter(|spoken| spoken.voice == Voice::Customer)
    }

    /// What people of the business typed, commands included.
    pub fn human_words(&self) -> impl Iterator<Item = &Spoken> {
        self.said.iter().filter(|spoken| spoken.voice != Voice::Customer)
    }

    /// What became of the arrival of a message.
    pub fn action_of(&self, message_id: &str) -> Option<&str> {
        let arrivals = ["messages.upsert", "send.message"];
        let mut events = self.rows.events.iter();
        let event = events
            .find(|row| row.message_id == message_id && arrivals.contains(&row.event.as_str()))?;
        Some(&event.action)
    }

    /// The call to the model that produced this text.
    pub fn prompt_of(&self, text: &str) -> Option<&Prompt> {
        let word = answer_words(text).next()?;
        self.prompts.iter().find(|prompt| {
            prompt.answer.as_deref().is_some_and(|answer| answer_words(answer).any(|w| w == word))
        })
    }

    pub fn deliveries_of(&self, reply_id: i64) -> impl Iterator<Item = &DeliveryRow> {
        self.rows.deliveries.iter().filter(move |row| row.reply_id == Some(reply_id))
    }
}

/// The words that the model said, in a text.
pub fn answer_words(text: &str) -> impl Iterator<Item = Word> {
    words_in(text).into_iter().filter(|word| word.voice == Voice::Model)
}
