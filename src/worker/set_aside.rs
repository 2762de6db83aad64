//! What PostgreSQL refuses to let the worker write, by a rule of whoever owns the database (a trigger, a
//! CHECK, a policy): each is left aside for a growing time and tried again alone, so that it keeps back
//! nothing but itself. In memory: a worker that starts tries all of it at once.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::due::Due;
use crate::conversation::retry;
use crate::error::{Blame, Error};
use crate::store::findings::Finding;

/// What failed only by the moment (a deadlock) is back soon.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A tenant with so much left aside is passed over until some of it is to be tried again: of each tenant only
/// a few are refused one after the other, whatever it has waiting.
const MOST_OF_A_TENANT: usize = 16;

/// Of all tenants. What is more is refused anew in each round: then nothing of this database goes well.
const MOST: usize = 2_000;

/// How often is looked whether what is left aside still waits.
const LOOK: Duration = Duration::from_secs(10);

/// Whose ids they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Replies,
    Deliveries,
    /// Sessions.
    Pauses,
    /// Events.
    Echoes,
}

struct Refused {
    tenant_id: i32,
    times: u32,
    until: Instant,
    why: String,
    /// The log has said it. Once may be an accident of the moment.
    is_told: bool,
}

impl Refused {
    fn new(tenant_id: i32, until: Instant) -> Self {
        Self { tenant_id, times: 0, until, why: String::new(), is_told: false }
    }
}

pub struct SetAside {
    refused: HashMap<Due, Refused>,
    next_look: Instant,
    /// Something has changed that view `health` shows.
    has_changed: bool,
    /// The table of findings says something else, which is tried again at the next look.
    is_untold: bool,
}

impl Default for SetAside {
    fn default() -> Self {
        // What a worker of before has told is to be looked at.
        Self {
            refused: HashMap::new(),
            next_look: Instant::now(),
            has_changed: true,
            is_untold: true,
        }
    }
}

impl SetAside {
    /// PostgreSQL refused it. What the log is to say, if that is new.
    pub fn refuse(&mut self, due: Due, tenant_id: i32, error: &Error) -> Option<String> {
        if self.refused.len() >= MOST && !self.refused.contains_key(&due) {
            return None;
        }
        let now = Instant::now();
        let why = error.to_string();
        let entry = self.refused.entry(due).or_insert_with(|| Refused::new(tenant_id, now));
        entry.times += 1;
        entry.until = now + retry::backoff(FIRST_PAUSE, entry.times, fastrand::f64());
        let is_state = entry.times > 1 || error.blame() == Blame::Event;
        let is_new = is_state && !std::mem::replace(&mut entry.is_told, is_state);
        self.has_changed |= is_new || (is_state && entry.why != why);
        entry.why = why;
        // The words are somebody's trigger's, and may quote a message.
        is_new.then(|| {
            format!(
                "whaply: tenant {tenant_id}: {due}: PostgreSQL refuses to let it go on (SQLSTATE {}); it is tried again \
                 now and then, and whaply.health tells why",
                error.sqlstate()
            )
        })
    }

    /// It went on, or ended. What the log is to say, if it has said more before.
    pub fn forget(&mut self, due: Due) -> Option<String> {
        let Refused { tenant_id, is_told, .. } = self.refused.remove(&due)?;
        self.has_changed |= is_told;
        is_told.then(|| format!("whaply: tenant {tenant_id}: {due}: PostgreSQL refuses it no more"))
    }

    /// All but these are done. What the log is to say.
    pub fn keep_only(&mut self, not_done: &BTreeSet<Due>) -> Vec<String> {
        let gone: Vec<Due> =
            self.refused.keys().copied().filter(|due| !not_done.contains(due)).collect();
        gone.into_iter().filter_map(|due| self.forget(due)).collect()
    }

    /// What was refused before, and the rest.
    pub fn split(&self, due: Vec<Due>) -> (Vec<Due>, Vec<Due>) {
        due.into_iter().partition(|due| self.refused.contains_key(due))
    }

    /// Why it was refused the last time.
    pub fn why(&self, due: Due) -> Option<String> {
        self.refused.get(&due).map(|entry| entry.why.clone())
    }

    /// Whether its pause runs.
    pub fn is_left(&self, due: Due) -> bool {
        self.refused.get(&due).is_some_and(|entry| entry.until > Instant::now())
    }

    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    pub fn all(&self) -> Vec<Due> {
        self.refused.keys().copied().collect()
    }

    pub fn all_of(&self, queue: Queue) -> Vec<i64> {
        let of_queue = self.refused.keys().filter(|due| due.queue() == queue);
        of_queue.map(|due| due.id()).collect()
    }

    /// What makes no call and is to be tried again now. (The rest is listed with what is due.)
    pub fn without_calls(&self) -> Vec<Due> {
        let tried = self.refused.keys().copied();
        tried.filter(|due| !due.makes_a_call() && !self.is_left(*due)).collect()
    }

    /// What is not looked at now: ids of a queue, in order.
    pub fn ids(&self, queue: Queue) -> Vec<i64> {
        let ids: BTreeSet<i64> = self.pausing(queue).map(|(due, _)| due.id()).collect();
        ids.into_iter().collect()
    }

    /// The tenants that are passed over, since so much of theirs is left aside.
    pub fn tenants(&self, queue: Queue) -> Vec<i32> {
        let mut counts: HashMap<i32, usize> = HashMap::new();
        for (_, entry) in self.pausing(queue) {
            *counts.entry(entry.tenant_id).or_default() += 1;
        }
        counts.retain(|_, count| *count >= MOST_OF_A_TENANT);
        counts.into_keys().collect()
    }

    fn pausing(&self, queue: Queue) -> impl Iterator<Item = (&Due, &Refused)> {
        let now = Instant::now();
        self.refused.iter().filter(move |(due, entry)| due.queue() == queue && entry.until > now)
    }

    /// When something is to be done about it: the next is tried again, or looked at.
    pub fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let tries = self.refused.values().map(|entry| entry.until).filter(|until| *until > now);
        tries.chain((!self.refused.is_empty()).then_some(self.next_look)).min()
    }

    /// Whether it is time to look at what is left aside, and to tell of it. Asked once for each time.
    pub fn take_look(&mut self) -> bool {
        let now = Instant::now();
        let has_changed = std::mem::take(&mut self.has_changed);
        let is_wanted = self.is_untold || !self.refused.is_empty();
        let is_time = has_changed || (is_wanted && self.next_look <= now);
        if is_time {
            self.next_look = now + LOOK;
            self.is_untold = true;
        }
        is_time
    }

    /// What view `health` is to tell.
    pub fn findings(&self) -> Vec<Finding> {
        let told = self.refused.iter().filter(|(_, entry)| entry.is_told);
        told.map(|(due, entry)| Finding {
            tenant_id: entry.tenant_id,
            object: due.to_string(),
            problem: entry.why.clone(),
        })
        .collect()
    }

    /// The table says what [`Self::findings`] does.
    pub fn are_told(&mut self) {
        self.is_untold = false;
    }
}

#[cfg(test)]
mod tests;
