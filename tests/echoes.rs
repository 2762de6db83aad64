//! The echo of what whaply itself sends: whenever it comes, it is nobody's takeover.

use std::collections::BTreeSet;

use chrono::Utc;
use support::payload::api_message_id;
use support::{Echo, Gate, PATIENCE, Person, Scene, SendBehaviour, shared_cluster, wait_until};

const MARIA: &str = "5511999990001";

#[track_caller]
fn assert_own_echo(scene: &Scene, message_id: &str) {
    assert_eq!(scene.action(message_id).as_deref(), Some("own_echo"));
    let message = scene.message(message_id);
    assert_eq!(message.sender.as_deref(), Some("assistant"));
    assert!(message.reply_id.is_some());
    assert!(!scene.session(MARIA).is_paused);
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM whaply.sessions", &[]), 1);
}

/// One round of question, answer and echo; the chat must not pause, nor hold a message twice.
fn an_echo_never_pauses(prefix: &str, echo: Echo) {
    let scene = Scene::start(shared_cluster(), prefix);
    scene.shop.set_echo(echo);
    for (round, question) in ["Hi", "Still there?"].into_iter().enumerate() {
        scene.shop.customer_says(MARIA, question).delivered();
        let sent = scene.shop.wait_for_sent(round + 1, PATIENCE).remove(round);
        scene.shop.wait_for_echo(&sent.id, PATIENCE);
        scene.wait_until_idle();
        assert_own_echo(&scene, &sent.id);
    }
    let sql = "SELECT count(*) FROM whaply.messages WHERE from_me";
    assert_eq!(scene.db.value::<i64>(sql, &[]), 2);
    assert_eq!(scene.shop.sent().len(), 2);
}

#[test]
fn an_echo_before_the_answer_of_the_call_never_pauses() {
    an_echo_never_pauses("echo_before", Echo::Before);
}

#[test]
fn an_echo_with_the_answer_of_the_call_never_pauses() {
    an_echo_never_pauses("echo_with", Echo::With);
}

#[test]
fn an_echo_after_the_answer_of_the_call_never_pauses() {
    let scene = Scene::start(shared_cluster(), "echo_after");
    let echo = Gate::closed();
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let sent = scene.shop.sent().remove(0);
    assert_eq!(scene.action(&sent.id), None, "nothing but the answer has told of it");
    echo.release();
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    assert_own_echo(&scene, &sent.id);
}

#[test]
fn a_lost_echo_is_not_missed() {
    let scene = Scene::start(shared_cluster(), "echo_never");
    scene.shop.set_echo(Echo::Never);
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let sent = scene.shop.sent().remove(0);
    assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
}

#[test]
fn an_answer_under_another_jid_is_still_ours() {
    let scene = Scene::start(shared_cluster(), "echo_other_jid");
    scene.shop.set_echo(Echo::Before);
    // WhatsApp knows older Brazilian numbers without their ninth digit.
    let other = "551199990001@s.whatsapp.net".to_owned();
    scene.shop.next_send(SendBehaviour::OkAs(other));
    scene.shop.customer_says(MARIA, "Hi").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
    assert!(!scene.session(MARIA).is_paused);
    let typed = scene.shop.owner_types("551199990001", "Let me take this").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"));
    assert!(scene.session(MARIA).is_paused, "the owner's words belong to the same chat");
}

/// A LID that no message of the chat has told. Whenever its echo comes, the message is ours, and the
/// JID is one more name of the chat.
#[test]
fn an_echo_under_a_jid_nobody_knew_is_ours_before_with_and_after_the_answer() {
    const LID: &str = "200000000000002@lid";
    let late = Gate::closed();
    let echoes = [Echo::Before, Echo::With, Echo::HoldUntil(late.clone()), Echo::Never];
    for (number, echo) in echoes.into_iter().enumerate() {
        let scene = Scene::start(shared_cluster(), &format!("echo_unknown_{number}"));
        scene.shop.set_echo(echo.clone());
        scene.shop.next_send(SendBehaviour::OkAs(LID.to_owned()));
        let question = scene.shop.customer_says(MARIA, "Hi").delivered();
        scene.wait_for_action(&question.id, "ai_replied");
        let sent = scene.shop.sent().remove(0);
        if !matches!(echo, Echo::Never) {
            if matches!(echo, Echo::HoldUntil(_)) {
                late.release();
            }
            scene.shop.wait_for_echo(&sent.id, PATIENCE);
            scene.wait_until_idle();
            assert_own_echo(&scene, &sent.id);
        }
        let next = scene.shop.customer_says(LID, "Thanks").delivered();
        scene.wait_for_action(&next.id, "ai_replied");
        let chats: Vec<String> = scene.db.column("SELECT chat_id FROM whaply.sessions", &[]);
        assert_eq!(chats, [format!("{MARIA}@s.whatsapp.net")], "after {echo:?}");
    }
}

