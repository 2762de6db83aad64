//! A history while it is played: its two shops, what is to go wrong next in each chat, and the
//! ledger that the people, the model and the gateway write. It touches no table.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use support::{Echo, Instance, LlmBehaviour, LlmRequest, Person, SendBehaviour, SentText};

use super::ledger::{self, Change, Operated, Prompt, Spoken, Time};
use super::step::{Addressing, CUSTOMERS, EchoDoes, GatewayDoes, History, ModelDoes, SHOPS};
use super::words::{Place, Voice, Word, words_in};

/// Three of these are three messages, and two do not fit into one.
const LONG_PARAGRAPH_WORDS: usize = 280;

/// Every shop has the same customers, so that mixing them up would show.
const PHONES: [&str; CUSTOMERS] = ["5511999990001", "5511999990002"];
const LIDS: [&str; CUSTOMERS] = ["100000000000001", "100000000000002"];

pub struct World {
    pub number: u64,
    pub shops: [Shop; SHOPS],
    chats: Mutex<[[Chat; CUSTOMERS]; SHOPS]>,
    serial: AtomicU32,
}

pub struct Shop {
    pub instance: Instance,
    pub tenant_id: i32,
    pub fallback_text: String,
}

/// A chat and what will happen next in it.
#[derive(Default)]
pub struct Chat {
    pub addressing: Option<Addressing>,
    pub said: Vec<(Spoken, Vec<support::Said>)>,
    /// By the place of the message in `said`.
    pub changes: Vec<(usize, Change, Vec<support::Said>)>,
    pub operations: Vec<Operated>,
    pub prompts: Vec<Prompt>,
    pub model: VecDeque<ModelDoes>,
    pub gateway: VecDeque<GatewayDoes>,
    pub echoes: VecDeque<EchoDoes>,
    pub troubles: usize,
    /// What the waits compare with: how many there were when the customer last wrote.
    pub prompts_before: usize,
    pub sends_begun: usize,
    pub sends_before: usize,
}

impl World {
    pub fn new(number: u64, shops: [Shop; SHOPS], history: &History) -> Arc<Self> {
        let mut chats: [[Chat; CUSTOMERS]; SHOPS] = Default::default();
        for (chats, addressing) in chats.iter_mut().zip(history.addressing) {
            for (chat, addressing) in chats.iter_mut().zip(addressing) {
                chat.addressing = Some(addressing);
            }
        }
        let world =
            Arc::new(Self { number, shops, chats: Mutex::new(chats), serial: AtomicU32::new(1) });
        for shop in 0..SHOPS {
            let instance = &world.shops[shop].instance;
            // Weak, since the instance belongs to the world.
            let (sends, echoes) = (Arc::downgrade(&world), Arc::downgrade(&world));
            instance.decide_sends(move |body| {
                sends.upgrade().map_or(SendBehaviour::Ok, |world| world.take_send(shop, body))
            });
            instance.decide_echoes(move |sent| {
                echoes.upgrade().map_or(Echo::With, |world| world.take_echo(shop, sent))
            });
        }
        world
    }

    pub fn place(&self, shop: usize, customer: usize) -> Place {
        Place { history: self.number, shop, customer }
    }

