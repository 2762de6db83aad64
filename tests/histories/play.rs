//! Plays a history against the real extension: people write, webhooks are held up and doubled, the
//! model and the gateway get their orders. What it did stands in the world's ledger afterwards.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use postgres::Client;
use serde_json::{Value, json};
use support::Person;
use support::payload::phone_message_id;

use super::ledger::{self, Change, Operated, Spoken, Time};
use super::stage::{PATIENCE, Stage};
use super::step::{Act, Content, Moment, Operation, OwnersWords, Step, Way};
use super::words::{Place, Voice};
use super::world::{World, now};

/// The defaults of `tenants.resume_word` and `hold_word`.
pub const RESUME_WORD: &str = "#bot";
pub const HOLD_WORD: &str = "#eu";

/// No person edits twice within a millisecond, which is as exact as WhatsApp tells the time.
const EDITS_DIFFER: TimeDelta = TimeDelta::milliseconds(1);

/// How often a condition is asked that only the fakes' logs can tell.
const GLANCE: Duration = Duration::from_millis(3);

/// Plays all steps, then lets everything come that was held back, and waits until all is quiet.
pub fn play(
    stage: &Stage,
    client: &mut Client,
    world: &Arc<World>,
    steps: &[Step],
) -> Result<(), String> {
    let mut player =
        Player { stage, client, world, held: Vec::new(), played: 0, last_edit_at: now() };
    for step in steps {
        player.play(step)?;
        player.played += 1;
        player.deliver_due();
    }
    player.finish()
}

struct Player<'a> {
    stage: &'a Stage,
    client: &'a mut Client,
    world: &'a Arc<World>,
    held: Vec<Held>,
    played: usize,
    last_edit_at: Time,
}

/// A webhook that comes later; `after` counts steps.
struct Held {
    after: usize,
    place: Place,
    what: Written,
    payload: Value,
}

/// Where the ledger keeps what a webhook tells.
#[derive(Clone, Copy)]
enum Written {
    Said(usize),
    Changed(usize),
}

