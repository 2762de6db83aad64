//! What has come back from the threads is written, all results of a kind together. It begins nothing.

use std::collections::HashSet;

use super::answers::Generated;
use super::jobs::Done;
use super::sent::Ended;
use super::terms::Terms;
use super::{answers, instances, line, lookup, sent};
use crate::error::Result;

/// Whether a result was written. `Held`: somebody has the session locked; try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Done,
    Held,
}

/// Writes these results; the places of those that could not be, since somebody holds their sessions.
/// Safe to repeat: each is written by its claim.
pub fn write(arrived: &[Done], terms: Terms<'_>) -> Result<HashSet<usize>> {
    let generated: Vec<Generated<'_>> = arrived.iter().filter_map(generated).collect();
    let ended: Vec<Ended<'_>> = arrived.iter().filter_map(ended).collect();
    let held_replies = answers::record(&generated, terms)?;
    let held_deliveries = sent::record(&ended, terms)?;
    let mut held = HashSet::new();
    for (place, done) in arrived.iter().enumerate() {
        let is_held = match done {
            Done::Generated { claim, .. } => held_replies.contains(&claim.reply_id),
            Done::Sent { claim, .. } | Done::NotStarted { claim } => {
                held_deliveries.contains(&claim.delivery_id)
            }
            Done::LookedUp { claim, result } => {
                lookup::ended(*claim, result, terms)? == Recorded::Held
            }
            Done::SetUp { request_id, tenant_id, set_up } => {
                instances::ended(*request_id, *tenant_id, set_up, terms)? == Recorded::Held
            }
            Done::Line { tenant_id, result } => {
                line::answered(*tenant_id, result)?;
                false
            }
        };
        if is_held {
            held.insert(place);
        }
    }
    Ok(held)
}

fn generated(done: &Done) -> Option<Generated<'_>> {
    match done {
        Done::Generated { claim, provider, result, .. } => {
            Some(Generated { claim: *claim, provider: *provider, result: result.as_ref() })
        }
        _ => None,
    }
}

fn ended(done: &Done) -> Option<Ended<'_>> {
    match done {
        Done::Sent { claim, outcome } => Some(Ended { claim: *claim, outcome: Some(outcome) }),
        Done::NotStarted { claim } => Some(Ended { claim: *claim, outcome: None }),
        _ => None,
    }
}

/// Ends a result that PostgreSQL refuses whenever it is written, for a reason that `error` tells: what it
/// belongs to must not stay open for ever.
pub fn end_refused(done: &Done, error: &str, terms: Terms<'_>) -> Result<Recorded> {
    let error = format!("PostgreSQL refused what came back: {error}");
    let is_written = match done {
        Done::Generated { claim, .. } => answers::refused(*claim, &error, terms)?,
        Done::Sent { claim, outcome } => sent::refused(*claim, Some(outcome), &error, terms)?,
        Done::NotStarted { claim } => sent::refused(*claim, None, &error, terms)?,
        Done::LookedUp { claim, .. } => lookup::refused(*claim, &error, terms)?,
        // Nobody waits for these: they are asked for again by a clock of their own.
        Done::Line { .. } | Done::SetUp { .. } => true,
    };
    Ok(if is_written { Recorded::Done } else { Recorded::Held })
}
