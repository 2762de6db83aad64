//! Any number of webhooks in one transaction. What came before is answered at once; chats in which only
//! customers write are taken together, whatever they are; everything else is taken singly, as if it were
//! alone. Events of one chat keep the order in which they came; chats have no order among each other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::grouping::groups;
use super::message::opens_the_line;
use super::names::{Calls, Names};
use super::plain::{PlainChat, Said, Way, may_be, way_of};
use super::written::{Aside, Written};
use super::{Outcome, single};
use crate::error::{Error, Result};
use crate::settings;
use crate::store::arrivals::{self, Arriving};
use crate::store::processed_events::Seen;
use crate::store::tenants::{self, Tenant};
use crate::store::{Chat, chat_aliases, customers, messages, sessions::Session};
use crate::webhook::{Body, Message, Payload};

/// What became of each event, at its place; None: not yet told.
pub type Told = Vec<Option<Result<Outcome>>>;

/// Takes webhooks of any tenants in the order in which they came, all in this transaction; what became
/// of each stands at its place. An error that PostgreSQL raises is that of the whole transaction.
pub fn ingest_all(payloads: &[Payload], now: DateTime<Utc>) -> Vec<Result<Outcome>> {
    if let [alone] = payloads
        && !may_be(alone)
    {
        return vec![single::take(alone, now)];
    }
    take_all(payloads, now).unwrap_or_else(|error| {
        let reason = error.to_string();
        payloads.iter().map(|_| Err(Error::Internal(reason.clone()))).collect()
    })
}

fn take_all(payloads: &[Payload], now: DateTime<Utc>) -> Result<Vec<Result<Outcome>>> {
    let asked: Vec<Arriving<'_>> = payloads.iter().map(arriving).collect();
    let (tenants, known) = arrivals::look_up(&asked, &settings::behaviour())?;
    let mut told: Told = payloads.iter().map(|_| None).collect();
    let mut events = Vec::with_capacity(payloads.len());
    for ((at, payload), known) in payloads.iter().enumerate().zip(known) {
        match known.tenant.and_then(|tenant| tenants.get(tenant)) {
            Some(tenant) => events.push(Event::new(at, tenant, payload, known.seen)?),
            None => {
                let instance = payload.envelope.instance.clone();
                tell(&mut told, at, Err(Error::UnknownInstance { instance }));
            }
        }
    }
    if events.iter().all(|event| event.way == Way::Again) {
        events.iter().for_each(|event| event.answer_again(&mut told));
    } else {
        take_events(events, &mut told, now)?;
    }
    let in_order = told.into_iter().zip(payloads);
    Ok(in_order.map(|(told, payload)| told.unwrap_or_else(|| single::take(payload, now))).collect())
}

fn arriving(payload: &Payload) -> Arriving<'_> {
    let message_id = match &payload.body {
        Body::Message(message) => Some(message.id.as_str()),
        _ => None,
    };
    let envelope = &payload.envelope;
    Arriving { instance: &envelope.instance, event: &envelope.event, message_id }
}

pub fn tell(told: &mut Told, at: usize, outcome: Result<Outcome>) {
    if let Some(place) = told.get_mut(at) {
        *place = Some(outcome);
    }
}

/// An event of a tenant.
struct Event<'a> {
    at: usize,
    tenant: &'a Tenant,
    payload: &'a Payload,
    way: Way,
    /// What it calls its chat, if it has to do with one.
    calls: Option<Calls<'a>>,
    seen: Option<Seen>,
}

impl<'a> Event<'a> {
    fn new(
        at: usize,
        tenant: &'a Tenant,
        payload: &'a Payload,
        seen: Option<Seen>,
    ) -> Result<Self> {
        let (way, calls) = match &payload.body {
            _ if seen.is_some() => (Way::Again, None),
            Body::Message(message) => match way_of(tenant, payload, message) {
                Way::Aside(action) => (Way::Aside(action), None),
                way => (way, Some(Calls::of(tenant, message))),
            },
            Body::Change(change) => {
                let chat = messages::find(tenant.id, &change.id)?.and_then(|known| known.chat);
                (Way::Singly, chat.map(|chat| Calls::by_stored(&chat)))
            }
            _ => (Way::Singly, None),
        };
        Ok(Self { at, tenant, payload, way, calls, seen })
    }