impl Player<'_> {
    fn play(&mut self, step: &Step) -> Result<(), String> {
        let place = self.world.place(step.shop, step.customer);
        match step.act {
            Act::CustomerSends { what, by_lid, way } => {
                self.customer_sends(place, what, by_lid, way)
            }
            Act::CustomerEdits { way } => self.customer_changes(place, true, way),
            Act::CustomerDeletes { way } => self.customer_changes(place, false, way),
            Act::OwnerTypes { what, by_lid, way } => self.owner_types(place, what, by_lid, way),
            Act::OtherClientSends { by_lid, way } => self.other_client_sends(place, by_lid, way),
            Act::Operator(operation) => self.operate(place, operation)?,
            Act::ReceiptComes(status) => self.receipt_comes(place, status),
            Act::ModelWill(does) => self.world.with_chat(place, |chat| chat.model.push_back(does)),
            Act::GatewayWill(does) => {
                self.world.with_chat(place, |chat| chat.gateway.push_back(does));
            }
            Act::EchoWill(does) => self.world.with_chat(place, |chat| chat.echoes.push_back(does)),
            Act::LineCloses { is_told } => self.line_becomes(place, "close", is_told),
            Act::LineOpens { is_told } => self.line_becomes(place, "open", is_told),
            Act::WaitUntil(moment) => self.wait_until(place, moment)?,
        }
        Ok(())
    }

    fn customer_sends(&mut self, place: Place, what: Content, by_lid: bool, way: Way) {
        self.world.with_chat(place, |chat| {
            chat.prompts_before = chat.prompts.len();
            chat.sends_before = chat.sends_begun;
        });
        if what == Content::TwoTextsAtOnce {
            self.customer_sends_one(place, Content::Text, by_lid, Way::Unawaited);
        }
        self.customer_sends_one(place, what, by_lid, way);
    }

    fn customer_sends_one(&mut self, place: Place, what: Content, by_lid: bool, way: Way) {
        let word = self.world.word(Voice::Customer, place);
        let (message, kind, shown) = match what {
            Content::Text | Content::TwoTextsAtOnce => {
                let text = format!("Tem {word}?");
                (json!({ "conversation": text }), "conversation", text)
            }
            Content::VoiceNote => {
                let seconds = word.number;
                let message = json!({ "audioMessage": { "ptt": true, "seconds": seconds } });
                (message, "audioMessage", format!("[voice note, {seconds} s"))
            }
            Content::ImageWithCaption => {
                let caption = format!("E este, {word}?");
                (json!({ "imageMessage": { "caption": caption } }), "imageMessage", caption)
            }
            Content::Sticker => (json!({ "stickerMessage": {} }), "stickerMessage", String::new()),
        };
        let number = self.world.with_chat(place, |chat| {
            chat.said.iter().filter(|(spoken, _)| spoken.voice == Voice::Customer).count()
        });
        let person = self.world.person(place, number, by_lid);
        let id = phone_message_id();
        let line = self.line(place);
        let data = line.customer_message(&person, &id, message, kind, Utc::now());
        let what = match what {
            Content::Sticker => ledger::Said::Sticker,
            _ => ledger::Said::Words,
        };
        let spoken = spoken(Voice::Customer, what, id, shown, &person);
        self.say(place, spoken, "messages.upsert", data, way);
    }

    fn customer_changes(&mut self, place: Place, is_edit: bool, way: Way) {
        let last = self.world.with_chat(place, |chat| {
            let mut said = chat.said.iter().enumerate().rev();
            said.find(|(_, (spoken, _))| {
                // What has no words of its own cannot be edited.
                spoken.voice == Voice::Customer && (!is_edit || spoken.shown.starts_with("Tem "))
            })
            .map(|(place, (spoken, _))| (place, spoken.id.clone()))
        });
        let Some((message, id)) = last else { return };
        self.last_edit_at = Utc::now().max(self.last_edit_at + EDITS_DIFFER);
        let line = self.line(place);
        let (event, data, shown) = if is_edit {
            let text = format!("Tem {}, digo?", self.world.word(Voice::Customer, place));
            ("messages.edited", line.edit(&id, &text, self.last_edit_at), Some(text))
        } else {
            ("messages.delete", self.world.person_by_both(place).key(&id, false), None)
        };
        let payload = line.envelope(event, data, "");
        let number = self.world.with_chat(place, |chat| {
            chat.changes.push((message, Change { shown, arrivals: Vec::new() }, Vec::new()));
            chat.changes.len() - 1
        });
        self.deliver(Held { after: 0, place, what: Written::Changed(number), payload }, way);
    }

    fn owner_types(&mut self, place: Place, what: OwnersWords, by_lid: bool, way: Way) {
        let new = format!("Eu atendo, {}.", self.world.word(Voice::Owner, place));
        let (text, said) = match what {
            OwnersWords::New => (new, ledger::Said::Words),
            OwnersWords::VeryWordsOfTheAssistant => {
                let said = self.world.with_chat(place, |chat| {
                    chat.prompts.iter().rev().find_map(|prompt| prompt.answer.clone())
                });
                (said.unwrap_or(new), ledger::Said::Words)
            }
            OwnersWords::ResumeWord => (RESUME_WORD.to_owned(), ledger::Said::ResumeWord),
            OwnersWords::HoldWord => (HOLD_WORD.to_owned(), ledger::Said::HoldWord),
        };
        let both = self.world.person_by_both(place);
        let person = if by_lid { both.by_lid() } else { both };
        let id = phone_message_id();
        let data = self.line(place).owner_message(&person, &id, &text, Utc::now());
        let spoken = spoken(Voice::Owner, said, id, text, &person);
        self.say(place, spoken, "messages.upsert", data, way);
    }

    fn other_client_sends(&mut self, place: Place, by_lid: bool, way: Way) {
        let text = format!("Seu pedido saiu: {}", self.world.word(Voice::OtherClient, place));
        // It writes to whom it knows.
        let number = self.world.with_chat(place, |chat| chat.said.len());
        let person = self.world.person(place, number.max(2), by_lid);
        let id = support::payload::api_message_id();
        let data = self.line(place).api_message(person.jid(), &id, &text, Utc::now());
        let alone = person.without_alternative();
        let spoken = spoken(Voice::OtherClient, ledger::Said::Words, id, text, &alone);
        self.say(place, spoken, "send.message", data, way);
    }

    /// Evolution saves what is said, and tells it in its own time.
    fn say(&mut self, place: Place, spoken: Spoken, event: &str, data: Value, way: Way) {
        self.world.shops[place.shop].instance.remember(&data);
        let payload = self.line(place).envelope(event, data, "");
        let number = self.world.with_chat(place, |chat| {
            chat.said.push((spoken, Vec::new()));
            chat.said.len() - 1
        });
        self.deliver(Held { after: 0, place, what: Written::Said(number), payload }, way);
    }

    fn deliver(&mut self, webhook: Held, way: Way) {
        match way {
            Way::Taken => self.deliver_and_wait(&webhook),
            Way::Unawaited => drop(self.deliver_once(&webhook)),
            Way::TwiceAtOnce => {
                self.deliver_once(&webhook);
                self.deliver_once(&webhook);
            }
            Way::TwiceInTurn => {
                self.deliver_and_wait(&webhook);
                self.deliver_and_wait(&webhook);
            }
            Way::Late(steps) => self.held.push(Held { after: self.played + steps, ..webhook }),
            Way::Last => self.held.push(Held { after: usize::MAX, ..webhook }),
        }
    }

    fn deliver_and_wait(&self, webhook: &Held) {
        self.deliver_once(webhook).delivered();
    }

    fn deliver_once(&self, webhook: &Held) -> support::Said {
        let said = self.world.shops[webhook.place.shop].instance.deliver(&webhook.payload);
        self.world.with_chat(webhook.place, |chat| match webhook.what {
            Written::Said(number) => chat.said[number].1.push(said.clone()),
            Written::Changed(number) => chat.changes[number].2.push(said.clone()),
        });
        said
    }

    fn deliver_due(&mut self) {
        let played = self.played;
        for webhook in self.held.extract_if(.., |held| held.after <= played).collect::<Vec<_>>() {
            self.deliver_once(&webhook);
        }
    }

    fn operate(&mut self, place: Place, operation: Operation) -> Result<(), String> {
        let shop = &self.world.shops[place.shop];
        let (instance, phone) = (shop.instance.name(), World::phone(place));
        let text = format!("Aqui e a loja: {}", self.world.word(Voice::Operator, place));
        let began_at = now();
        let done = match operation {
            Operation::Pauses => {
                self.client.execute("SELECT whaply.pause_session($1, $2)", &[&instance, &phone])
            }
            Operation::Resumes => {
                self.client.execute("SELECT whaply.resume_session($1, $2)", &[&instance, &phone])
            }
            Operation::Sends | Operation::SendsAndPauses => {
                let pauses = operation == Operation::SendsAndPauses;
                let sql = "SELECT whaply.send_message($1, $2, $3, $4)";
                self.client.execute(sql, &[&instance, &phone, &text, &pauses])
            }
            Operation::RetriesFailures => {
                let sql = "SELECT whaply.retry_replies($1, now() - interval '1 hour')";
                self.client.execute(sql, &[&instance])
            }
            Operation::LetsHoursPass => self.let_hours_pass(shop.tenant_id),
        };
        done.map_err(|error| format!("{operation:?} raised {error:?}"))?;
        let ended_at = now();
        let whats: &[ledger::Operation] = match operation {
            Operation::Pauses => &[ledger::Operation::Pause],
            Operation::Resumes => &[ledger::Operation::Resume],
            Operation::Sends => &[ledger::Operation::Send(text)],
            Operation::SendsAndPauses => &[ledger::Operation::Send(text), ledger::Operation::Pause],
            Operation::LetsHoursPass | Operation::RetriesFailures => &[ledger::Operation::Resume],
        };
        let in_all_chats =
            matches!(operation, Operation::LetsHoursPass | Operation::RetriesFailures);
        for customer in 0..super::step::CUSTOMERS {
            if customer == place.customer || in_all_chats {
                let operated =
                    |what: &ledger::Operation| Operated { what: what.clone(), began_at, ended_at };
                self.world.with_chat(Place { customer, ..place }, |chat| {
                    chat.operations.extend(whats.iter().map(operated));
                });
            }
        }
        Ok(())
    }

    fn let_hours_pass(&mut self, tenant_id: i32) -> Result<u64, postgres::Error> {
        let sql = "UPDATE whaply.sessions
                      SET last_human_at = last_human_at - interval '3 hours',
                          paused_until = paused_until - interval '3 hours'
                    WHERE tenant_id = $1 AND is_paused";
        self.client.execute(sql, &[&tenant_id])?;
        self.client.execute("SELECT whaply.auto_resume()", &[])
    }

    fn receipt_comes(&mut self, place: Place, status: &str) {
        let instance = &self.world.shops[place.shop].instance;
        let to_here = |number: &str| World::customer_of(number) == Some(place.customer);
        if let Some(sent) = instance.sent().into_iter().rev().find(|sent| to_here(&sent.number)) {
            let receipt = instance.line().receipt(&sent.remote_jid, &sent.id, true, status);
            instance.emit("messages.update", receipt);
        }
    }

    fn line_becomes(&mut self, place: Place, state: &str, is_told: bool) {
        let instance = &self.world.shops[place.shop].instance;
        if is_told {
            instance.connection_becomes(state);
        } else {
            instance.set_connection(state);
        }
    }

    fn wait_until(&mut self, place: Place, moment: Moment) -> Result<(), String> {
        if moment == Moment::AllIsQuiet {
            return self.stage.wait_until_quiet(self.world);
        }
        let has_come = || {
            self.world.with_chat(place, |chat| match moment {
                Moment::ASendBegins => chat.sends_begun > chat.sends_before,
                _ => chat.prompts.len() > chat.prompts_before,
            })
        };
        let started_at = Instant::now();
        let shop = &self.world.shops[place.shop];
        while !has_come() && started_at.elapsed() < PATIENCE {
            let was_delivered = shop.instance.has_delivered_all();
            let is_open = shop.instance.is_connected();
            // Nothing to wait for: nobody has asked, or the line keeps it.
            if was_delivered && (!is_open || !self.stage.watcher.look().contains(&shop.tenant_id)) {
                break;
            }
            thread::park_timeout(GLANCE);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), String> {
        for shop in &self.world.shops {
            if !shop.instance.is_connected() {
                shop.instance.connection_becomes("open");
            }
        }
        for webhook in std::mem::take(&mut self.held) {
            self.deliver_once(&webhook);
        }
        self.stage.wait_until_quiet(self.world)
    }

    fn line(&self, place: Place) -> &support::payload::Line {
        self.world.shops[place.shop].instance.line()
    }
}

fn spoken(voice: Voice, what: ledger::Said, id: String, shown: String, person: &Person) -> Spoken {
    Spoken {
        voice,
        what,
        id,
        shown,
        typed_at: now(),
        tells_both_names: person.alternative_jid().is_some(),
        arrivals: Vec::new(),
        changes: Vec::new(),
    }
}
