//! What customers said in plain chats, and what is left aside, goes into the tables, a statement for each
//! table. It decides nothing about a chat.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Outcome;
use super::batch::{Told, tell};
use super::message::{once_stored, to_store};
use super::plain::{PlainChat, Said};
use crate::conversation::{Action, Decision, debounce};
use crate::error::Result;
use crate::store::new_messages::{self, Stored};
use crate::store::processed_events::{self, Done, Seen};
use crate::store::questions::{self, More, NewReply};
use crate::store::tenants::Tenant;

/// An event that is no message of a person.
pub struct Aside<'a> {
    pub at: usize,
    pub tenant: &'a Tenant,
    pub event: &'a str,
    pub message_id: &'a str,
    pub action: Action,
}

/// What is in the tables of messages and of events.
pub struct Written {
    /// What became of each message, by its place in the batch.
    messages: HashMap<usize, Fate>,
    /// Of each event that was to be recorded, by its place: whether it was, or came first by another way.
    recorded: HashMap<usize, bool>,
}

/// What became of a message.
enum Fate {
    /// It is stored, and this follows.
    Stands(Decision),
    /// Another event of it has acted.
    Known,
    /// It came at the same moment by another way.
    Seen(Seen),
}

impl Written {
    /// Writes messages and events.
    pub fn of(chats: &[PlainChat<'_>], asides: &[Aside<'_>]) -> Result<Self> {
        let mut written = Self { messages: store(chats)?, recorded: HashMap::new() };
        written.record(chats, asides)?;
        Ok(written)
    }

    fn stands(&self, said: &Said<'_>) -> Option<&Decision> {
        match self.messages.get(&said.at) {
            Some(Fate::Stands(decision)) => Some(decision),
            _ => None,
        }
    }

