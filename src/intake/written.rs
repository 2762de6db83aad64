//! What customers said in plain chats, and what is left aside, goes into the tables, a statement for each
//! table. It decides nothing about a chat.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::Outcome;
use super::batch::{Told, tell};
use super::message::{once_stored, to_store};
use super::plain::{PlainChat, Said};
use crate::conversation::{Action, Decision, debounce};
use crate::error::{Error, Result};
use crate::store::new_messages::{self, Stored};
use crate::store::processed_events::{self, Done, Seen};
use crate::store::questions::{self, More, NewReply, Open};
use crate::store::tenants::Tenant;
use crate::store::{Chat, replies};

/// The first look is that before the lock, and may have been overtaken; under the lock one is certain.
const LOOKS_AT_A_REPLY: usize = 2;

/// Then nothing of the batch may stand: a question would be lost.
const UNQUEUED: &str = "no reply took a question, though its session is locked";

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
        let queued = self.queue(chats, now)?;
        for chat in chats {
            let queued = queued.get(&chat.chat);
            for said in &chat.said {
                tell(told, said.at, Ok(self.outcome(chat, said, queued)));
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

    /// What a chat asked, if it asked something.
    fn asked<'c>(&self, chat: &'c PlainChat<'_>) -> Option<Asked<'c>> {
        let times = chat.said.iter().filter(|said| self.asks(said)).map(|said| said.sent_at);
        Some(Asked {
            chat: &chat.chat,
            tenant: chat.tenant,
            first_sent_at: times.clone().min()?,
            wanted: i32::try_from(times.count()).unwrap_or(i32::MAX),
            open_reply: chat.open_reply(),
        })
    }

    /// The replies that answer what chats asked.
    fn queue<'c>(
        &self,
        chats: &'c [PlainChat<'_>],
        now: DateTime<Utc>,
    ) -> Result<HashMap<&'c Chat, Queued>> {
        let mut asked: Vec<Asked<'c>> = chats.iter().filter_map(|chat| self.asked(chat)).collect();
        let mut queued = HashMap::with_capacity(asked.len());
        for _ in 0..LOOKS_AT_A_REPLY {
            queue(&asked, now, &mut queued)?;
            asked.retain(|asked| !queued.contains_key(asked.chat));
            for asked in &mut asked {
                let open = replies::open_in(asked.chat)?;
                asked.open_reply =
                    open.map(|open| Open { id: open.id, created_at: open.created_at });
            }
        }
        if asked.is_empty() { Ok(queued) } else { Err(Error::Internal(UNQUEUED.to_owned())) }
    }

    fn outcome(&self, chat: &PlainChat<'_>, said: &Said<'_>, queued: Option<&Queued>) -> Outcome {
        let id = &said.message.id;
        let first = self.recorded.get(&said.at).copied().unwrap_or(false);
        let new = |action| Outcome {
            chat_id: Some(chat.chat.chat_id.clone()),
            message_id: Some(id.clone()),
            ..Outcome::new(chat.tenant, action)
        };
        match self.messages.get(&said.at) {
            Some(Fate::Stands(decision)) if first => Outcome {
                reply_id: queued.filter(|_| decision.queue).map(|queued| queued.reply_id),
                wakes_worker: queued.filter(|_| decision.queue).map(|queued| queued.due_at),
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

/// Questions of a chat.
struct Asked<'c> {
    chat: &'c Chat,
    tenant: &'c Tenant,
    first_sent_at: DateTime<Utc>,
    wanted: i32,
    /// The reply that was open when it was looked for.
    open_reply: Option<Open>,
}

impl Asked<'_> {
    fn due_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let opened_at = self.open_reply.map_or(now, |open| open.created_at);
        debounce::due_at(now, opened_at, self.tenant.debounce, self.tenant.debounce_max)
    }
}

/// The reply that answers them.
struct Queued {
    reply_id: i64,
    due_at: DateTime<Utc>,
}

/// Queues questions where the chat's reply is open, or is not, as it was when it was looked for.
fn queue<'c>(
    asked: &[Asked<'c>],
    now: DateTime<Utc>,
    queued: &mut HashMap<&'c Chat, Queued>,
) -> Result<()> {
    let (mut more, mut new) = (Vec::new(), Vec::new());
    for asked in asked {
        let Asked { chat, first_sent_at, wanted, .. } = *asked;
        let due_at = asked.due_at(now);
        match asked.open_reply {
            Some(open) => more.push(More { reply_id: open.id, due_at, first_sent_at, wanted }),
            None => new.push(NewReply { chat, due_at, first_sent_at, wanted }),
        }
    }
    let open = if more.is_empty() { HashSet::new() } else { questions::want_more_all(&more)? };
    let opened = if new.is_empty() { HashMap::new() } else { questions::open_all(&new)? };
    for asked in asked {
        let reply_id = match asked.open_reply {
            Some(reply) => Some(reply.id).filter(|id| open.contains(id)),
            None => opened.get(asked.chat).copied(),
        };
        if let Some(reply_id) = reply_id {
            queued.insert(asked.chat, Queued { reply_id, due_at: asked.due_at(now) });
        }
    }
    Ok(())
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