/// Waits until each of these events of a message has been taken.
#[track_caller]
fn wait_for_events(scene: &Scene, message_id: &str, events: &[&str]) {
    wait_until("the copies of a send", PATIENCE, || {
        let taken = scene.shop.webhook_answers().into_iter();
        let taken =
            taken.filter(|attempt| attempt.message_id == message_id && attempt.is_success());
        let taken: BTreeSet<String> = taken.map(|attempt| attempt.event).collect();
        events.iter().all(|&event| taken.contains(event)).then_some(()).ok_or(format!("{taken:?}"))
    });
}

/// Other versions of the gateway report what the API sends as `messages.upsert`, alone or as well.
#[test]
fn a_copy_of_our_own_send_that_looks_like_a_message_of_the_owners_never_pauses() {
    let cases: [(&str, Echo, &[&str]); 2] = [
        ("echo_upsert", Echo::AsUpsert, &["messages.upsert"]),
        ("echo_both", Echo::AsBoth, &["messages.upsert", "send.message"]),
    ];
    for (prefix, echo, events) in cases {
        let scene = Scene::start(shared_cluster(), prefix);
        scene.shop.set_echo(echo.clone());
        for (round, question) in ["Hi", "Still there?"].into_iter().enumerate() {
            let asked = scene.shop.customer_says(MARIA, question).delivered();
            scene.wait_for_action(&asked.id, "ai_replied");
            let sent = scene.shop.sent().remove(round);
            wait_for_events(&scene, &sent.id, events);
            scene.wait_until_idle();
            assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
            assert!(!scene.session(MARIA).is_paused, "after {echo:?}");
        }
        let ours = "SELECT count(*) FROM whaply.messages WHERE from_me";
        assert_eq!(scene.db.value::<i64>(ours, &[]), 2);
    }
}

/// What Evolution itself writes to somebody whose call it rejects (`msgCall`).
fn answer_to_a_call(scene: &Scene) -> String {
    let id = api_message_id();
    let jid = Person::from(MARIA).jid().to_owned();
    let text = "We take no calls, please write";
    let data = scene.shop.line().api_message(&jid, &id, text, Utc::now());
    scene.shop.emit("messages.upsert", data).delivered();
    id
}

#[test]
fn evolutions_answer_to_a_call_is_nobodys_takeover() {
    let scene = Scene::start(shared_cluster(), "call");
    let called = answer_to_a_call(&scene);
    assert_eq!(scene.action(&called).as_deref(), Some("ignored_auto_reply"));
    assert_eq!(scene.message(&called).sender.as_deref(), Some("auto_reply"));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn an_answer_to_a_call_during_a_send_is_told_from_the_echo_when_the_send_ends() {
    let scene = Scene::start(shared_cluster(), "call_sending");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    sending.wait_until_reached(PATIENCE);
    let called = answer_to_a_call(&scene);
    assert_eq!(scene.action(&called).as_deref(), Some("pending_echo"));
    sending.release();
    scene.wait_for_action(&called, "ignored_auto_reply");
    scene.wait_for_action(&question.id, "ai_replied");
    assert!(!scene.session(MARIA).is_paused);
}

/// The customer is known by the LID alone; an operator writes to the phone number, and WhatsApp says
/// that both are one.
#[test]
fn an_echo_under_the_name_of_another_chat_is_ours_and_makes_the_two_one() {
    for (prefix, echo) in [("united_before", Echo::Before), ("united_with", Echo::With)] {
        let scene = Scene::start(shared_cluster(), prefix);
        let lid = Person::with_lid("100000000000001");
        let question = scene.shop.customer_says(lid.clone(), "Hi").delivered();
        scene.wait_for_action(&question.id, "ai_replied");
        scene.shop.set_echo(echo);
        scene.shop.next_send(SendBehaviour::OkAs(lid.jid().to_owned()));
        let send = "SELECT whaply.send_message('loja-demo', $1, 'Your cake is ready')";
        scene.db.value::<i64>(send, &[&MARIA]);
        let sent = scene.shop.wait_for_sent(2, PATIENCE).remove(1);
        scene.shop.wait_for_echo(&sent.id, PATIENCE);
        scene.wait_until_idle();
        assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
        assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("operator"));
        let by_phone = scene.shop.customer_says(MARIA, "Thanks!").delivered();
        scene.wait_for_action(&by_phone.id, "ai_replied");
        assert_eq!(scene.message(&by_phone.id).chat_id, lid.jid(), "one chat under both names");
        assert!(!scene.session(lid).is_paused);
    }
}
