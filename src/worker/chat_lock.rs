//! The lock of a chat under the name it has today: its session may have become one with an older one
//! while a message of it was on its way. It never waits.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::store::many_deliveries::{self, Held};
use crate::store::sessions;

/// Deliveries and their chats, as far as they could be locked.
#[derive(Default)]
pub struct Locked {
    pub deliveries: HashMap<i64, Held>,
    /// Somebody has these: to be tried again.
    pub held: HashSet<i64>,
}

/// Locks those of these deliveries that are in one of these states, with their chats.
pub fn lock(ids: &[i64], states: &[&str]) -> Result<Locked> {
    let locked = many_deliveries::lock(ids, states)?;
    let missing: Vec<i64> = ids.iter().copied().filter(|id| !locked.contains(id)).collect();
    // Read under the locks: some may have ended while they were taken.
    let mut all = if locked.is_empty() { Locked::default() } else { under_lock(&locked, states)? };
    if !missing.is_empty() {
        all.held.extend(many_deliveries::are_in(&missing, states)?);
    }
    Ok(all)
}

/// The same of deliveries whose own sessions the caller has locked.
pub fn under_lock(ids: &[i64], states: &[&str]) -> Result<Locked> {
    let mut all = Locked::default();
    for mut one in many_deliveries::held(ids, states)? {
        if one.has_moved {
            // Under the lock of the former session no other takes the chat over.
            let Some(session) = sessions::try_lock(&one.delivery.chat)? else {
                all.held.insert(one.delivery.id);
                continue;
            };
            one.session = session;
        }
        all.deliveries.insert(one.delivery.id, one);
    }
    Ok(all)
}
