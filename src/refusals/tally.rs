//! How often posts were refused, counted by any process at once: atomics only, so that counting
//! never waits, allocates or fails. It knows neither tables nor what its keys mean.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::reason::Reason;

/// Keys that are counted between two visits of whoever takes the sums. Beyond it refusals are
/// answered as ever, and not counted.
const PLACES: usize = 1024;

/// How far from its own place a key is looked for: counting must not read the whole board.
const REACH: usize = 32;

/// Kinds of refusals under one key.
pub const KINDS: usize = Reason::ALL.len();

const FREE: u64 = 0;
/// Its sums are being taken. No key is like that.
const LEAVING: u64 = u64::MAX;

/// What was counted under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub key: u64,
    pub kind: usize,
    pub refused: u32,
    /// Microseconds since 1970.
    pub last_at: i64,
}

pub struct Tally {
    places: [Place; PLACES],
}

#[derive(Default)]
struct Place {
    key: AtomicU64,
    /// Processes that count here at this moment: the place must not become another key's meanwhile.
    guests: AtomicU32,
    refused: [AtomicU32; KINDS],
    last_at: [AtomicI64; KINDS],
}

impl Default for Tally {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| Place::default()) }
    }
}

impl Tally {
    /// Adds to what is counted under a key, which is neither 0 nor `u64::MAX`.
    pub fn add(&self, sum: Sum) {
        let is_counted = self.reach(sum.key).any(|place| place.add(sum));
        let _ = is_counted
            || self.reach(sum.key).any(|place| {
                let claimed = place.key.compare_exchange(FREE, sum.key, SeqCst, SeqCst);
                claimed.is_ok() && place.add(sum)
            });
    }

    /// Takes away what was counted under the keys that are `wanted`.
    pub fn take(&self, wanted: impl Fn(u64) -> bool) -> Vec<Sum> {
        let mut sums = Vec::new();
        for place in &self.places {
            let key = place.key.load(SeqCst);
            if is_key(key) && wanted(key) {
                place.take(key, &mut sums);
            }
        }
        sums
    }

    pub fn has(&self, wanted: impl Fn(u64) -> bool) -> bool {
        let mut keys = self.places.iter().map(|place| place.key.load(SeqCst));
        keys.any(|key| is_key(key) && wanted(key))
    }

    fn reach(&self, key: u64) -> impl Iterator<Item = &Place> {
        // Fibonacci hashing: the upper bits are the well mixed ones.
        let start = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        (0..REACH).filter_map(move |step| self.places.get(start.wrapping_add(step) % PLACES))
    }
}

fn is_key(key: u64) -> bool {
    key != FREE && key != LEAVING
}

impl Place {
    /// Whether this is the key's place.
    fn add(&self, sum: Sum) -> bool {
        if self.key.load(SeqCst) != sum.key {
            return false;
        }
        self.guests.fetch_add(1, SeqCst);
        // Whoever takes the sums marks the place before it looks for guests: either it sees this
        // one, or this one sees the mark.
        let is_ours = self.key.load(SeqCst) == sum.key;
        if is_ours
            && let (Some(refused), Some(last_at)) =
                (self.refused.get(sum.kind), self.last_at.get(sum.kind))
        {
            last_at.fetch_max(sum.last_at, SeqCst);
            refused.fetch_add(sum.refused, SeqCst);
        }
        self.guests.fetch_sub(1, SeqCst);
        is_ours
    }

    fn take(&self, key: u64, sums: &mut Vec<Sum>) {
        if self.key.compare_exchange(key, LEAVING, SeqCst, SeqCst).is_err() {
            return;
        }
        let is_left = self.guests.load(SeqCst) == 0;
        for (kind, (refused, last_at)) in self.refused.iter().zip(&self.last_at).enumerate() {
            let sum =
                Sum { key, kind, refused: refused.swap(0, SeqCst), last_at: last_at.load(SeqCst) };
            if is_left {
                last_at.store(0, SeqCst);
            }
            if sum.refused > 0 {
                sums.push(sum);
            }
        }
        self.key.store(if is_left { FREE } else { key }, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::thread;

    fn one(key: u64, kind: usize, last_at: i64) -> Sum {
        Sum { key, kind, refused: 1, last_at }
    }

    #[test]
    fn sums_are_kept_by_key_and_kind_and_taken_once() {
        let tally = Tally::default();
        for sum in [one(5, 0, 10), one(5, 0, 30), one(5, 0, 20), one(5, 6, 1), one(6, 0, 2)] {
            tally.add(sum);
        }
        assert!(tally.has(|key| key == 5));
        let mut sums = tally.take(|key| key == 5);
        sums.sort_by_key(|sum| sum.kind);
        assert_eq!(sums, [Sum { key: 5, kind: 0, refused: 3, last_at: 30 }, one(5, 6, 1)]);
        assert!(!tally.has(|key| key == 5));
        assert_eq!(tally.take(|_| true), [one(6, 0, 2)]);
        assert_eq!(tally.take(|_| true), []);
    }

    #[test]
    fn a_place_that_was_left_remembers_nothing() {
        let tally = Tally::default();
        tally.add(one(5, 0, 99));
        tally.take(|_| true);
        tally.add(one(5, 0, 1));
        assert_eq!(tally.take(|_| true), [one(5, 0, 1)]);
    }

    #[test]
    fn a_full_board_goes_on_counting_the_keys_it_has() {
        let tally = Tally::default();
        for key in 1..=4 * PLACES as u64 {
            tally.add(one(key, 1, 1));
        }
        let first = tally.take(|key| key == 1);
        assert_eq!(first, [one(1, 1, 1)]);
        assert!(tally.take(|_| true).len() < PLACES);
    }

    #[test]
    fn an_unknown_kind_counts_for_nothing() {
        let tally = Tally::default();
        tally.add(one(5, KINDS, 1));
        assert_eq!(tally.take(|_| true), []);
    }

    #[test]
    fn nothing_is_lost_nor_another_key_s_while_sums_are_taken() {
        const EACH: u64 = 20_000;
        let tally = Tally::default();
        let mut counted: HashMap<u64, u64> = HashMap::new();
        thread::scope(|scope| {
            let counters: Vec<_> = (1..=4_u64)
                .map(|key| {
                    let tally = &tally;
                    // Two threads share each key.
                    scope.spawn(move || (0..EACH).for_each(|_| tally.add(one(key % 2 + 1, 0, 1))))
                })
                .collect();
            while counters.iter().any(|counter| !counter.is_finished()) {
                for sum in tally.take(|_| true) {
                    *counted.entry(sum.key).or_default() += u64::from(sum.refused);
                }
            }
        });
        for sum in tally.take(|_| true) {
            *counted.entry(sum.key).or_default() += u64::from(sum.refused);
        }
        assert_eq!(counted, HashMap::from([(1, 2 * EACH), (2, 2 * EACH)]));
    }
}
