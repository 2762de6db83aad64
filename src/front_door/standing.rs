//! Whose credentials were right of late: it tells known posters from strangers when there is no room
//! for both. It never decides whether a post is taken; the transaction that stores it does.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::credentials::{self, Accepted, Presented};

/// What was right is remembered this long, and at most twice.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Fingerprints or tenants remembered at most in that time. Tokens differ with each event.
const MOST: usize = 50_000;

pub struct Standing {
    /// Of this process only, so that nobody can make up a collision.
    hasher: RandomState,
    memory: Mutex<Memory>,
}

struct Memory {
    since: Instant,
    now: Generation,
    before: Generation,
}

#[derive(Default)]
struct Generation {
    fingerprints: HashSet<u64>,
    tenants: HashMap<String, Arc<Accepted>>,
}

impl Default for Standing {
    fn default() -> Self {
        let memory = Memory {
            since: Instant::now(),
            now: Generation::default(),
            before: Generation::default(),
        };
        Self { hasher: RandomState::new(), memory: Mutex::new(memory) }
    }
}

impl Standing {
    /// Of the values of the headers that carry credentials.
    pub fn fingerprint(&self, x_whaply_secret: Option<&str>, authorization: Option<&str>) -> u64 {
        self.hasher.hash_one((x_whaply_secret, authorization))
    }

    /// Whether just these credentials were right of late, whosever they are.
    pub fn knows(&self, fingerprint: u64) -> bool {
        let memory = self.lock();
        memory.generations().any(|one| one.fingerprints.contains(&fingerprint))
    }

    /// Whether they are right for this instance, as far as that is remembered.
    pub fn is_right(&self, instance: &str, presented: &Presented, now: DateTime<Utc>) -> bool {
        let accepted = {
            let memory = self.lock();
            memory.generations().find_map(|one| one.tenants.get(instance)).cloned()
        };
        accepted.is_some_and(|accepted| credentials::check(presented, &accepted, true, now).is_ok())
    }

    /// The main thread found these credentials right for the instance.
    pub fn remember(&self, instance: &str, accepted: &Accepted, fingerprint: u64) {
        let mut memory = self.lock();
        if memory.since.elapsed() >= REMEMBERED || memory.now.fingerprints.len() >= MOST {
            memory.since = Instant::now();
            memory.before = std::mem::take(&mut memory.now);
        }
        memory.now.fingerprints.insert(fingerprint);
        memory.now.tenants.insert(instance.to_owned(), Arc::new(accepted.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        [&self.now, &self.before].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Secret;

    #[test]
    fn credentials_that_were_right_are_known_and_others_are_not() {
        let standing = Standing::default();
        let accepted = Accepted { secret: Some(Secret::new("right")), ..Accepted::default() };
        let right = standing.fingerprint(Some("right"), None);
        assert!(!standing.knows(right));
        standing.remember("loja", &accepted, right);
        assert!(standing.knows(right));
        assert!(!standing.knows(standing.fingerprint(Some("wrong"), None)));
        assert!(!standing.knows(standing.fingerprint(None, Some("right"))));
        let presented = |secret| Presented::from_headers(Some(secret), None);
        assert!(standing.is_right("loja", &presented("right"), Utc::now()));
        assert!(!standing.is_right("loja", &presented("wrong"), Utc::now()));
        assert!(!standing.is_right("other", &presented("right"), Utc::now()));
    }
}
