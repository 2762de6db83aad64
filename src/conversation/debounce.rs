//! When a waiting reply is due: customers write one thought in several messages, and get one
//! answer. Reads no clock and never decides whether there is an answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The time at which a waiting reply is due after a customer's message at `now`: `debounce` of
/// silence later, but not later than `debounce_max` after `opened_at`, the first message the reply
/// answers. So somebody who never stops typing is answered too. Never before `now`.
pub fn due_at(
    now: DateTime<Utc>,
    opened_at: DateTime<Utc>,
    debounce: Duration,
    debounce_max: Duration,
) -> DateTime<Utc> {
    later(now, debounce).min(later(opened_at, debounce_max)).max(now)
}

/// A setting may be longer than the calendar; such a time is the calendar's end.
fn later(time: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| time.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_761_055_200 + second, 0).unwrap()
    }

    fn due(now: i64, opened_at: i64) -> DateTime<Utc> {
        due_at(at(now), at(opened_at), Duration::from_secs(5), Duration::from_secs(30))
    }

    #[test]
    fn one_message_waits_for_the_debounce() {
        assert_eq!(due(0, 0), at(5));
    }

    #[test]
    fn each_further_message_moves_the_time_but_not_past_the_maximum() {
        assert_eq!(due(20, 0), at(25));
        assert_eq!(due(28, 0), at(30));
    }

    #[test]
    fn a_reply_already_too_old_is_due_now_and_not_in_the_past() {
        assert_eq!(due(300, 0), at(300));
    }

    #[test]
    fn a_first_message_in_the_future_does_not_lengthen_the_wait() {
        assert_eq!(due(0, 3_600), at(5));
    }

    #[test]
    fn no_debounce_means_at_once_and_a_huge_one_does_not_overflow() {
        assert_eq!(due_at(at(0), at(0), Duration::ZERO, Duration::MAX), at(0));
        assert_eq!(due_at(at(0), at(0), Duration::MAX, Duration::MAX), DateTime::<Utc>::MAX_UTC);
    }
}
