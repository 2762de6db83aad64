//! What is due, in the order in which it gets threads: what is written already goes out before
//! anything new is generated. It lists and begins; it decides nothing about a reply.

use super::jobs::Job;
use super::terms::Terms;
use super::{claim, lookup, send};
use crate::error::Result;
use crate::store::replies::Bounds;
use crate::store::{deliveries, replies};

/// One thing to begin, by the id of its row.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    Send(i64),
    LookUp(i64),
    Answer(i64),
}

/// What is due: at most `free` calls to Evolution and `models` to models.
pub fn list(free: usize, models: usize, bounds: Bounds<'_>) -> Result<Vec<Due>> {
    let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut due = Vec::new();
    if free > 0 {
        due.extend(deliveries::due(limit(free), bounds)?.into_iter().map(Due::Send));
        due.extend(deliveries::due_for_lookup(limit(free))?.into_iter().map(Due::LookUp));
    }
    if models > 0 {
        due.extend(replies::due(limit(models), bounds)?.into_iter().map(Due::Answer));
    }
    Ok(due)
}

impl Due {
    /// The call to make once the transaction has committed. None: there is nothing to do any more,
    /// or somebody holds the chat.
    pub fn begin(self, terms: Terms<'_>) -> Result<Option<Job>> {
        match self {
            Self::Send(id) => send::begin(id, terms),
            Self::LookUp(id) => lookup::begin(id, terms),
            Self::Answer(id) => claim::begin(id, terms),
        }
    }
}
