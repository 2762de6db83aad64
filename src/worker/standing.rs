//! Where the worker stands, in the words that `pg_stat_activity` shows: counts and times, no chat, no text,
//! no key. Pure.

use chrono::{DateTime, SecondsFormat, Utc};

use super::counted::UnderWay;

/// What the last round has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Starts,
    /// Nothing is begun, for this reason.
    Waits(&'static str),
    Works {
        /// More is due than may begin at once.
        has_more: bool,
        next_due: Option<DateTime<Utc>>,
    },
}

impl Standing {
    /// `unwritten`: results that have come and are not in the tables yet.
    pub fn explain(self, calls: UnderWay, unwritten: usize) -> String {
        let mut text = format!("whaply: {}", under_way(calls));
        if unwritten > 0 {
            text += &format!(", {unwritten} results to write");
        }
        text += "; ";
        match self {
            Self::Starts => text += "it starts",
            Self::Waits(why) => text += &format!("waits: {why}"),
            Self::Works { has_more: true, .. } => text += "more is due",
            Self::Works { next_due: None, .. } => text += "nothing is due",
            Self::Works { next_due: Some(at), .. } => {
                let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
                text += &format!("the next is due at {at}");
            }
        }
        text
    }
}

fn under_way(calls: UnderWay) -> String {
    let UnderWay { to_models, sends, questions } = calls;
    match calls.all() {
        0 => "no call under way".to_owned(),
        all => format!(
            "{all} {} under way ({to_models} to models, {sends} sends, {questions} questions to Evolution)",
            if all == 1 { "call" } else { "calls" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_worker_says_so() {
        let idle = Standing::Works { has_more: false, next_due: None };
        let text = idle.explain(UnderWay::default(), 0);
        assert_eq!(text, "whaply: no call under way; nothing is due");
    }

    #[test]
    fn a_busy_one_says_what_with() {
        let calls = UnderWay { to_models: 9, sends: 2, questions: 1 };
        let busy = Standing::Works { has_more: true, next_due: None };
        assert_eq!(
            busy.explain(calls, 3),
            "whaply: 12 calls under way (9 to models, 2 sends, 1 questions to Evolution), 3 results to write; more is due"
        );
    }

    #[test]
    fn one_that_waits_says_what_for_and_one_that_sleeps_until_when() {
        let waits = Standing::Waits("whaply.worker is off");
        let text = waits.explain(UnderWay::default(), 0);
        assert_eq!(text, "whaply: no call under way; waits: whaply.worker is off");
        let next_due = DateTime::from_timestamp(1_700_000_000, 0);
        let text = Standing::Works { has_more: false, next_due }.explain(UnderWay::default(), 0);
        assert!(text.ends_with("the next is due at 2023-11-14T22:13:20Z"), "{text}");
    }
}
