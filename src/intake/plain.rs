//! Chats in which nothing happens but that a customer writes: the session's row tells all that has to be
//! known. It is read without a lock, and what follows is written only if it stands still. It asks
//! `conversation/` what each message means, and writes nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::chat::new_name;
use super::message::{is_up_to_date, time_of};
use super::names::{Calls, Names};
use crate::conversation::{Action, ChatFacts, Decision, Mode, OwnNames, decide, not_a_person};
use crate::store::Chat;
use crate::store::arrivals::Standing;
use crate::store::customers::Wrote;
use crate::store::questions::Open;
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
    /// As it was read. None: it has no session yet.
    pub known: Option<&'a Standing>,
    /// In the order of arrival, each id once.
    pub said: Vec<Said<'a>>,
    /// What came once more: its place, and that of the first.
    pub repeated: Vec<(usize, usize)>,
    /// What it is called here for the first time.
    pub new_names: Vec<&'a str>,
}

impl<'a> PlainChat<'a> {
    /// The chat of messages that have to do with each other. None where it takes more to find it: they
    /// lead to several sessions, or to none until one of them connects the others; or where it takes more
    /// than the session's row to decide what they mean.
    pub fn find(tenant: &'a Tenant, said: Vec<Said<'a>>, names: &'a Names) -> Option<Self> {
        let mut chats: BTreeMap<&str, &Standing> =
            said.iter().flat_map(|said| names.chats(said.calls)).collect();
        let known = chats.pop_first().map(|(_, standing)| standing);
        if !chats.is_empty() {
            return None;
        }
        let first = said.first()?;
        let chat = match known {
            Some(standing) => standing.session.chat.clone(),
            None => Chat { tenant_id: tenant.id, chat_id: new_name(first.message).to_owned() },
        };
        let mut chat = Self {
            tenant,
            chat,
            known,
            said: Vec::with_capacity(said.len()),
            repeated: Vec::new(),
            new_names: Vec::new(),
        };
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        for said in said {
            let is_sure = chat.is_called(&said, names) && chat.learn(&said, names);
            if !(is_sure && chat.can_decide(&said)) {
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
        let makes_it = self.known.is_none() && self.said.is_empty();
        let is_ours = |name: &String| {
            *name == self.chat.chat_id || self.new_names.iter().any(|new| new == name)
        };
        makes_it || !names.chats(said.calls).is_empty() || said.calls.writings.iter().any(is_ours)
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
                    if !(is_here && named.is_confirmed && self.known.is_some()) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether the session's row tells all that a message needs.
    fn can_decide(&self, said: &Said<'_>) -> bool {
        self.known.is_none_or(|known| is_up_to_date(&known.session, said.message, said.sent_at))
    }

    /// Decides what each message means.
    pub fn decide(&mut self, now: DateTime<Utc>) {
        let is_paused = self.known.is_some_and(|known| known.session.is_paused);
        // What is not told here decides about messages of the business, or in mode test, only.
        let facts = ChatFacts { is_paused, ..ChatFacts::default() };
        for said in &mut self.said {
            let decision = decide(said.message, facts, &self.tenant.rules, said.sent_at, now);
            said.decision = Some(decision);
        }
    }

    /// The reply that was to answer the chat.
    pub fn open_reply(&self) -> Option<Open> {
        self.known.and_then(|known| known.open_reply)
    }

    /// What the session learns of the messages; also of one that comes at the same moment by another way,
    /// which tells it the same.
    pub fn wrote(&self) -> Option<Wrote<'_>> {
        Some(Wrote {
            chat: &self.chat,
            sent_at: self.said.iter().map(|said| said.sent_at).max()?,
            jid: self.said.last()?.message.jid.as_str(),
            name: self.said.iter().rev().find_map(|said| said.message.push_name.as_deref()),
            unchanged_since: self.known.map(|known| known.updated_at),
        })
    }
}
