//! Carries the counts of refused posts from shared memory to their table, in sums and every few
//! seconds at most, however many there are. What cannot be written counts for the next time.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::refusals::{self, Refused};
use crate::store::refused_webhooks;

/// Whoever is refused a thousand times a second causes one write in this time.
const INTERVAL: Duration = Duration::from_secs(2);

pub struct RefusedPosts {
    next: Instant,
}

impl Default for RefusedPosts {
    fn default() -> Self {
        Self { next: Instant::now() }
    }
}

impl RefusedPosts {
    /// What is to be written now; empty before its time.
    pub fn take_due(&mut self) -> Vec<Refused> {
        if self.next > Instant::now() || !refusals::are_waiting() {
            return Vec::new();
        }
        self.next = Instant::now() + INTERVAL;
        refusals::take()
    }

    /// When there is something to write. None: nothing waits.
    pub fn next_due(&self) -> Option<Instant> {
        refusals::are_waiting().then_some(self.next)
    }
}

/// In a transaction. What is returned was not written: somebody holds the tenants.
pub fn write(refused: &[Refused]) -> Result<Vec<Refused>> {
    let held = refused_webhooks::add(refused)?;
    let is_held = |one: &&Refused| one.tenant_id.is_some_and(|id| held.contains(&id));
    Ok(refused.iter().filter(is_held).copied().collect())
}
