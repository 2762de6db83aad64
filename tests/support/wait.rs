//! Waiting for something to become true. Nothing here waits for a fixed time: every wait ends the
//! moment its condition holds, and fails loudly with what it last saw.

use std::fmt::{Debug, Display};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Short enough not to be felt in a test, long enough not to keep a core busy asking.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What the closure of [`wait_until`] may return: the awaited value, or what is there instead.
pub trait Condition {
    type Value;

    fn outcome(self) -> Result<Self::Value, String>;
}

impl Condition for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it is false".to_owned()) }
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "there is none".to_owned())
    }
}

impl<T, State: Display> Condition for Result<T, State> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|state| state.to_string())
    }
}

/// Asks `condition` until it holds and returns its value. After `limit` it panics with `what` and
/// the state last seen, which a condition that returns `Err(state)` describes itself.
#[track_caller]
pub fn wait_until<C: Condition>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> C,
) -> C::Value {
    let started_at = Instant::now();
    loop {
        match condition().outcome() {
            Ok(value) => return value,
            Err(state) if started_at.elapsed() >= limit => {
                panic!("waited {limit:?} for {what}; last seen: {state}")
            }
            Err(_) => thread::park_timeout(POLL_INTERVAL),
        }
    }
}

/// A list that only grows, and that a test can wait on.
#[derive(Debug)]
pub struct Journal<T> {
    entries: Mutex<Vec<T>>,
    grown: Condvar,
}

impl<T> Default for Journal<T> {
    fn default() -> Self {
        Self { entries: Mutex::default(), grown: Condvar::new() }
    }
}

impl<T: Clone + Debug> Journal<T> {
    pub fn push(&self, entry: T) {
        lock(&self.entries).push(entry);
        self.grown.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        lock(&self.entries).clone()
    }

    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, once there are at least `count`.
    #[track_caller]
    pub fn wait_for(&self, count: usize, what: &str, limit: Duration) -> Vec<T> {
        self.wait_for_entries(&format!("{count} × {what}"), limit, |entries| {
            (entries.len() >= count).then(|| entries.to_vec())
        })
    }

    /// The first entry that `matches`.
    #[track_caller]
    pub fn wait_for_one(&self, what: &str, limit: Duration, matches: impl Fn(&T) -> bool) -> T {
        self.wait_for_entries(what, limit, |entries| {
            entries.iter().find(|entry| matches(entry)).cloned()
        })
    }

    #[track_caller]
    fn wait_for_entries<U>(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&[T]) -> Option<U>,
    ) -> U {
        let deadline = Instant::now() + limit;
        let mut entries = lock(&self.entries);
        loop {
            if let Some(found) = wanted(&entries) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                panic!("waited {limit:?} for {what}; there is only: {entries:#?}");
            }
            let woken = self.grown.wait_timeout(entries, left);
            entries = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The lock, even after a panic elsewhere: a failed test must not hide behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
