//! What is due, in the order in which it gets threads: what is written already goes out before
//! anything new is generated. It lists and begins; it decides nothing about a reply.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::cooldowns::Cooldowns;
use super::jobs::Job;
use super::places::{Places, Side};
use super::set_aside::{Queue, SetAside};
use super::terms::Terms;
use super::{claim, lookup, send};
use crate::error::Result;
use crate::intake::{echo, upkeep};
use crate::settings::Behaviour;
use crate::store::shares::Bounds;
use crate::store::{
    deliveries, many_deliveries, many_replies, processed_events, replies, resumptions,
};

/// One thing to do, by the id of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    Send(i64),
    LookUp(i64),
    Answer(i64),
    /// The pause of a session is over, by its end or by silence.
    EndPause(i64),
    /// The event of a message of which nobody could say whether it is ours; its chat's others with it.
    Decide(i64),
}

impl Due {
    pub fn id(self) -> i64 {
        match self {
            Self::Send(id)
            | Self::LookUp(id)
            | Self::Answer(id)
            | Self::EndPause(id)
            | Self::Decide(id) => id,
        }
    }

    pub fn queue(self) -> Queue {
        match self {
            Self::Answer(_) => Queue::Replies,
            Self::Send(_) | Self::LookUp(_) => Queue::Deliveries,
            Self::EndPause(_) => Queue::Pauses,
            Self::Decide(_) => Queue::Echoes,
        }
    }

    /// Whether it needs a thread.
    pub fn makes_a_call(self) -> bool {
        matches!(self.queue(), Queue::Replies | Queue::Deliveries)
    }
}

/// As the log and `findings.object` name it.
impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.queue() {
            Queue::Replies => "reply",
            Queue::Deliveries => "delivery",
            Queue::Pauses => "session",
            Queue::Echoes => "event",
        };
        write!(f, "{kind} {}", self.id())
    }
}

/// Things of one kind that one transaction begins at most: their calls begin when it commits.
const MOST_AT_ONCE: usize = 200;

/// What is not looked at, whatever is due.
#[derive(PartialEq, Eq)]
pub struct PassedOver {
    /// Tenants: their model's provider wants a rest, or its server has its share of calls.
    by_models: Vec<i32>,
    /// Tenants: their Evolution has its share of calls.
    by_gateways: Vec<i32>,
    /// PostgreSQL has refused to let these begin.
    replies: Vec<i64>,
    deliveries: Vec<i64>,
}

impl PassedOver {
    pub fn now(cooldowns: &Cooldowns, places: &Places, aside: &SetAside) -> Self {
        let by_models: BTreeSet<i32> = cooldowns
            .tenants()
            .into_iter()
            .chain(places.waiting(Side::Model))
            .chain(aside.tenants(Queue::Replies))
            .collect();
        let by_gateways: BTreeSet<i32> = places
            .waiting(Side::Gateway)
            .into_iter()
            .chain(aside.tenants(Queue::Deliveries))
            .collect();
        Self {
            by_models: by_models.into_iter().collect(),
            by_gateways: by_gateways.into_iter().collect(),
            replies: aside.ids(Queue::Replies),
            deliveries: aside.ids(Queue::Deliveries),
        }
    }

    pub fn bounds(&self, defaults: &Behaviour) -> Bounds<'_> {
        Bounds {
            max_in_flight: defaults.max_in_flight,
            reply_expiry: defaults.reply_expiry,
            cooling: &self.by_models,
            at_full_gateways: &self.by_gateways,
            refused_replies: &self.replies,
            refused_deliveries: &self.deliveries,
        }
    }
}

/// What is due, at most so many of each kind: calls to Evolution, looks, calls to models; never more than
/// one transaction begins.
pub fn list(sends: usize, models: usize, bounds: Bounds<'_>) -> Result<Vec<Due>> {
    let limit = |count: usize| i64::try_from(count.min(MOST_AT_ONCE)).unwrap_or(i64::MAX);
    let mut due = Vec::new();
    if sends > 0 {
        due.extend(deliveries::due(limit(sends), bounds)?.into_iter().map(Due::Send));
        due.extend(deliveries::due_for_lookup(limit(sends), bounds)?.into_iter().map(Due::LookUp));
    }
    if models > 0 {
        due.extend(replies::due(limit(models), bounds)?.into_iter().map(Due::Answer));
    }
    Ok(due)
}

/// Whether there may be more than one transaction begins.
pub fn is_full(due: &[Due]) -> bool {
    let sends = due.iter().filter(|due| matches!(due, Due::Send(_))).count();
    let answers = due.iter().filter(|due| matches!(due, Due::Answer(_))).count();
    sends.max(answers) >= MOST_AT_ONCE
}