    /// A word that nobody has said yet.
    pub fn word(&self, voice: Voice, place: Place) -> Word {
        Word { voice, place, number: self.serial.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn with_chat<T>(&self, place: Place, look: impl FnOnce(&mut Chat) -> T) -> T {
        look(&mut self.lock()[place.shop][place.customer])
    }

    fn lock(&self) -> MutexGuard<'_, [[Chat; CUSTOMERS]; SHOPS]> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the model makes of a call about one of these chats.
    pub fn take_prompt(&self, call: &LlmRequest) -> LlmBehaviour {
        let mark = words_in(&call.system_text()).into_iter().find(|word| word.voice == Voice::Mark);
        let Some(Word { place, .. }) = mark else {
            return LlmBehaviour::Status(400, json!({ "error": "a prompt without a name" }), None);
        };
        let turns: Vec<String> = call.turns().into_iter().map(|(_, text)| text).collect();
        let text = format!("{}\n{}", call.system_text(), turns.join("\n"));
        let (answer, behaviour) = self.with_chat(place, |chat| {
            let does = chat.model.pop_front();
            let (answer, behaviour) = self.answer(place, does);
            chat.troubles += usize::from(answer.is_none());
            (answer, behaviour)
        });
        self.with_chat(place, |chat| chat.prompts.push(Prompt { at: call.at, text, answer }));
        behaviour
    }

    /// What is said, if anything, and how it is brought.
    fn answer(&self, place: Place, does: Option<ModelDoes>) -> (Option<String>, LlmBehaviour) {
        let sentence = || format!("Resposta {}: temos sim.", self.word(Voice::Model, place));
        let failed = |behaviour| (None, behaviour);
        let error = |message: &str| json!({ "error": { "message": message, "type": "test" } });
        let said = |text: String, behaviour: fn(String) -> LlmBehaviour| {
            (Some(text.clone()), behaviour(text))
        };
        match does {
            None => said(sentence(), LlmBehaviour::Answer),
            Some(ModelDoes::AnswerSlowly(millis)) => {
                let text = sentence();
                (Some(text.clone()), LlmBehaviour::Slow(Duration::from_millis(millis), text))
            }
            Some(ModelDoes::AnswerInThreeParts) => {
                let paragraph =
                    |_| format!("{} {}", sentence(), "palavra ".repeat(LONG_PARAGRAPH_WORDS));
                said((0..3).map(paragraph).collect::<Vec<_>>().join("\n\n"), LlmBehaviour::Answer)
            }
            Some(ModelDoes::BeTruncated) => said(sentence(), LlmBehaviour::Truncated),
            Some(ModelDoes::Fail) => {
                failed(LlmBehaviour::Status(500, error("provider-broke"), None))
            }
            Some(ModelDoes::RefuseTheRequest) => {
                failed(LlmBehaviour::Status(400, error("provider-refused"), None))
            }
            Some(ModelDoes::BeBusy) => failed(LlmBehaviour::RateLimited(None)),
            Some(ModelDoes::BeOverloaded) => failed(LlmBehaviour::Overloaded),
            Some(ModelDoes::BeCutMidAnswer) => failed(LlmBehaviour::CutMidBody),
            Some(ModelDoes::BeCutBeforeAnswer) => failed(LlmBehaviour::Cut),
            Some(ModelDoes::SayNothing) => failed(LlmBehaviour::Empty),
            Some(ModelDoes::SayOnlyMarks) => failed(LlmBehaviour::answer("---")),
            Some(ModelDoes::Decline) => failed(LlmBehaviour::Refuse),
            Some(ModelDoes::FindItTooLong) => failed(LlmBehaviour::ContextTooLong),
            Some(ModelDoes::TalkNonsense) => failed(LlmBehaviour::Malformed),
        }
    }

    /// The customer whom a number or JID of either kind names.
    pub fn customer_of(number: &str) -> Option<usize> {
        let digits = number.split('@').next().unwrap_or_default();
        (0..CUSTOMERS).find(|customer| [PHONES[*customer], LIDS[*customer]].contains(&digits))
    }

    fn take_send(&self, shop: usize, body: &Value) -> SendBehaviour {
        let number = body["number"].as_str().unwrap_or_default();
        let Some(customer) = Self::customer_of(number) else { return SendBehaviour::Ok };
        let is_closed = !self.shops[shop].instance.is_connected();
        self.with_chat(self.place(shop, customer), |chat| {
            chat.sends_begun += 1;
            if is_closed {
                chat.troubles += 1;
                return SendBehaviour::ConnectionClosed500;
            }
            let Some(does) = chat.gateway.pop_front() else { return SendBehaviour::Ok };
            let phone_jid = format!("{}@s.whatsapp.net", PHONES[customer]);
            let other_name = match chat.addressing {
                Some(Addressing::Both) if number.ends_with("@lid") => phone_jid,
                Some(Addressing::Both) => format!("{}@lid", LIDS[customer]),
                // A name that may be another chat's would make its echo look like another client's.
                _ => number.to_owned(),
            };
            chat.troubles += usize::from(is_trouble(does));
            behaviour_of(does, other_name)
        })
    }

    fn take_echo(&self, shop: usize, sent: &SentText) -> Echo {
        let Some(customer) = Self::customer_of(&sent.number) else { return Echo::With };
        let does = self.with_chat(self.place(shop, customer), |chat| chat.echoes.pop_front());
        match does {
            None => Echo::With,
            Some(EchoDoes::ComeBeforeTheAnswer) => Echo::Before,
            Some(EchoDoes::ComeLate(millis)) => Echo::After(Duration::from_millis(millis)),
            Some(EchoDoes::NeverCome) => Echo::Never,
            Some(EchoDoes::ComeAsUpsert) => Echo::AsUpsert,
            Some(EchoDoes::ComeAsBothEvents) => Echo::AsBoth,
        }
    }

    /// The customer as a message of this chat names them; `number` counts the messages from 0.
    pub fn person(&self, place: Place, number: usize, by_lid: bool) -> Person {
        let addressing = self.with_chat(place, |chat| chat.addressing);
        let both = self.person_by_both(place);
        match (addressing, number) {
            (Some(Addressing::Phone) | None, _) => both.without_alternative(),
            (Some(Addressing::LidFirst | Addressing::Apart), 0) => {
                both.by_lid().without_alternative()
            }
            (Some(Addressing::Apart), 1) => both.without_alternative(),
            _ if by_lid => both.by_lid(),
            _ => both,
        }
    }

    /// As somebody who sees the whole contact names them.
    pub fn person_by_both(&self, place: Place) -> Person {
        let name = Word { voice: Voice::Mark, place, number: 0 };
        Person::with_phone(PHONES[place.customer])
            .and_lid(LIDS[place.customer])
            .named(&format!("Maria {name}"))
    }

    pub fn phone(place: Place) -> &'static str {
        PHONES[place.customer]
    }

    /// The ledger of a chat so far, without its rows.
    pub fn ledger(&self, place: Place, settings: &super::step::ShopSettings) -> ledger::Chat {
        let shop = &self.shops[place.shop];
        let is_here = |number: &str| Self::customer_of(number) == Some(place.customer);
        self.with_chat(place, |chat| {
            let said = chat.said.iter().map(|(spoken, deliveries)| Spoken {
                arrivals: arrivals_of(deliveries),
                ..spoken.clone()
            });
            let mut said: Vec<Spoken> = said.collect();
            for (message, change, deliveries) in &chat.changes {
                let change = Change { arrivals: arrivals_of(deliveries), ..change.clone() };
                said[*message].changes.push(change);
            }
            ledger::Chat {
                place,
                fallback_text: shop.fallback_text.clone(),
                failure_pauses: matches!(settings.on_failure, "hand_over" | "both"),
                other_client_pauses: settings.on_other_sender == "pause",
                is_known_by_all_names: matches!(
                    chat.addressing,
                    Some(Addressing::Phone | Addressing::Both)
                ),
                said,
                operations: chat.operations.clone(),
                prompts: chat.prompts.clone(),
                calls: shop
                    .instance
                    .send_calls()
                    .into_iter()
                    .filter(|c| is_here(&c.number))
                    .collect(),
                sent: shop.instance.sent().into_iter().filter(|s| is_here(&s.number)).collect(),
                troubles: chat.troubles,
                rows: ledger::Rows::default(),
            }
        })
    }
}

fn arrivals_of(deliveries: &[support::Said]) -> Vec<ledger::Arrival> {
    let attempts = deliveries.iter().flat_map(support::Said::attempts);
    let taken = attempts.filter(support::WebhookAttempt::is_success).map(|attempt| {
        let answer = attempt.json();
        ledger::Arrival {
            at: attempt.at,
            action: answer["action"].as_str().unwrap_or_default().to_owned(),
            is_duplicate: answer["duplicate"].as_bool().unwrap_or_default(),
        }
    });
    taken.collect()
}

/// Whether it can end in anything but a message that is known to be sent.
fn is_trouble(does: GatewayDoes) -> bool {
    use GatewayDoes::{KnowItUnderTheOtherJid, TakeItAndAnswerLate, TakeItLate};
    !matches!(does, TakeItAndAnswerLate(_) | TakeItLate(_) | KnowItUnderTheOtherJid)
}

fn behaviour_of(does: GatewayDoes, other_name: String) -> SendBehaviour {
    let closed = "Error: Connection Closed".to_owned();
    match does {
        GatewayDoes::TakeItAndAnswerLate(millis) => {
            SendBehaviour::SlowOk(Duration::from_millis(millis))
        }
        GatewayDoes::TakeItLate(millis) => SendBehaviour::LateOk(Duration::from_millis(millis)),
        GatewayDoes::TakeItAndCut => SendBehaviour::TakeThenCut,
        GatewayDoes::TakeItAndHang => SendBehaviour::TakeThenHang,
        GatewayDoes::TakeItAndSayConnectionClosed => SendBehaviour::TakeThen400(closed),
        GatewayDoes::TakeItAndThrow => {
            SendBehaviour::TakeThen400("TypeError: Cannot read properties of null".to_owned())
        }
        GatewayDoes::SayConnectionClosedWithoutTakingIt => SendBehaviour::Refuse400(closed),
        GatewayDoes::CutBefore => SendBehaviour::Cut,
        GatewayDoes::FailBefore => SendBehaviour::ConnectionClosed500,
        GatewayDoes::NotBeLoaded => SendBehaviour::NotLoaded500,
        GatewayDoes::NotKnowTheNumber => SendBehaviour::RefuseNotOnWhatsapp,
        GatewayDoes::KnowItUnderTheOtherJid => SendBehaviour::OkAs(other_name),
        GatewayDoes::AskToWait => {
            SendBehaviour::Status(429, json!({ "error": "Too Many Requests" }))
        }
        GatewayDoes::BeABrokenProxy => SendBehaviour::Status(502, json!("Bad Gateway")),
    }
}

pub fn now() -> Time {
    Utc::now()
}
