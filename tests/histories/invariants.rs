//! What must be true of a chat once its history is over and all is quiet, whatever happened in it.
//! Each invariant reads a ledger and says what breaks it; none knows how the extension works.

mod answers;
mod order;
mod voices;

use super::ledger::Chat;

/// What breaks an invariant, in words.
pub type Verdict = Result<(), String>;

pub type Invariant = fn(&Chat) -> Verdict;

/// Every invariant by its name.
pub const ALL: [(&str, Invariant); 14] = [
    ("no_customer_sees_a_message_twice", order::no_customer_sees_a_message_twice),
    ("every_event_acts_once", order::every_event_acts_once),
    ("parts_come_in_order", order::parts_come_in_order),
    ("one_call_at_a_time_in_a_chat", order::one_call_at_a_time_in_a_chat),
    ("every_question_ends", answers::every_question_ends),
    ("an_answer_has_read_its_question", answers::an_answer_has_read_its_question),
    ("no_stale_answer_is_begun", answers::no_stale_answer_is_begun),
    ("the_tables_agree_with_the_world", answers::the_tables_agree_with_the_world),
    ("nothing_is_sent_in_a_paused_chat", voices::nothing_is_sent_in_a_paused_chat),
    ("a_takeover_lasts", voices::a_takeover_lasts),
    ("only_people_and_failures_pause_a_chat", voices::only_people_and_failures_pause_a_chat),
    ("one_customer_has_one_session", voices::one_customer_has_one_session),
    ("nothing_reaches_another_chat", voices::nothing_reaches_another_chat),
    (
        "the_customer_reads_only_what_is_meant_for_them",
        voices::customers_read_what_is_meant_for_them,
    ),
];

/// What breaks any of them.
pub fn broken(chat: &Chat) -> Vec<String> {
    let verdicts = ALL.iter().filter_map(|(name, invariant)| {
        let why = invariant(chat).err()?;
        Some(format!("{} breaks {name}: {why}", chat.place))
    });
    verdicts.collect()
}

/// An error unless it holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[cfg(test)]
mod tests;
