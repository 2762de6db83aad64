//! The check is checked: a made-up chat in which all went well breaks nothing, and each invariant is
//! broken by a chat in which one thing went wrong.

use chrono::{DateTime, TimeDelta};
use serde_json::Value;
use support::{SendCall, SentText};

use super::{ALL, broken};
use crate::ledger::{
    Arrival, Change, Chat, DeliveryRow, EventRow, MessageRow, Operated, Operation, Prompt,
    ReplyRow, Rows, Said, SessionRow, Spoken, Time,
};
use crate::words::{Place, Voice, Word};

const PHONE: &str = "5511999990001@s.whatsapp.net";

fn at(millis: i64) -> Time {
    DateTime::from_timestamp(1_761_055_200, 0).expect("a time") + TimeDelta::milliseconds(millis)
}

fn word(voice: Voice, number: u32) -> Word {
    Word { voice, place: Place { history: 1, shop: 0, customer: 0 }, number }
}

fn arrival(millis: i64, action: &str, is_duplicate: bool) -> Arrival {
    Arrival { at: at(millis), action: action.to_owned(), is_duplicate }
}

fn spoken(voice: Voice, id: &str, text: &str, millis: i64, action: &str) -> Spoken {
    Spoken {
        voice,
        what: Said::Words,
        id: id.to_owned(),
        shown: text.to_owned(),
        typed_at: at(millis),
        tells_both_names: true,
        arrivals: vec![arrival(millis + 10, action, false)],
        changes: Vec::new(),
    }
}

fn answer(number: u32) -> String {
    format!("Resposta {}", word(Voice::Model, number))
}

/// Two questions, an answer to each, the first of them in two parts.
fn good() -> Chat {
    let mut chat = Chat {
        place: Place { history: 1, shop: 0, customer: 0 },
        fallback_text: "Um momento".to_owned(),
        failure_pauses: true,
        other_client_pauses: true,
        is_known_by_all_names: true,
        rows: Rows {
            sessions: vec![SessionRow {
                chat_id: PHONE.to_owned(),
                is_paused: false,
                pause_reason: None,
            }],
            ..Rows::default()
        },
        ..Chat::default()
    };
    turn(&mut chat, 1, 0, &[1, 2]);
    turn(&mut chat, 2, 1000, &[3]);
    chat
}

/// A question at `start`, and its answer in parts.
fn turn(chat: &mut Chat, number: u32, start: i64, parts: &[u32]) {
    let question = format!("Tem {}?", word(Voice::Customer, number));
    let (id, reply) = (format!("Q{number}"), i64::from(number));
    chat.said.push(spoken(Voice::Customer, &id, &question, start, "ai_queued"));
    chat.rows.events.push(event(&id, "messages.upsert", "ai_replied"));
    chat.rows.messages.push(message(&id, "customer", reply));
    let texts: Vec<String> = parts.iter().map(|part| answer(*part)).collect();
    let whole = texts.join("\n\n");
    chat.prompts.push(Prompt { at: at(start + 50), text: question, answer: Some(whole.clone()) });
    chat.rows.replies.push(ReplyRow {
        id: reply,
        state: "sent".to_owned(),
        requeues: 0,
        error: None,
        text: Some(whole),
    });
    for ((part, text), begin) in (1..).zip(texts).zip((start + 100..).step_by(100)) {
        let id = format!("3EB0{number}{part}");
        chat.calls.push(SendCall {
            number: PHONE.to_owned(),
            text: text.clone(),
            came_at: at(begin + 10),
            ended_at: Some(at(begin + 20)),
        });
        chat.sent.push(sent(&id, &text, begin + 15));
        chat.rows.messages.push(message(&id, "assistant", reply));
        chat.rows.events.push(event(&id, "send.message", "own_echo"));
        chat.rows.deliveries.push(DeliveryRow {
            id: reply * 10 + i64::from(part),
            reply_id: Some(reply),
            kind: "reply".to_owned(),
            part,
            text,
            state: "sent".to_owned(),
            attempt: 1,
            attempted_at: Some(at(begin)),
            message_id: Some(id),
            error: None,
        });
    }
}

