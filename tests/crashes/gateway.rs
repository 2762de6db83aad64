//! How Evolution and the model behave under load: slow, and with answers and echoes that get lost at
//! random. It never makes a message: it only decides what becomes of one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use support::{Echo, FakeLlm, Instance, LlmBehaviour, LlmRequest, SendBehaviour};

use crate::kinds::Kind;

/// In Evolution's own words, thrown by the socket to WhatsApp.
const CONNECTION_CLOSED: &str = "Error: Connection Closed";

/// The longest that Evolution works at a message before it takes it. Well below send_timeout, which
/// bounds how long a call may still be under way when nobody waits for it any more.
const SLOWEST_TAKE: u64 = 600;

const SLOWEST_ANSWER: u64 = 400;
const SLOWEST_ECHO: u64 = 600;
const SLOWEST_MODEL: u64 = 300;

/// Of a hundred answers of the model so many are too long for one message.
const ANSWERS_IN_TWO_PARTS: u64 = 8;

/// What can be waited for, as the moment to strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    ModelCall,
    Send,
    /// A call of which Evolution has not taken the message yet.
    SlowSend,
}

/// Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<State>,
}

struct State {
    rng: Mutex<Rng>,
    /// What the next sends come to, before chance decides.
    forced: Mutex<VecDeque<Kind>>,
    is_dying: AtomicBool,
    sights: Mutex<Sights>,
    changed: Condvar,
}

#[derive(Default)]
struct Sights {
    model_calls: usize,
    sends: usize,
    /// When each slow call came, and when its message is taken.
    slow_sends: Vec<(Instant, Instant)>,
}

impl Sights {
    fn count(&self, sight: Sight) -> usize {
        match sight {
            Sight::ModelCall => self.model_calls,
            Sight::Send => self.sends,
            Sight::SlowSend => self.slow_sends.len(),
        }
    }
}

impl Gateway {
    pub fn new(rng: Rng) -> Self {
        let state = State {
            rng: Mutex::new(rng),
            forced: Mutex::default(),
            is_dying: AtomicBool::new(false),
            sights: Mutex::default(),
            changed: Condvar::new(),
        };
        Self { state: Arc::new(state) }
    }

    pub fn rule(&self, instance: &Instance) {
        let state = Arc::clone(&self.state);
        instance.decide_sends(move |_| state.send());
        let state = Arc::clone(&self.state);
        instance.decide_echoes(move |_| state.echo());
    }

    pub fn rule_model(&self, model: &FakeLlm) {
        let state = Arc::clone(&self.state);
        model.decide(move |call| state.model(call));
    }

    /// The next sends end like this; returns when they have come, or after `limit`.
    pub fn lose_answers(&self, kind: Kind, count: usize, limit: Duration) {
        lock(&self.state.forced).extend(std::iter::repeat_n(kind, count));
        self.wait(limit, |_| lock(&self.state.forced).is_empty());
        lock(&self.state.forced).clear();
    }

    /// From here on, whatever is taken leaves no echo; or no longer.
    pub fn set_dying(&self, is_dying: bool) {
        self.state.is_dying.store(is_dying, Ordering::Relaxed);
    }

    /// Returns when `count` more have been seen, or after `limit`.
    pub fn wait_for(&self, sight: Sight, count: usize, limit: Duration) {
        let wanted = lock(&self.state.sights).count(sight) + count;
        self.wait(limit, |sights| sights.count(sight) >= wanted);
    }

    /// How many calls were under way at this moment, of which the message was taken after it.
    pub fn taken_after(&self, moment: Instant) -> usize {
        let sights = lock(&self.state.sights);
        let straddling =
            sights.slow_sends.iter().filter(|(came, taken)| (came..taken).contains(&&moment));
        straddling.count()
    }

    fn wait(&self, limit: Duration, is_there: impl Fn(&Sights) -> bool) {
        let sights = lock(&self.state.sights);
        let waited = self.state.changed.wait_timeout_while(sights, limit, |seen| !is_there(seen));
        drop(waited);
    }
}

impl State {
    fn see(&self, see: impl FnOnce(&mut Sights)) {
        see(&mut lock(&self.sights));
        self.changed.notify_all();
    }

    fn send(&self) -> SendBehaviour {
        let forced = lock(&self.forced).pop_front();
        let behaviour = match forced {
            Some(Kind::AnswerCutMidBody) => SendBehaviour::TakeThenCutMidBody,
            Some(Kind::AnswerTooLate) => SendBehaviour::TakeThenHang,
            Some(_) => SendBehaviour::TakeThen400(CONNECTION_CLOSED.to_owned()),
            None => self.random_send(),
        };
        self.see(|sights| {
            sights.sends += 1;
            if let SendBehaviour::LateOk(delay) = behaviour {
                let now = Instant::now();
                sights.slow_sends.push((now, now + delay));
            }
        });
        behaviour
    }

    fn random_send(&self) -> SendBehaviour {
        let rng = &mut lock(&self.rng);
        match rng.u8(0..100) {
            0..55 => SendBehaviour::Ok,
            55..63 => SendBehaviour::SlowOk(up_to(SLOWEST_ANSWER, rng)),
            63..83 => SendBehaviour::LateOk(up_to(SLOWEST_TAKE, rng)),
            83..86 => SendBehaviour::TakeThenCut,
            86..89 => SendBehaviour::TakeThenCutMidBody,
            89..91 => SendBehaviour::TakeThenHang,
            91..95 => SendBehaviour::TakeThen400(CONNECTION_CLOSED.to_owned()),
            95..97 => SendBehaviour::Cut,
            97 => SendBehaviour::Refuse400(CONNECTION_CLOSED.to_owned()),
            98 => SendBehaviour::Hang,
            _ => SendBehaviour::Status(502, json!({ "message": "Bad Gateway" })),
        }
    }

    fn echo(&self) -> Echo {
        let rng = &mut lock(&self.rng);
        match rng.u8(0..100) {
            _ if self.is_dying.load(Ordering::Relaxed) => Echo::Never,
            0..35 => Echo::With,
            35..50 => Echo::Before,
            50..70 => Echo::After(up_to(SLOWEST_ECHO, rng)),
            70..75 => Echo::AsUpsert,
            75..80 => Echo::AsBoth,
            _ => Echo::Never,
        }
    }

    /// No two answers are the same, and each begins with all it answers.
    fn model(&self, call: &LlmRequest) -> LlmBehaviour {
        self.see(|sights| sights.model_calls += 1);
        let rng = &mut lock(&self.rng);
        let mut text = format!("Answer {} to: {}", call.number, call.last_user_text());
        if rng.u64(0..100) < ANSWERS_IN_TWO_PARTS {
            let filling = "and so on ".repeat(250);
            text = format!("{text}\n{filling}\n\nMore of answer {}: {filling}", call.number);
        }
        LlmBehaviour::Slow(up_to(SLOWEST_MODEL, rng), text)
    }
}

pub fn up_to(milliseconds: u64, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(0..=milliseconds))
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
