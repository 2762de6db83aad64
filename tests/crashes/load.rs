//! The people: customers ask, owners take over now and then, webhooks come twice. Who said what is
//! kept for the count afterwards; nothing is judged here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use fastrand::Rng;
use serde_json::json;
use support::{Person, Said, payload};

use crate::gateway::up_to;
use crate::kinds::Kind;
use crate::stage::{Shop, Stage};

/// People do not wait for a restart to be over, but a blow that fails must not make them go on for
/// ever.
const MOST_ACTIONS: usize = 60;

/// At least so many things happen around a blow.
const FEWEST_ACTIONS: usize = 8;

const LONGEST_SILENCE: u64 = 120;

/// A chat: the shop's place in the stage, and the JID.
pub type Chat = (usize, String);

pub struct Question {
    /// What was killed next.
    pub kind: Kind,
    pub number: usize,
    pub chat: Chat,
    pub said: Vec<Said>,
}

pub struct Takeover {
    pub kind: Kind,
    pub chat: Chat,
    pub said: Said,
}

/// All that was said between two counts.
#[derive(Default)]
pub struct Asked {
    pub questions: Vec<Question>,
    pub takeovers: Vec<Takeover>,
}

impl Asked {
    pub fn webhooks(&self) -> impl Iterator<Item = &Said> {
        let asked = self.questions.iter().flat_map(|question| &question.said);
        asked.chain(self.takeovers.iter().map(|takeover| &takeover.said))
    }

    pub fn extend(&mut self, more: Self) {
        self.questions.extend(more.questions);
        self.takeovers.extend(more.takeovers);
    }
}

pub struct People<'a> {
    stage: &'a Stage,
    rng: Rng,
    said: usize,
}

impl<'a> People<'a> {
    pub fn new(stage: &'a Stage, rng: Rng) -> Self {
        Self { stage, rng, said: 0 }
    }

    /// They write until it is over.
    pub fn write(&mut self, kind: Kind, is_over: &AtomicBool) -> Asked {
        let mut asked = Asked::default();
        for done in 0..MOST_ACTIONS {
            if done >= FEWEST_ACTIONS && is_over.load(Ordering::Relaxed) {
                break;
            }
            self.act(kind, &mut asked);
            let_pass(up_to(LONGEST_SILENCE, &mut self.rng));
        }
        asked
    }

    fn act(&mut self, kind: Kind, asked: &mut Asked) {
        self.said += 1;
        let number = self.said;
        let place = self.rng.usize(0..self.stage.shops.len());
        let shop = &self.stage.shops[place];
        let customer = &shop.customers[self.rng.usize(0..shop.customers.len())];
        let chat = (place, customer.jid().to_owned());
        match self.rng.u8(0..100) {
            0..3 => {
                // No two alike: the same words in several chats would be taken for a greeting.
                let said = shop.instance.owner_types(customer, &format!("Owner here, {number}"));
                asked.takeovers.push(Takeover { kind, chat, said });
            }
            kind_of_webhook => {
                let comes_twice = kind_of_webhook < 13;
                let said = shop.ask(customer, &text_of(number), comes_twice);
                asked.questions.push(Question { kind, number, chat, said });
            }
        }
    }
}

impl Shop {
    fn ask(&self, customer: &Person, text: &str, comes_twice: bool) -> Vec<Said> {
        if !comes_twice {
            return vec![self.instance.customer_says(customer, text)];
        }
        let (line, id) = (self.instance.line(), payload::phone_message_id());
        let message = json!({ "conversation": text });
        let data = line.customer_message(customer, &id, message, "conversation", Utc::now());
        let payload = line.envelope("messages.upsert", data, "");
        self.instance.deliver_twice(&payload).into()
    }
}

/// The mark by which a question is found in an answer.
pub fn mark_of(number: usize) -> String {
    format!("q{number}")
}

fn text_of(number: usize) -> String {
    format!("{} is what I ask", mark_of(number))
}

/// Nothing is awaited: that people write, and blows fall, at random moments is the point.
pub fn let_pass(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
