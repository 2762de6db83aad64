//! What is due, in the order in which it gets threads: what is written already goes out before
//! anything new is generated. It lists and begins; it decides nothing about a reply.

use std::collections::BTreeSet;

use super::cooldowns::Cooldowns;
use super::jobs::Job;
use super::places::{Places, Side};
use super::terms::Terms;
use super::{claim, lookup, send};
use crate::error::Result;
use crate::settings::Behaviour;
use crate::store::shares::Bounds;
use crate::store::{deliveries, many_deliveries, replies};

/// One thing to begin, by the id of its row.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    Send(i64),
    LookUp(i64),
    Answer(i64),
}

/// Things of one kind that one transaction begins at most: their calls begin when it commits.
const MOST_AT_ONCE: usize = 200;

/// The tenants that are not looked at, whatever they have due.
#[derive(PartialEq, Eq)]
pub struct PassedOver {
    /// Their model's provider wants a rest, or its server has its share of calls.
    by_models: Vec<i32>,
    /// Their Evolution has its share of calls.
    by_gateways: Vec<i32>,
}

impl PassedOver {
    pub fn now(cooldowns: &Cooldowns, places: &Places) -> Self {
        let at_full_models = places.waiting(Side::Model);
        let by_models: BTreeSet<i32> =
            cooldowns.tenants().into_iter().chain(at_full_models).collect();
        let by_gateways: BTreeSet<i32> = places.waiting(Side::Gateway).into_iter().collect();
        Self {
            by_models: by_models.into_iter().collect(),
            by_gateways: by_gateways.into_iter().collect(),
        }
    }

    pub fn bounds(&self, defaults: &Behaviour) -> Bounds<'_> {
        Bounds {
            max_in_flight: defaults.max_in_flight,
            reply_expiry: defaults.reply_expiry,
            cooling: &self.by_models,
            at_full_gateways: &self.by_gateways,
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

/// One of them in a transaction of its own, which has locked nothing yet.
pub fn begin_alone(due: Due, terms: Terms<'_>) -> Result<Option<Job>> {
    let jobs = match due {
        Due::Send(id) => send::begin(&many_deliveries::lock(&[id], &["pending"])?, terms)?,
        Due::LookUp(_) | Due::Answer(_) => begin_all(&[due], 1, terms)?,
    };
    Ok(jobs.into_iter().next())
}
