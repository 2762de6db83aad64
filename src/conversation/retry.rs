//! How long to wait before a call is made again, and how often it may be. Which errors are worth
//! another call is decided where the answers are read; no randomness here but the caller's.

use std::time::Duration;

/// Attempts in all, the first included. With the waits below they span 30 to 75 s: long enough for
/// a provider's hiccup, short enough that the customer still waits for the answer.
pub const MOST_ATTEMPTS: u32 = 5;

/// Deferrals of one reply. They are no attempts, since a busy provider says nothing about the
/// request; without a bound a tenant over its quota would fill the queue for ever. Normally
/// `reply_expiry` ends the reply first.
pub const MOST_DEFERRALS: u32 = 20;

/// How often an answer is thrown away because the customer wrote meanwhile. After that it is sent:
/// somebody who writes without pause must get an answer at some time.
pub const MOST_REQUEUES: u32 = 2;

/// Longest wait of either kind. Past five minutes the customer has gone, and a provider that asks
/// for an hour is asked again anyway.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The first retry comes after the shortest wait to two and a half times as much: 2 to 5 s where
/// the shortest is 2 s, so that what failed together does not come back together.
const BACKOFF_SPREAD: f64 = 1.5;

/// A provider that is full gets longer to breathe than one that failed.
const DEFERRAL_FACTOR: f64 = 2.5;

/// Added to a Retry-After at most, beside a tenth of it: every reply deferred by one 429 gets the
/// same number, and they must not all come back in the same instant.
const RETRY_AFTER_SPREAD: Duration = Duration::from_secs(1);

/// The wait after the failed attempt number `attempt` (1 is the first): `shortest` to two and a
/// half times that, then twice as long each time, 5 min at most. `jitter` is the caller's random
/// number from 0 to 1.
pub fn backoff(shortest: Duration, attempt: u32, jitter: f64) -> Duration {
    doubled(shortest.mul_f64(1.0 + BACKOFF_SPREAD * unit(jitter)), attempt)
}

/// The wait after a 429, or a 503 with Retry-After, 5 min at most. `deferrals` counts this one (1
/// is the first). With `retry_after` it is that and a little more; without, 5 to 7.5 s where
/// `shortest` is 2 s, then twice as long each time. `jitter` is the caller's random number from 0
/// to 1.
pub fn deferral(
    shortest: Duration,
    retry_after: Option<Duration>,
    deferrals: u32,
    jitter: f64,
) -> Duration {
    let jitter = unit(jitter);
    match retry_after {
        Some(asked) => {
            let asked = asked.min(LONGEST_WAIT);
            let spread = (RETRY_AFTER_SPREAD + asked / 10).mul_f64(jitter);
            (asked + spread).clamp(RETRY_AFTER_SPREAD, LONGEST_WAIT)
        }
        None => doubled(shortest.mul_f64(DEFERRAL_FACTOR * (1.0 + jitter / 2.0)), deferrals),
    }
}

/// `first`, doubled for every count after the first.
fn doubled(first: Duration, count: u32) -> Duration {
    let factor = 2_u32.saturating_pow(count.saturating_sub(1));
    first.saturating_mul(factor).min(LONGEST_WAIT)
}

/// A duration must not be multiplied by NaN, infinity or a negative number: that panics.
fn unit(jitter: f64) -> f64 {
    if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn the_first_retry_comes_after_two_to_five_seconds() {
        assert_eq!(backoff(seconds(2), 1, 0.0), seconds(2));
        assert_eq!(backoff(seconds(2), 1, 1.0), seconds(5));
    }

    #[test]
    fn the_wait_doubles_and_stops_at_five_minutes() {
        assert_eq!(backoff(seconds(2), 2, 0.0), seconds(4));
        assert_eq!(backoff(seconds(2), 4, 1.0), seconds(40));
        assert_eq!(backoff(seconds(2), 9, 0.5), seconds(300));
        assert_eq!(backoff(seconds(2), u32::MAX, 1.0), seconds(300));
    }

    #[test]
    fn all_attempts_together_take_between_half_a_minute_and_seventy_five_seconds() {
        let total =
            |jitter| (1..MOST_ATTEMPTS).map(|n| backoff(seconds(2), n, jitter)).sum::<Duration>();
        assert_eq!([total(0.0), total(1.0)], [seconds(30), seconds(75)]);
    }

    #[test]
    fn retry_after_is_obeyed_with_a_little_more() {
        assert_eq!(deferral(seconds(2), Some(seconds(20)), 1, 0.0), seconds(20));
        assert_eq!(deferral(seconds(2), Some(seconds(20)), 7, 1.0), seconds(23));
    }

    #[test]
    fn retry_after_is_never_zero_nor_longer_than_five_minutes() {
        assert_eq!(deferral(seconds(2), Some(Duration::ZERO), 1, 0.0), seconds(1));
        assert_eq!(deferral(seconds(2), Some(seconds(86_400)), 1, 1.0), seconds(300));
        assert_eq!(deferral(seconds(2), Some(Duration::MAX), 1, 1.0), seconds(300));
    }

    #[test]
    fn without_retry_after_the_deferral_grows_from_five_seconds() {
        assert_eq!(deferral(seconds(2), None, 1, 0.0), seconds(5));
        assert_eq!(deferral(seconds(2), None, 2, 1.0), seconds(15));
        assert_eq!(deferral(seconds(2), None, MOST_DEFERRALS, 0.3), seconds(300));
    }

    #[test]
    fn a_count_of_zero_or_a_bad_random_number_is_harmless() {
        for jitter in [f64::NAN, f64::INFINITY, -3.0] {
            assert_eq!(backoff(seconds(2), 0, jitter), seconds(2));
            assert_eq!(deferral(seconds(2), None, 0, jitter), seconds(5));
        }
        assert_eq!(backoff(seconds(2), 1, 9.0), seconds(5));
    }
}