/// The calls to make once the transaction has committed, at most `free`: sends, looks, then models.
/// Their sessions were locked by [`list`] in this transaction.
pub fn begin_all(due: &[Due], free: usize, terms: Terms<'_>) -> Result<Vec<Job>> {
    let ids = |of: fn(&Due) -> Option<i64>| due.iter().filter_map(of);
    let sends: Vec<i64> =
        ids(|due| if let Due::Send(id) = due { Some(*id) } else { None }).take(free).collect();
    let mut jobs = if sends.is_empty() { Vec::new() } else { send::begin(&sends, terms)? };
    for look in ids(|due| if let Due::LookUp(id) = due { Some(*id) } else { None }) {
        if jobs.len() < free {
            jobs.extend(lookup::begin(look, terms)?);
        }
    }
    let answers: Vec<i64> = ids(|due| if let Due::Answer(id) = due { Some(*id) } else { None })
        .take(free.saturating_sub(jobs.len()))
        .collect();
    if !answers.is_empty() {
        jobs.extend(claim::begin(&answers, terms)?);
    }
    Ok(jobs)
}

/// Those of these that are not done, with their tenants.
pub fn not_done(due: &[Due], defaults: &Behaviour) -> Result<Vec<(Due, i32)>> {
    type Find<'a> = &'a dyn Fn(&[i64]) -> Result<Vec<(i64, i32)>>;
    let are_over = |ids: &[i64]| resumptions::are_over(ids, upkeep::default_silence(defaults));
    let queues: [(Queue, Find<'_>); 4] = [
        (Queue::Replies, &many_replies::not_answered),
        (Queue::Deliveries, &many_deliveries::not_ended),
        (Queue::Pauses, &are_over),
        (Queue::Echoes, &processed_events::are_pending_echoes),
    ];
    let mut not_done = Vec::new();
    for (queue, find) in queues {
        let of_queue = || due.iter().filter(|due| due.queue() == queue);
        let ids: Vec<i64> = of_queue().map(|due| due.id()).collect();
        if !ids.is_empty() {
            let tenants: HashMap<i64, i32> = find(&ids)?.into_iter().collect();
            not_done.extend(of_queue().filter_map(|due| Some((*due, *tenants.get(&due.id())?))));
        }
    }
    Ok(not_done)
}

/// What a round does beside the calls: pauses that are over, and undecided messages. None of `aside`.
pub fn without_calls(aside: &SetAside) -> Result<Vec<Due>> {
    let most = i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX);
    let pauses = resumptions::expired(most, &aside.all_of(Queue::Pauses))?;
    let echoes = echo::first_of_each(&aside.all_of(Queue::Echoes))?;
    let pauses = pauses.into_iter().map(Due::EndPause);
    Ok(pauses.chain(echoes.into_iter().map(Due::Decide)).collect())
}

/// Chats that come back since nobody has spoken in them. None of `aside`.
pub fn silent(aside: &SetAside, defaults: &Behaviour) -> Result<Vec<Due>> {
    let most = i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX);
    let but_for = aside.all_of(Queue::Pauses);
    let silent = resumptions::silent(upkeep::default_silence(defaults), most, &but_for)?;
    Ok(silent.into_iter().map(Due::EndPause).collect())
}

/// What PostgreSQL refuses to let begin ends once its time is over, if that can be written. Whether it did.
pub fn end_refused(due: Due, terms: Terms<'_>) -> Result<bool> {
    match due {
        Due::Send(id) => send::end_refused(id, terms),
        Due::Answer(id) => claim::end_refused(id, terms),
        // It may have been sent: only a person can tell.
        Due::LookUp(_) | Due::EndPause(_) | Due::Decide(_) => Ok(false),
    }
}

/// One of them in a transaction of its own, which has locked nothing yet.
pub fn begin_alone(due: Due, terms: Terms<'_>) -> Result<Option<Job>> {
    let jobs = match due {
        Due::Send(id) => send::begin(&many_deliveries::lock(&[id], &["pending"])?, terms)?,
        Due::LookUp(_) | Due::Answer(_) => begin_all(&[due], 1, terms)?,
        Due::EndPause(id) => {
            upkeep::end_pause(terms.defaults, id, terms.now)?;
            Vec::new()
        }
        Due::Decide(id) => {
            echo::settle_from(id, terms.now)?;
            Vec::new()
        }
    };
    Ok(jobs.into_iter().next())
}
