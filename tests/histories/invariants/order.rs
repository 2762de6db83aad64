//! Once, in order, and one at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use support::SendCall;

use super::voices::names_are_known;
use super::{Verdict, ensure};
use crate::ledger::{Chat, Time, answer_words};

/// So long after the commit of `sending` the caller gives a call up, which Evolution may still be at
/// work on: whaply.send_timeout of the stage, less what the clocks round.
const GIVEN_UP_AFTER: Duration = Duration::milliseconds(1490);

/// Rule 7: the doubled message is what makes an owner switch the assistant off. Every answer and
/// every operator's message has words of its own, so that the same text twice is a message twice;
/// a fallback text is said at most once for each delivery that says so.
pub fn no_customer_sees_a_message_twice(chat: &Chat) -> Verdict {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for sent in &chat.sent {
        *seen.entry(sent.text.as_str()).or_default() += 1;
    }
    for (text, times) in seen {
        let of_this_text = chat.rows.deliveries.iter().filter(|row| row.text == text);
        let deliveries = of_this_text.count();
        ensure(times <= deliveries, || {
            format!("{text:.60?} was sent {times} times for {deliveries} deliveries")
        })?;
    }
    let mut words = BTreeSet::new();
    let all = chat.sent.iter().flat_map(|sent| answer_words(&sent.text));
    for word in all {
        ensure(words.insert(word), || format!("the customer reads {word} twice"))?;
    }
    Ok(())
}

/// Rule 1: a webhook comes once or ten times, at the same moment or hours apart. Of one message's
/// deliveries exactly one acts, and one row says what it did.
pub fn every_event_acts_once(chat: &Chat) -> Verdict {
    for spoken in chat.said.iter().filter(|spoken| spoken.what != crate::ledger::Said::Sticker) {
        let acted = spoken.arrivals.iter().filter(|arrival| !arrival.is_duplicate).count();
        ensure(acted == 1, || {
            format!("{} acted {acted} times: {:?}", spoken.shown, spoken.arrivals)
        })?;
    }
    let mut seen = BTreeSet::new();
    for row in &chat.rows.events {
        ensure(seen.insert((&row.message_id, &row.event)), || format!("two rows: {row:?}"))?;
    }
    Ok(())
}

/// Rule 3: the parts of an answer are read in the order in which they were written, without another
/// answer between them.
pub fn parts_come_in_order(chat: &Chat) -> Verdict {
    let mut last_of_prompt: BTreeMap<Time, u32> = BTreeMap::new();
    // Before anybody tells that two names are one customer, they are two chats: an answer belongs to
    // the name under which it began, even if the rest of it goes out under the other.
    let mut current: BTreeMap<&str, Time> = BTreeMap::new();
    let mut began_under: BTreeMap<Time, &str> = BTreeMap::new();
    for sent in &chat.sent {
        let Some(word) = answer_words(&sent.text).next() else { continue };
        let Some(prompt) = chat.prompt_of(&sent.text) else { continue };
        let last = last_of_prompt.insert(prompt.at, word.number);
        ensure(last.is_none_or(|last| last < word.number), || {
            format!("{word} came after {last:?}")
        })?;
        let name = *began_under.entry(prompt.at).or_insert(&sent.number);
        let former = current.insert(name, prompt.at);
        ensure(last.is_none() || former.is_none_or(|former| former == prompt.at), || {
            format!("{word} came after the next answer had begun")
        })?;
    }
    Ok(())
}

/// Rule 3: two calls at the same time could overtake each other. The next one begins when the former
/// has been answered or cut, or has been given up.
pub fn one_call_at_a_time_in_a_chat(chat: &Chat) -> Verdict {
    for pair in chat.calls.windows(2) {
        let [former, next] = pair else { continue };
        let given_up_at = begun_at(chat, former).map_or(former.came_at, |at| at + GIVEN_UP_AFTER);
        // Before anybody tells that two names are one customer, they are two chats.
        if former.number != next.number && !names_are_known(chat, former.came_at) {
            continue;
        }
        let over_at = former.ended_at.map_or(given_up_at, |ended_at| ended_at.min(given_up_at));
        ensure(next.came_at >= over_at, || {
            format!(
                "{:.40?} came at {} while {:.40?} was under way until {:?}",
                next.text, next.came_at, former.text, former.ended_at
            )
        })?;
    }
    Ok(())
}

/// When the caller began a call, which may reach a busy gateway much later. Only the last attempt of a
/// delivery has left its time: None for those before it.
fn begun_at(chat: &Chat, call: &SendCall) -> Option<Time> {
    let of_this_text = chat.rows.deliveries.iter().filter(|row| row.text == call.text);
    let attempts = of_this_text.filter_map(|row| row.attempted_at);
    attempts.filter(|at| *at <= call.came_at).max()
}
