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

/// What a tenant accepts may have changed since: a post is not refused by what was learned before this.
const FRESH: Duration = Duration::from_secs(10);

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
    tenants: HashMap<String, Learned>,
}

/// What a tenant accepts, and since when this is known.
#[derive(Clone)]
struct Learned {
    accepted: Arc<Accepted>,
    at: Instant,
}

impl Learned {
    fn accepts(&self, presented: &Presented, now: DateTime<Utc>) -> bool {
        credentials::check(presented, &self.accepted, true, now).is_ok()
    }
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
        self.learned(instance).is_some_and(|learned| learned.accepts(presented, now))
    }

    /// Whether they are wrong for this instance, by what was learned a moment ago.
    pub fn is_wrong(&self, instance: &str, presented: &Presented, now: DateTime<Utc>) -> bool {
        let learned = self.learned(instance).filter(|learned| learned.at.elapsed() < FRESH);
        learned.is_some_and(|learned| !learned.accepts(presented, now))
    }

    /// The main thread found that the instance accepts this.
    pub fn learn(&self, instance: &str, accepted: &Accepted) {
        let learned = Learned { accepted: Arc::new(accepted.clone()), at: Instant::now() };
        self.lock().now.tenants.insert(instance.to_owned(), learned);
    }

    /// The main thread found these credentials right for the instance.
    pub fn remember(&self, instance: &str, accepted: &Accepted, fingerprint: u64) {
        self.learn(instance, accepted);
        let mut memory = self.lock();
        if memory.since.elapsed() >= REMEMBERED || memory.now.fingerprints.len() >= MOST {
            memory.since = Instant::now();
            memory.before = std::mem::take(&mut memory.now);
        }
        memory.now.fingerprints.insert(fingerprint);
    }

    fn learned(&self, instance: &str) -> Option<Learned> {
        let memory = self.lock();
        memory.generations().find_map(|one| one.tenants.get(instance)).cloned()
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
        assert!(standing.is_wrong("loja", &presented("wrong"), Utc::now()));
        assert!(!standing.is_wrong("loja", &presented("right"), Utc::now()));
        assert!(!standing.is_wrong("other", &presented("wrong"), Utc::now()), "nobody knows");
    }
}