fn sent(id: &str, text: &str, millis: i64) -> SentText {
    SentText {
        id: id.to_owned(),
        number: PHONE.to_owned(),
        remote_jid: PHONE.to_owned(),
        text: text.to_owned(),
        at: at(millis),
        link_preview: Some(false),
        body: Value::Null,
    }
}

fn event(message_id: &str, event: &str, action: &str) -> EventRow {
    let [message_id, event, action] = [message_id, event, action].map(str::to_owned);
    EventRow { message_id, event, action }
}

fn message(message_id: &str, sender: &str, reply_id: i64) -> MessageRow {
    MessageRow {
        message_id: message_id.to_owned(),
        from_me: sender != "customer",
        sender: Some(sender.to_owned()),
        reply_id: Some(reply_id),
    }
}

/// The invariant of this name must hold in the good chat, and must not once `spoil` has been there.
#[track_caller]
fn is_broken_by(name: &str, spoil: impl FnOnce(&mut Chat)) {
    let (_, invariant) = ALL.iter().find(|(known, _)| *known == name).expect("an invariant");
    let mut chat = good();
    assert_eq!(invariant(&chat), Ok(()));
    spoil(&mut chat);
    let verdict = invariant(&chat);
    assert!(verdict.is_err(), "{name} did not notice: {chat:#?}");
}

#[test]
fn a_chat_in_which_all_went_well_breaks_nothing() {
    assert_eq!(broken(&good()), Vec::<String>::new());
}

#[test]
fn a_message_that_the_customer_sees_twice_is_noticed() {
    let name = "no_customer_sees_a_message_twice";
    is_broken_by(name, |chat| chat.sent.push(sent("3EB0X", &answer(3), 1500)));
    is_broken_by(name, |chat| {
        // The same words in another message.
        chat.sent.push(sent("3EB0X", &format!("{} outra vez", answer(3)), 1500));
    });
}

#[test]
fn an_event_that_acts_twice_or_never_is_noticed() {
    let name = "every_event_acts_once";
    is_broken_by(name, |chat| {
        chat.said[0].arrivals.push(arrival(20, "ai_queued", false));
    });
    is_broken_by(name, |chat| chat.said[0].arrivals.clear());
    is_broken_by(name, |chat| {
        let again = chat.rows.events[0].clone();
        chat.rows.events.push(again);
    });
}

#[test]
fn parts_out_of_order_and_answers_mixed_up_are_noticed() {
    let name = "parts_come_in_order";
    is_broken_by(name, |chat| chat.sent.swap(0, 1));
    is_broken_by(name, |chat| chat.sent.swap(1, 2));
}

#[test]
fn two_calls_at_the_same_time_are_noticed() {
    is_broken_by("one_call_at_a_time_in_a_chat", |chat| {
        chat.calls[0].ended_at = Some(chat.calls[1].came_at + TimeDelta::milliseconds(5));
    });
    is_broken_by("one_call_at_a_time_in_a_chat", |chat| chat.calls[0].ended_at = None);
}

#[test]
fn a_question_that_hangs_or_ends_without_a_reason_is_noticed() {
    let name = "every_question_ends";
    let unexplained =
        ["ai_queued", "ai_failed", "cancelled_paused", "ignored_paused", "superseded"];
    for action in unexplained.into_iter().chain(["deleted", "ignored_type", "ignored_old"]) {
        is_broken_by(name, |chat| chat.rows.events[0].action = action.to_owned());
    }
    is_broken_by(name, |chat| chat.rows.events.clear());
    is_broken_by(name, |chat| chat.rows.replies[1].state = "sending".to_owned());
    is_broken_by(name, |chat| chat.rows.deliveries[1].state = "uncertain".to_owned());
    is_broken_by(name, |chat| {
        chat.rows.events.push(event("X", "send.message", "pending_echo"));
    });
}

#[test]
fn an_answer_that_never_read_its_question_or_never_came_is_noticed() {
    let name = "an_answer_has_read_its_question";
    is_broken_by(name, |chat| chat.prompts[0].text = "something else".to_owned());
    is_broken_by(name, |chat| chat.rows.replies[0].state = "failed".to_owned());
    is_broken_by(name, |chat| chat.rows.messages.clear());
    is_broken_by(name, |chat| drop(chat.sent.remove(1)));
}