    /// Answers what came before as it was answered then.
    fn answer_again(&self, told: &mut Told) {
        if let (Some(seen), Some(message)) = (&self.seen, self.message()) {
            let outcome = Outcome::duplicate(self.tenant, &message.id, seen.clone());
            tell(told, self.at, Ok(outcome));
        }
    }

    fn message(&self) -> Option<&'a Message> {
        match &self.payload.body {
            Body::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Whether it may mean something for every chat of its tenant.
    fn is_of_the_whole_tenant(&self) -> bool {
        matches!(
            &self.payload.body,
            Body::Line(_) | Body::Qr(_) | Body::Aliases(_) | Body::History(_)
        )
    }

    /// What it shares with the events that it has to do with.
    fn keys<'s>(&'s self, names: &'s Names) -> Vec<Key<'s>> {
        let id = match &self.payload.body {
            Body::Message(message) => Some(&message.id),
            Body::Receipt(receipt) => Some(&receipt.id),
            Body::Change(change) => Some(&change.id),
            _ => None,
        };
        let id = id.map(|id| Key::Message(self.tenant.id, id));
        let seen_in = self.seen.iter().filter_map(|seen| seen.chat_id.as_deref());
        let names = self.calls.iter().flat_map(|calls| {
            let sessions = names.sessions(calls);
            calls.writings.iter().map(String::as_str).chain(sessions)
        });
        let chats = names.chain(seen_in).map(|name| Key::Chat(self.tenant.id, name));
        id.into_iter().chain(chats).collect()
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Message(i32, &'a str),
    Chat(i32, &'a str),
}

/// Takes what can be taken together.
fn take_events(mut events: Vec<Event<'_>>, told: &mut Told, now: DateTime<Utc>) -> Result<()> {
    take_whole_tenants(&mut events, told, now);
    open_lines(&events, now)?;
    let names = Names::look_up(events.iter().filter_map(|event| event.calls.as_ref()))?;
    let (mut asides, mut chats) = (Vec::new(), Vec::new());
    for group in groups(events.iter().map(|event| event.keys(&names))) {
        let group = group.iter().filter_map(|&at| events.get(at));
        let (again, new): (Vec<_>, Vec<_>) = group.partition(|event| event.way == Way::Again);
        let is_together = if let Some(aside) = asides_of(&new) {
            asides.extend(aside);
            true
        } else if let Some(chat) = plain_chat_of(&new, &names, now) {
            chats.push(chat);
            true
        } else {
            false
        };
        // What is taken singly may change what became of them.
        if is_together {
            again.iter().for_each(|event| event.answer_again(told));
        }
    }
    if chats.is_empty() && asides.is_empty() {
        return Ok(());
    }
    let sessions = if chats.is_empty() { HashMap::new() } else { lock(&events, &names, &chats)? };
    stay_plain(&mut chats, &sessions)?;
    for chat in &mut chats {
        chat.decide(sessions.get(&chat.chat), now);
    }
    make_known(&mut chats)?;
    Written::of(&chats, &asides)?.tell(&chats, &asides, told, now)
}

/// Where an event is of a whole tenant, all events of that tenant are taken one after the other; before
/// anything is locked for others, since they may change the tenant's row.
fn take_whole_tenants(events: &mut Vec<Event<'_>>, told: &mut Told, now: DateTime<Utc>) {
    let whole = events.iter().filter(|event| event.is_of_the_whole_tenant());
    let whole: HashSet<i32> = whole.map(|event| event.tenant.id).collect();
    events.retain(|event| {
        let is_of_others = !whole.contains(&event.tenant.id);
        if !is_of_others {
            tell(told, event.at, single::take(event.payload, now));
        }
        is_of_others
    });
}

/// What a message tells about the line of its tenant comes first: rows of tenants are locked before those
/// of sessions.
fn open_lines(events: &[Event<'_>], now: DateTime<Utc>) -> Result<()> {
    let opened: BTreeSet<i32> = events
        .iter()
        .filter(|event| {
            let opens = |message| opens_the_line(event.tenant, message, now);
            event.message().is_some_and(opens)
        })
        .map(|event| event.tenant.id)
        .collect();
    for tenant_id in opened {
        tenants::prove_open(tenant_id)?;
    }
    Ok(())
}

fn asides_of<'a>(group: &[&Event<'a>]) -> Option<Vec<Aside<'a>>> {
    group
        .iter()
        .map(|event| match (event.way, event.message()) {
            (Way::Aside(action), Some(message)) => Some(Aside {
                at: event.at,
                tenant: event.tenant,
                event: &event.payload.envelope.event,
                message_id: &message.id,
                action,
            }),
            _ => None,
        })
        .collect()
}

/// The chat of a group of events, if it is plain.
fn plain_chat_of<'a>(
    group: &[&'a Event<'a>],
    names: &Names,
    now: DateTime<Utc>,
) -> Option<PlainChat<'a>> {
    let said = group.iter().map(|event| match (event.way, event.message(), &event.calls) {
        (Way::Plain, Some(message), Some(calls)) => {
            Some(Said::new(event.at, event.payload, message, calls, now))
        }
        _ => None,
    });
    PlainChat::find(group.first()?.tenant, said.collect::<Option<Vec<_>>>()?, names)
}

