//! What has come back from the threads is written: all that is plain by a few statements, the rest one
//! by one. It begins nothing.

use std::collections::HashSet;

use super::jobs::Done;
use super::record::Recorded;
use super::terms::Terms;
use super::{instances, line, lookup, plain_answers, plain_sends, record, send};
use crate::error::Result;

/// Writes these results; the places of those that could not be, since somebody holds their sessions.
pub fn write_all(arrived: &[Done], terms: Terms<'_>) -> Result<HashSet<usize>> {
    let mut written = plain_answers::record(arrived, terms)?;
    written.extend(plain_sends::record(arrived, terms)?);
    let mut held = HashSet::new();
    for (place, done) in arrived.iter().enumerate() {
        if !written.contains(&place) && write(done, terms)? == Recorded::Held {
            held.insert(place);
        }
    }
    Ok(held)
}

/// Writes one result. Safe to repeat: each is written by its claim.
pub fn write(done: &Done, terms: Terms<'_>) -> Result<Recorded> {
    match done {
        Done::Generated { claim, provider, result, .. } => {
            record::generated(*claim, *provider, result, terms)
        }
        Done::Sent { claim, outcome } => send::ended(*claim, outcome, terms),
        Done::NotStarted { claim } => send::not_started(*claim, terms.now),
        Done::LookedUp { claim, result } => lookup::ended(*claim, result, terms),
        Done::SetUp { request_id, tenant_id, set_up } => {
            instances::ended(*request_id, *tenant_id, set_up, terms)
        }
        Done::Line { tenant_id, result } => {
            line::answered(*tenant_id, result).map(|()| Recorded::Done)
        }
    }
}
