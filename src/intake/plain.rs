//! Chats in which nothing happens but that a customer writes: the session's row tells all that has to be
//! known. It asks `conversation/` what each message means, and writes nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::chat::new_name;
use super::message::{is_up_to_date, time_of};
use super::names::{Calls, Names};
use crate::conversation::{Action, ChatFacts, Decision, Mode, OwnNames, decide, not_a_person};
use crate::store::Chat;
use crate::store::customers::{Led, Wrote};
use crate::store::questions::Open;
use crate::store::sessions::Session;
use crate::store::tenants::Tenant;
use crate::webhook::{Body, ContentClass, Message, Payload};

/// How an event can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Together with others, if its chat is plain.
    Plain,
    /// Together with others: it is no message of a person.
    Aside(Action),
    /// It came before: it is answered as it was then.
    Again,
    /// By itself.
    Singly,
}

/// Whether an event may be one that is taken together with others, as far as it tells itself.
pub fn may_be(payload: &Payload) -> bool {
    matches!(&payload.body, Body::Message(message) if !message.is_from_the_business())
}

/// How a message can be taken, by what is known of its tenant.
pub fn way_of(tenant: &Tenant, payload: &Payload, message: &Message) -> Way {
    // A list of chats may name one by a name that only the tables know.
    if tenant.rules.mode == Mode::Test {
        return Way::Singly;
    }
    let own = OwnNames { jid: payload.envelope.own_jid.as_ref(), lids: &tenant.own_lids };
    if let Some(action) = not_a_person(message, own, &tenant.rules) {
        return Way::Aside(action);
    }
    let names_us = std::iter::once(&message.jid).chain(&message.alt).any(|jid| tenant.owns(jid));
    let is_singular = message.is_from_the_business()
        || names_us
        || message.is_unverified()
        || message.content.class == ContentClass::Placeholder;
    if is_singular { Way::Singly } else { Way::Plain }
}

/// A message of a customer in a plain chat.
pub struct Said<'a> {
    /// Its place in the batch.
    pub at: usize,
    pub payload: &'a Payload,
    pub message: &'a Message,
    pub calls: &'a Calls<'a>,
    pub sent_at: DateTime<Utc>,
    pub decision: Option<Decision>,
}

impl<'a> Said<'a> {
    pub fn new(
        at: usize,
        payload: &'a Payload,
        message: &'a Message,
        calls: &'a Calls<'a>,
        now: DateTime<Utc>,
    ) -> Self {
        let sent_at = time_of(message, now);
        Self { at, payload, message, calls, sent_at, decision: None }
    }
}

/// A chat in which a customer writes.
pub struct PlainChat<'a> {
    pub tenant: &'a Tenant,
    pub chat: Chat,
    /// Whether it has a session already.
    pub is_known: bool,
    /// In the order of arrival, each id once.
    pub said: Vec<Said<'a>>,
    /// What came once more: its place, and that of the first.
    pub repeated: Vec<(usize, usize)>,
    /// What it is called here for the first time.
    pub new_names: Vec<&'a str>,
    pub open_reply: Option<Open>,
}

impl<'a> PlainChat<'a> {
    /// The chat of messages that have to do with each other. None where it takes more to find it: they
    /// lead to several sessions, or to none until one of them connects the others.
    pub fn find(tenant: &'a Tenant, said: Vec<Said<'a>>, names: &Names) -> Option<Self> {
        let sessions: HashSet<&str> =
            said.iter().flat_map(|said| names.sessions(said.calls)).collect();
        let known = match sessions.len() {
            0 => None,
            1 => sessions.into_iter().next(),
            _ => return None,
        };
        let first = said.first()?;
        let chat_id = known.unwrap_or_else(|| new_name(first.message)).to_owned();
        let mut chat = Self {
            tenant,
            chat: Chat { tenant_id: tenant.id, chat_id },
            is_known: known.is_some(),
            said: Vec::with_capacity(said.len()),
            repeated: Vec::new(),
            new_names: Vec::new(),
            open_reply: None,
        };
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        for said in said {
            if !chat.is_called(&said, names) || !chat.learn(&said, names) {
                return None;
            }
            match first_of.entry(&said.message.id) {
                Entry::Occupied(first) => chat.repeated.push((said.at, *first.get())),
                Entry::Vacant(first) => {
                    first.insert(said.at);
                    chat.said.push(said);
                }
            }
        }
        Some(chat)
    }

    /// Whether a message leads here by what was known before it.
    fn is_called(&self, said: &Said<'_>, names: &Names) -> bool {
        let makes_it = !self.is_known && self.said.is_empty();
        let is_ours = |name: &String| {
            *name == self.chat.chat_id || self.new_names.iter().any(|new| new == name)
        };
        makes_it
            || !names.sessions(said.calls).is_empty()
            || said.calls.writings.iter().any(is_ours)
    }

    /// Learns what a message calls the chat; false where it is not sure that it names this one.
    fn learn(&mut self, said: &Said<'a>, names: &Names) -> bool {
        for jid in &said.calls.said {
            let name = jid.as_str();
            if name == self.chat.chat_id || self.new_names.contains(&name) {
                continue;
            }
            match names.get(self.tenant.id, name) {
                None => self.new_names.push(name),
                Some(named) => {
                    let is_here = named.alias_of.as_deref() == Some(self.chat.chat_id.as_str());
                    if !(is_here && named.is_confirmed && self.is_known) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// The names that led to it; None where they are more than the two that a person has.
    pub fn led(&self) -> Option<Led<'_>> {
        let said = self.said.iter().flat_map(|said| said.calls.said.iter().map(|jid| jid.as_str()));
        let names: BTreeSet<&str> = said.filter(|name| !self.new_names.contains(name)).collect();
        let mut names = names.into_iter();
        let led = Led { chat: &self.chat, by: [names.next(), names.next()] };
        names.next().is_none().then_some(led)
    }

    /// Whether the session's row tells all that these messages need.
    pub fn can_be_decided_by(&self, session: &Session) -> bool {
        self.said.iter().all(|said| is_up_to_date(session, said.message, said.sent_at))
    }

    /// Decides what each message means. None: the chat has no session yet.
    pub fn decide(&mut self, session: Option<&Session>, now: DateTime<Utc>) {
        let is_paused = session.is_some_and(|session| session.is_paused);
        // What is not told here decides about messages of the business, or in mode test, only.
        let facts = ChatFacts { is_paused, ..ChatFacts::default() };
        for said in &mut self.said {
            let decision = decide(said.message, facts, &self.tenant.rules, said.sent_at, now);
            said.decision = Some(decision);
        }
    }

    /// What the session learns of the messages; also of one that comes at the same moment by another way,
    /// which tells it the same.
    pub fn wrote(&self) -> Option<Wrote<'_>> {
        Some(Wrote {
            chat: &self.chat,
            sent_at: self.said.iter().map(|said| said.sent_at).max()?,
            jid: self.said.last()?.message.jid.as_str(),
            name: self.said.iter().rev().find_map(|said| said.message.push_name.as_deref()),
        })
    }
}