/// Locks every session that the batch has to do with, those of events that are taken singly too: then
/// nobody waits for another batch while it holds a session. Those of plain chats learn what was said.
fn lock(
    events: &[Event<'_>],
    names: &Names,
    chats: &[PlainChat<'_>],
) -> Result<HashMap<Chat, Session>> {
    let known: BTreeMap<(i32, &str), &PlainChat<'_>> = chats
        .iter()
        .filter(|chat| chat.is_known)
        .map(|chat| ((chat.tenant.id, chat.chat.chat_id.as_str()), chat))
        .collect();
    let calls = events.iter().filter_map(|event| event.calls.as_ref());
    let wanted = calls
        .flat_map(|calls| names.sessions(calls).into_iter().map(|name| (calls.tenant_id, name)));
    let others: BTreeSet<(i32, &str)> = wanted.filter(|chat| !known.contains_key(chat)).collect();
    let mut sessions = Vec::new();
    if !others.is_empty() {
        let named = |(tenant_id, name): (i32, &str)| Chat { tenant_id, chat_id: name.to_owned() };
        sessions = customers::lock_all(&others.into_iter().map(named).collect::<Vec<_>>())?;
    }
    let wrote: Vec<_> = known.values().filter_map(|chat| chat.wrote()).collect();
    if !wrote.is_empty() {
        sessions.extend(customers::wrote_again(&wrote)?);
    }
    Ok(sessions.into_iter().map(|session| (session.chat.clone(), session)).collect())
}

/// Under the locks: what has changed since the names were looked up, or takes more than the session's
/// row, is left to be taken singly. What stays learns of its open reply.
fn stay_plain(chats: &mut Vec<PlainChat<'_>>, sessions: &HashMap<Chat, Session>) -> Result<()> {
    chats.retain(|chat| {
        let session = sessions.get(&chat.chat);
        let is_plain = |session| chat.can_be_decided_by(session) && chat.led().is_some();
        !chat.is_known || session.is_some_and(is_plain)
    });
    let known = chats.iter().filter(|chat| chat.is_known);
    let led: Vec<_> = known.filter_map(PlainChat::led).collect();
    if led.is_empty() {
        return Ok(());
    }
    let mut standing = customers::standing(&led)?.into_iter();
    chats.retain_mut(|chat| {
        if !chat.is_known {
            return true;
        }
        let Some(standing) = standing.next() else { return false };
        chat.open_reply = standing.open_reply;
        !standing.has_moved
    });
    Ok(())
}

/// Makes the sessions that are new, and learns new names. Where somebody else has made a session at the
/// same moment, its chat is taken singly.
fn make_known(chats: &mut Vec<PlainChat<'_>>) -> Result<()> {
    let names: Vec<(&Chat, &str)> = chats
        .iter()
        .flat_map(|chat| chat.new_names.iter().map(|name| (&chat.chat, *name)))
        .collect();
    if !names.is_empty() {
        chat_aliases::add_all(&names)?;
    }
    let new: Vec<_> =
        chats.iter().filter(|chat| !chat.is_known).filter_map(PlainChat::wrote).collect();
    if new.is_empty() {
        return Ok(());
    }
    let mut made = customers::first_wrote(&new)?.into_iter();
    chats.retain(|chat| chat.is_known || made.next().unwrap_or(false));
    Ok(())
}
