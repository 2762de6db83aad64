//! Whether a message whose sending had no known end left a trace in Evolution's own store.

use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};

/// Evolution's clock and ours may differ by this much, and it rounds to seconds.
pub const CLOCK_SLACK: Duration = Duration::seconds(2);

/// A message of ours as Evolution keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub id: String,
    pub text: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// It was sent; its message id.
    Found(String),
    /// Not there, although the store shows what we sent before: it was not sent.
    Absent,
    /// Not there, but nor is what we know to be sent: the store proves nothing.
    Blind,
}

/// Looks for `text` among what Evolution keeps of a chat. `taken` are the ids of other deliveries;
/// `last_confirmed` is the id of the last message of ours that certainly went out.
pub fn look_for(
    kept: &[Kept],
    text: &str,
    attempted_at: DateTime<Utc>,
    taken: &HashSet<String>,
    last_confirmed: Option<&str>,
) -> Trace {
    let not_before = attempted_at - CLOCK_SLACK;
    let is_it = |message: &&Kept| {
        message.text.as_deref() == Some(text)
            && message.sent_at.is_some_and(|sent_at| sent_at >= not_before)
            && !taken.contains(&message.id)
    };
    // The oldest match: should it be there twice, the later one is somebody else's.
    if let Some(message) = kept.iter().filter(is_it).min_by_key(|message| message.sent_at) {
        return Trace::Found(message.id.clone());
    }
    let sees_our_sends =
        last_confirmed.is_some_and(|id| kept.iter().any(|message| message.id == id));
    if sees_our_sends { Trace::Absent } else { Trace::Blind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_761_055_200 + seconds, 0).unwrap()
    }

    fn kept(id: &str, text: &str, seconds: i64) -> Kept {
        Kept { id: id.to_owned(), text: Some(text.to_owned()), sent_at: Some(at(seconds)) }
    }

    fn look(kept: &[Kept], taken: &[&str]) -> Trace {
        let taken = taken.iter().map(|&id| id.to_owned()).collect();
        look_for(kept, "Custa 40", at(0), &taken, Some("BEFORE"))
    }

    #[test]
    fn the_exact_text_after_the_attempt_is_the_message() {
        assert_eq!(look(&[kept("A", "Custa 40", 1)], &[]), Trace::Found("A".to_owned()));
        assert_eq!(look(&[kept("A", "Custa 40", -2)], &[]), Trace::Found("A".to_owned()));
    }

    #[test]
    fn an_older_message_or_one_of_another_delivery_is_not_it() {
        let before = kept("BEFORE", "Bom dia", -60);
        assert_eq!(look(&[kept("A", "Custa 40", -3), before.clone()], &[]), Trace::Absent);
        assert_eq!(look(&[kept("A", "Custa 40", 1), before.clone()], &["A"]), Trace::Absent);
        assert_eq!(look(&[kept("A", "Custa 40!", 1), before], &[]), Trace::Absent);
    }

    #[test]
    fn absence_proves_nothing_where_the_store_does_not_show_our_sends() {
        assert_eq!(look(&[], &[]), Trace::Blind);
        assert_eq!(look_for(&[], "Custa 40", at(0), &HashSet::new(), None), Trace::Blind);
    }

    #[test]
    fn of_two_matches_the_older_is_ours() {
        let twice = [kept("B", "Custa 40", 5), kept("A", "Custa 40", 1)];
        assert_eq!(look(&twice, &[]), Trace::Found("A".to_owned()));
    }
}
