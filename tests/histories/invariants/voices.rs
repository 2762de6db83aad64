//! Who may speak, and to whom.

use super::{Verdict, ensure};
use crate::ledger::{Chat, Operation, Said, Time};
use crate::play::{HOLD_WORD, RESUME_WORD};
use crate::words::{Voice, words_in};

/// What whaply, the providers and Evolution say when something is wrong; nothing of it is for a
/// customer.
const NOT_FOR_CUSTOMERS: [&str; 10] = [
    "provider-",
    "rate_limit",
    "overloaded",
    "Connection Closed",
    "TypeError",
    "Bad Gateway",
    "error",
    "[voice note",
    RESUME_WORD,
    HOLD_WORD,
];

/// From when to when nothing of the assistant's may begin to be sent.
struct Silence {
    why: String,
    from: Time,
    until: Option<Time>,
}

/// Rule 4, takeover: once the database has taken the owner's message, or an operator's pause, no part
/// of an answer passes the point of no return in that chat before somebody resumes it.
pub fn nothing_is_sent_in_a_paused_chat(chat: &Chat) -> Verdict {
    for silence in silences(chat) {
        let is_in = |at: Time| at > silence.from && silence.until.is_none_or(|until| at < until);
        let spoken = chat
            .rows
            .deliveries
            .iter()
            .find(|row| row.kind == "reply" && row.attempted_at.is_some_and(is_in));
        ensure(spoken.is_none(), || {
            format!("after {} at {}: {spoken:?}", silence.why, silence.from)
        })?;
    }
    Ok(())
}

/// Rule 4: who took a chat over has it until somebody ends that, whether or not a customer writes.
pub fn a_takeover_lasts(chat: &Chat) -> Verdict {
    let is_paused = chat.rows.sessions.iter().any(|session| session.is_paused);
    let lost = silences(chat).into_iter().find(|silence| silence.until.is_none() && !is_paused);
    ensure(lost.is_none(), || {
        let why = lost.map(|silence| silence.why).unwrap_or_default();
        format!("{why:?} took the chat over, nobody ended that, and it is open")
    })
}

fn silences(chat: &Chat) -> Vec<Silence> {
    let until = |typed_at: Time| end_of_pause(chat, typed_at);
    let words = chat.human_words().filter(|spoken| match (spoken.voice, spoken.what) {
        (_, Said::ResumeWord) => false,
        (Voice::OtherClient, _) => chat.other_client_pauses,
        _ => true,
    });
    let typed =
        words.filter(|spoken| names_are_known(chat, spoken.typed_at)).filter_map(|spoken| {
            let from = spoken.taken_at()?;
            Some(Silence { why: spoken.shown.clone(), from, until: until(spoken.typed_at) })
        });
    let pauses = chat
        .operations
        .iter()
        .filter(|done| done.what == Operation::Pause && names_are_known(chat, done.began_at));
    let by_hand = pauses.map(|done| Silence {
        why: "pause_session".to_owned(),
        from: done.ended_at,
        until: until(done.began_at),
    });
    typed.chain(by_hand).collect()
}

/// When somebody began to end a pause that came of something done at `since`, by word or by SQL.
/// WhatsApp tells the second in which a word was typed, no more: of two in one second either may
/// have been first.
fn end_of_pause(chat: &Chat, since: Time) -> Option<Time> {
    let by_word = chat.human_words().filter(|spoken| spoken.what == Said::ResumeWord);
    let by_word = by_word.map(|spoken| spoken.typed_at);
    let by_hand = chat.operations.iter().filter(|done| done.what == Operation::Resume);
    let by_hand = by_hand.map(|done| done.began_at).filter(|at| *at >= since);
    by_word.filter(|at| at.timestamp() >= since.timestamp()).chain(by_hand).min()
}

/// Whether anybody could know at that time that the chat's names are one chat.
pub fn names_are_known(chat: &Chat, at: Time) -> bool {
    let told = |spoken: &crate::ledger::Spoken| {
        spoken.tells_both_names && spoken.taken_at().is_some_and(|taken_at| taken_at < at)
    };
    chat.is_known_by_all_names || chat.questions().any(told)
}

/// The echo never looks like a human: where nobody of the business wrote or paused, and nothing
/// failed, the chat is never paused; and no message that we sent is anybody else's.
pub fn only_people_and_failures_pause_a_chat(chat: &Chat) -> Verdict {
    let somebody_else = chat.human_words().next().is_some()
        || chat.operations.iter().any(|done| done.what == Operation::Pause)
        || (chat.failure_pauses && chat.troubles > 0);
    if !somebody_else {
        let paused = chat.rows.sessions.iter().find(|session| session.is_paused);
        ensure(paused.is_none(), || format!("nobody paused {paused:?}"))?;
    }
    for sent in &chat.sent {
        let action = chat.action_of(&sent.id);
        let is_ours = matches!(action, None | Some("own_echo" | "already_stored"));
        ensure(is_ours, || format!("our own {:.60?} counts as {action:?}", sent.text))?;
    }
    Ok(())
}

/// Rule 2: from the moment a customer's message tells both names, they are one session.
pub fn one_customer_has_one_session(chat: &Chat) -> Verdict {
    let is_told = chat.questions().any(|question| question.tells_both_names);
    let most = if is_told { 1 } else { 2 };
    ensure(chat.rows.sessions.len() <= most, || format!("sessions: {:?}", chat.rows.sessions))
}

/// Every shop has the same customers, yet what the model reads, and what a customer reads, is of
/// this one chat of this one shop.
pub fn nothing_reaches_another_chat(chat: &Chat) -> Verdict {
    let prompts = chat.prompts.iter().map(|prompt| &prompt.text);
    for text in prompts.chain(chat.sent.iter().map(|sent| &sent.text)) {
        let stranger = words_in(text).into_iter().find(|word| word.place != chat.place);
        ensure(stranger.is_none(), || format!("{stranger:?} in {text:?}"))?;
    }
    for sent in &chat.sent {
        let is_fallback = sent.text == chat.fallback_text;
        ensure(is_fallback || !words_in(&sent.text).is_empty(), || {
            format!("where does {:?} come from?", sent.text)
        })?;
    }
    Ok(())
}

/// Rule 8: nothing but an answer, the tenant's own words for a failure, and what an operator wrote.
/// And a command is between the owner and us: neither the customer nor the model reads it.
pub fn customers_read_what_is_meant_for_them(chat: &Chat) -> Verdict {
    for sent in &chat.sent {
        let is_answer = chat.prompts.iter().any(|prompt| {
            prompt.answer.as_deref().is_some_and(|answer| answer.contains(sent.text.trim()))
        });
        let is_operators = chat
            .operations
            .iter()
            .any(|done| matches!(&done.what, Operation::Send(text) if *text == sent.text));
        ensure(is_answer || is_operators || sent.text == chat.fallback_text, || {
            format!("nobody wrote {:?}", sent.text)
        })?;
        let forbidden = NOT_FOR_CUSTOMERS.iter().find(|words| sent.text.contains(**words));
        ensure(forbidden.is_none(), || format!("{forbidden:?} in {:?}", sent.text))?;
    }
    for prompt in &chat.prompts {
        let command = [RESUME_WORD, HOLD_WORD].into_iter().find(|word| prompt.text.contains(word));
        ensure(command.is_none(), || format!("the model read {command:?}"))?;
    }
    Ok(())
}