#[test]
fn a_stale_answer_is_noticed() {
    let name = "no_stale_answer_is_begun";
    // Both questions were there when the first answer began.
    is_broken_by(name, |chat| chat.said[1].arrivals[0].at = at(20));
    is_broken_by(name, |chat| {
        let edited = Change {
            shown: Some("Tem outra coisa?".to_owned()),
            arrivals: vec![arrival(30, "edited", false)],
        };
        chat.said[0].changes.push(edited);
    });
}

#[test]
fn tables_that_do_not_agree_with_the_world_are_noticed() {
    let name = "the_tables_agree_with_the_world";
    is_broken_by(name, |chat| drop(chat.sent.remove(0)));
    is_broken_by(name, |chat| chat.rows.deliveries[0].state = "cancelled".to_owned());
    is_broken_by(name, |chat| drop(chat.rows.deliveries.remove(0)));
    is_broken_by(name, |chat| {
        let ours = chat.rows.messages.iter_mut().find(|row| row.from_me).expect("one of ours");
        ours.sender = Some("owner".to_owned());
    });
}

#[test]
fn speaking_in_a_paused_chat_is_noticed() {
    let name = "nothing_is_sent_in_a_paused_chat";
    let owner = |what| Spoken { what, ..spoken(Voice::Owner, "O", "Eu atendo", 500, "paused") };
    is_broken_by(name, |chat| chat.said.push(owner(Said::Words)));
    is_broken_by(name, |chat| chat.said.push(owner(Said::HoldWord)));
    is_broken_by(name, |chat| {
        chat.said.push(spoken(Voice::OtherClient, "X", "Saiu", 500, "other_sender"));
    });
    is_broken_by(name, |chat| {
        let (began_at, ended_at) = (at(500), at(510));
        chat.operations.push(Operated { what: Operation::Pause, began_at, ended_at });
    });
}

#[test]
fn a_takeover_that_ended_by_itself_is_noticed() {
    let taken_over = |millis| spoken(Voice::Owner, "O", "Eu atendo", millis, "paused");
    is_broken_by("a_takeover_lasts", |chat| chat.said.push(taken_over(99_000)));
    let mut chat = good();
    chat.said.push(taken_over(99_000));
    chat.rows.sessions[0].is_paused = true;
    assert_eq!(broken(&chat), Vec::<String>::new());
}

#[test]
fn a_pause_that_ended_is_none() {
    let mut chat = good();
    chat.said.push(spoken(Voice::Owner, "O", "Eu atendo", 500, "paused"));
    let resumed = spoken(Voice::Owner, "R", "#bot", 600, "resumed");
    chat.said.push(Spoken { what: Said::ResumeWord, ..resumed });
    assert_eq!(broken(&chat), Vec::<String>::new());
}

#[test]
fn a_chat_that_nobody_paused_and_an_echo_taken_for_a_person_are_noticed() {
    let name = "only_people_and_failures_pause_a_chat";
    is_broken_by(name, |chat| chat.rows.sessions[0].is_paused = true);
    is_broken_by(name, |chat| {
        let echo = chat.rows.events.iter_mut().find(|row| row.action == "own_echo");
        echo.expect("an echo").action = "other_sender".to_owned();
    });
}

#[test]
fn a_second_session_of_one_customer_is_noticed() {
    is_broken_by("one_customer_has_one_session", |chat| {
        let second = chat.rows.sessions[0].clone();
        chat.rows.sessions.push(second);
    });
}

#[test]
fn words_of_another_chat_are_noticed() {
    let name = "nothing_reaches_another_chat";
    is_broken_by(name, |chat| chat.prompts[0].text.push_str(" q1am1 q1bm1"));
    is_broken_by(name, |chat| chat.sent[0].text.push_str(" r2am1"));
    is_broken_by(name, |chat| chat.sent.push(sent("X", "de onde vem isto?", 1500)));
}

#[test]
fn words_that_are_not_for_the_customer_or_the_model_are_noticed() {
    let name = "the_customer_reads_only_what_is_meant_for_them";
    is_broken_by(name, |chat| chat.sent[0].text.push_str(", error 500"));
    is_broken_by(name, |chat| {
        chat.prompts[0].answer = Some("Bad Gateway".to_owned());
        chat.sent[0].text = "Bad Gateway".to_owned();
    });
    is_broken_by(name, |chat| chat.prompts[0].text.push_str("\n#eu"));
}
