//! Any number of webhooks in one transaction. What came before is answered at once; chats in which only
//! customers write are taken together, whatever they are; everything else is taken singly, as if it were
//! alone. Events of one chat keep the order in which they came; chats have no order among each other.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};

use super::grouping::groups;
use super::message::opens_the_line;
use super::names::{Calls, Names};
use super::plain::{PlainChat, Said, Way, may_be, way_of};
use super::written::{Aside, Written};
use super::{Outcome, single};
use crate::error::{Error, Result};
use crate::settings;
use crate::store::arrivals::Arriving;
use crate::store::processed_events::{self, Seen};
use crate::store::tenants::{self, Tenant, Tenants};
use crate::store::{Chat, chat_aliases, customers, messages};
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
    let instances: BTreeSet<&str> =
        payloads.iter().map(|payload| payload.envelope.instance.as_str()).collect();
    let instances: Vec<&str> = instances.into_iter().collect();
    match tenants::of_instances(&instances, &settings::behaviour()) {
        Ok(tenants) => ingest_all_with(&tenants, payloads, now),
        Err(error) => all_failed(payloads, &error),
    }
}

/// [`ingest_all`] for whoever has read the tenants already, in this transaction: those of all these events.
/// Where an instance is not among them, no tenant has it.
pub fn ingest_all_with(
    tenants: &Tenants,
    payloads: &[Payload],
    now: DateTime<Utc>,
) -> Vec<Result<Outcome>> {
    take_all(tenants, payloads, now).unwrap_or_else(|error| all_failed(payloads, &error))
}

fn all_failed(payloads: &[Payload], error: &Error) -> Vec<Result<Outcome>> {
    let reason = error.to_string();
    payloads.iter().map(|_| Err(Error::Internal(reason.clone()))).collect()
}

fn take_all(
    tenants: &Tenants,
    payloads: &[Payload],
    now: DateTime<Utc>,
) -> Result<Vec<Result<Outcome>>> {
    let mut told: Told = payloads.iter().map(|_| None).collect();
    let mut events = Vec::with_capacity(payloads.len());
    for (at, payload) in payloads.iter().enumerate() {
        let instance = &payload.envelope.instance;
        match tenants.of_instance(instance) {
            Some(tenant) => events.push(Event::new(at, tenant, payload)?),
            None => {
                tell(&mut told, at, Err(Error::UnknownInstance { instance: instance.clone() }));
            }
        }
    }
    let names = look_up(&mut events)?;
    if events.iter().all(|event| event.way == Way::Again) {
        events.iter().for_each(|event| event.answer_again(&mut told));
    } else {
        take_events(events, names, &mut told, now)?;
    }
    let in_order = told.into_iter().zip(payloads);
    Ok(in_order.map(|(told, payload)| told.unwrap_or_else(|| single::take(payload, now))).collect())
}

/// Looks up where the names of all events lead, and tells those that came before.
fn look_up(events: &mut [Event<'_>]) -> Result<Names> {
    let messages = events.iter().enumerate();
    let (places, arriving): (Vec<usize>, Vec<Arriving<'_>>) =
        messages.filter_map(|(at, event)| Some((at, event.arriving()?))).unzip();
    let calls = events.iter().filter_map(|event| event.calls.as_ref());
    let (names, seen) = Names::look_up(calls, &arriving)?;
    if seen.is_empty() {
        return Ok(names);
    }
    let at = |places: &[usize], place: usize| places.get(place).copied();
    let places: Vec<usize> = seen.iter().filter_map(|&place| at(&places, place)).collect();
    let again: Vec<Arriving<'_>> =
        seen.iter().filter_map(|&place| arriving.get(place).copied()).collect();
    for (place, seen) in processed_events::seen_all(&again)? {
        if let Some(event) = at(&places, place).and_then(|at| events.get_mut(at)) {
            event.came_before(seen);
        }
    }
    Ok(names)
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
    fn new(at: usize, tenant: &'a Tenant, payload: &'a Payload) -> Result<Self> {
        let (way, calls) = match &payload.body {
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
        Ok(Self { at, tenant, payload, way, calls, seen: None })
    }

    fn arriving(&self) -> Option<Arriving<'a>> {
        let message_id = &self.message()?.id;
        let event = &self.payload.envelope.event;
        Some(Arriving { tenant_id: self.tenant.id, message_id, event })
    }

    fn came_before(&mut self, seen: Seen) {
        (self.way, self.calls, self.seen) = (Way::Again, None, Some(seen));
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
            let chats = names.chats(calls).into_keys();
            calls.writings.iter().map(String::as_str).chain(chats)
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
fn take_events(
    mut events: Vec<Event<'_>>,
    mut names: Names,
    told: &mut Told,
    now: DateTime<Utc>,
) -> Result<()> {
    take_whole_tenants(&mut events, told, now);
    open_lines(&events, now)?;
    names.reserve_new(events.iter().filter_map(|event| event.calls.as_ref()))?;
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
    lock(&events, &names, &mut chats)?;
    for chat in &mut chats {
        chat.decide(now);
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
    names: &'a Names,
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

/// Locks every session that plain chats and events beside them have to do with, those that are taken singly
/// too: then nobody waits for another batch while it holds a session. Those of plain chats learn what was
/// said; what has changed since it was read is left to be taken singly.
fn lock(events: &[Event<'_>], names: &Names, chats: &mut Vec<PlainChat<'_>>) -> Result<()> {
    if chats.is_empty() {
        return Ok(());
    }
    let known = chats.iter().filter(|chat| chat.known.is_some());
    let known: BTreeMap<(i32, &str), &PlainChat<'_>> =
        known.map(|chat| ((chat.tenant.id, chat.chat.chat_id.as_str()), chat)).collect();
    let calls = events.iter().filter_map(|event| event.calls.as_ref());
    let wanted =
        calls.flat_map(|calls| names.chats(calls).into_keys().map(|name| (calls.tenant_id, name)));
    let others: BTreeSet<(i32, &str)> = wanted.filter(|chat| !known.contains_key(chat)).collect();
    if !others.is_empty() {
        let named = |(tenant_id, name): (i32, &str)| Chat { tenant_id, chat_id: name.to_owned() };
        customers::lock_all(&others.into_iter().map(named).collect::<Vec<_>>())?;
    }
    let wrote: Vec<_> = known.values().filter_map(|chat| chat.wrote()).collect();
    if wrote.is_empty() {
        return Ok(());
    }
    let took = customers::wrote_again(&wrote)?;
    chats.retain(|chat| chat.known.is_none() || took.contains(&chat.chat));
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
        chats.iter().filter(|chat| chat.known.is_none()).filter_map(PlainChat::wrote).collect();
    if new.is_empty() {
        return Ok(());
    }
    let mut made = customers::first_wrote(&new)?.into_iter();
    chats.retain(|chat| chat.known.is_some() || made.next().unwrap_or(false));
    Ok(())
}