    fn record(&mut self, chats: &[PlainChat<'_>], asides: &[Aside<'_>]) -> Result<()> {
        let mut done: Vec<(usize, Done<'_>)> = Vec::new();
        for aside in asides {
            let Aside { at, tenant, event, message_id, action } = *aside;
            done.push((at, Done { tenant_id: tenant.id, message_id, event, action }));
        }
        for (chat, said) in all_said(chats) {
            let action = match self.messages.get(&said.at) {
                Some(Fate::Stands(decision)) => decision.action,
                Some(Fate::Known) => Action::AlreadyStored,
                Some(Fate::Seen(_)) | None => continue,
            };
            let event = said.payload.envelope.event.as_str();
            let message_id = said.message.id.as_str();
            done.push((said.at, Done { tenant_id: chat.tenant.id, message_id, event, action }));
        }
        // One order for all who record many; no event twice.
        done.sort_by(|(_, one), (_, other)| key(one).cmp(&key(other)));
        done.dedup_by(|(_, later), (_, first)| key(later) == key(first));
        let (places, done): (Vec<usize>, Vec<Done<'_>>) = done.into_iter().unzip();
        if !done.is_empty() {
            let recorded = processed_events::record_all(&done)?;
            self.recorded = places.into_iter().zip(recorded).collect();
        }
        Ok(())
    }

    /// Queues what is to be answered, and tells what became of each event.
    pub fn tell(
        self,
        chats: &[PlainChat<'_>],
        asides: &[Aside<'_>],
        told: &mut Told,
        now: DateTime<Utc>,
    ) -> Result<()> {
        for aside in asides {
            tell(told, aside.at, Ok(self.set_aside(aside)));
        }
        let replies = self.queue(chats, now)?;
        for (chat, reply_id) in chats.iter().zip(replies) {
            for said in &chat.said {
                tell(told, said.at, Ok(self.outcome(chat, said, reply_id, now)));
            }
            for (at, first) in &chat.repeated {
                let first = told.get(*first).and_then(|told| told.as_ref()?.as_ref().ok()).cloned();
                if let Some(first) = first {
                    let again = Outcome { duplicate: true, wakes_worker: None, ..first };
                    tell(told, *at, Ok(again));
                }
            }
        }
        Ok(())
    }

    fn set_aside(&self, aside: &Aside<'_>) -> Outcome {
        let first = self.recorded.get(&aside.at).copied().unwrap_or(false);
        Outcome {
            duplicate: !first,
            message_id: Some(aside.message_id.to_owned()),
            ..Outcome::new(aside.tenant, aside.action)
        }
    }

    /// Whether a message is a question that is to be answered.
    fn asks(&self, said: &Said<'_>) -> bool {
        self.stands(said).is_some_and(|decision| decision.queue)
            && self.recorded.get(&said.at) == Some(&true)
    }

    /// The reply that answers each chat's questions, if it asked some.
    fn queue(&self, chats: &[PlainChat<'_>], now: DateTime<Utc>) -> Result<Vec<Option<i64>>> {
        let (mut more, mut new) = (Vec::new(), Vec::new());
        let asked = chats.iter().map(|chat| {
            let times = chat.said.iter().filter(|said| self.asks(said)).map(|said| said.sent_at);
            let first_sent_at = times.clone().min()?;
            let wanted = i32::try_from(times.count()).unwrap_or(i32::MAX);
            let due_at = due_at(chat, now);
            match chat.open_reply {
                Some(open) => {
                    more.push(More { reply_id: open.id, due_at, first_sent_at, wanted });
                    Some(Some(open.id))
                }
                None => {
                    new.push(NewReply { chat: &chat.chat, due_at, first_sent_at, wanted });
                    Some(None)
                }
            }
        });
        let asked: Vec<Option<Option<i64>>> = asked.collect();
        if !more.is_empty() {
            questions::want_more_all(&more)?;
        }
        let opened = if new.is_empty() { Vec::new() } else { questions::open_all(&new)? };
        let mut opened = opened.into_iter();
        Ok(asked.into_iter().map(|open| open?.or_else(|| opened.next())).collect())
    }

    fn outcome(
        &self,
        chat: &PlainChat<'_>,
        said: &Said<'_>,
        reply_id: Option<i64>,
        now: DateTime<Utc>,
    ) -> Outcome {
        let id = &said.message.id;
        let first = self.recorded.get(&said.at).copied().unwrap_or(false);
        let new = |action| Outcome {
            chat_id: Some(chat.chat.chat_id.clone()),
            message_id: Some(id.clone()),
            ..Outcome::new(chat.tenant, action)
        };
        match self.messages.get(&said.at) {
            Some(Fate::Stands(decision)) if first => Outcome {
                reply_id: reply_id.filter(|_| decision.queue),
                wakes_worker: decision.queue.then(|| due_at(chat, now)),
                ..new(decision.action)
            },
            Some(Fate::Stands(decision)) => {
                Outcome::duplicate(chat.tenant, id, Seen::nothing_more(decision.action))
            }
            Some(Fate::Seen(seen)) => Outcome::duplicate(chat.tenant, id, seen.clone()),
            Some(Fate::Known) | None => Outcome { duplicate: !first, ..new(Action::AlreadyStored) },
        }
    }
}

/// When the reply to a chat in which a customer writes now is due.
fn due_at(chat: &PlainChat<'_>, now: DateTime<Utc>) -> DateTime<Utc> {
    let opened_at = chat.open_reply.map_or(now, |open| open.created_at);
    debounce::due_at(now, opened_at, chat.tenant.debounce, chat.tenant.debounce_max)
}

fn key<'a>(done: &Done<'a>) -> (i32, &'a str, &'a str) {
    (done.tenant_id, done.message_id, done.event)
}

fn all_said<'s, 'a>(
    chats: &'s [PlainChat<'a>],
) -> impl Iterator<Item = (&'s PlainChat<'a>, &'s Said<'a>)> {
    chats.iter().flat_map(|chat| chat.said.iter().map(move |said| (chat, said)))
}

/// Stores what was said, in the order of arrival.
fn store(chats: &[PlainChat<'_>]) -> Result<HashMap<usize, Fate>> {
    let mut said: Vec<_> = all_said(chats)
        .filter_map(|(chat, said)| {
            let decision = said.decision?;
            let sender = decision.store_as?;
            let row = to_store(&chat.chat, said.payload, said.message, sender, said.sent_at);
            Some((said, decision, row))
        })
        .collect();
    if said.is_empty() {
        return Ok(HashMap::new());
    }
    said.sort_by_key(|(said, ..)| said.at);
    let (said, rows): (Vec<_>, Vec<_>) =
        said.into_iter().map(|(said, decision, row)| ((said, decision), row)).unzip();
    let stored = new_messages::store_all(&rows)?;
    let mut fates = HashMap::with_capacity(said.len());
    for ((said, decision), stored) in said.into_iter().zip(stored) {
        fates.insert(said.at, fate(said, decision, stored)?);
    }
    Ok(fates)
}

fn fate(said: &Said<'_>, decision: Decision, stored: Stored) -> Result<Fate> {
    if let Some(decision) = once_stored(decision, stored) {
        return Ok(Fate::Stands(decision));
    }
    let event = &said.payload.envelope.event;
    let seen = processed_events::seen(said.calls.tenant_id, &said.message.id, event)?;
    Ok(seen.map_or(Fate::Known, Fate::Seen))
}
