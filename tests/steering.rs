//! What the owner steers from the phone, and what looks like the owner and is a machine.

use std::time::Duration;

use support::{Echo, PATIENCE, Scene, SceneOptions, SendBehaviour, shared_cluster, wait_until};

const MARIA: &str = "5511999990001";

#[test]
fn the_resume_word_gives_the_chat_back_and_the_model_never_sees_it() {
    let scene = Scene::start(shared_cluster(), "resume_word");
    scene.shop.owner_types(MARIA, "Your cake is ready").delivered();
    let word = scene.shop.owner_types(MARIA, "#bot").delivered();
    assert_eq!(scene.action(&word.id).as_deref(), Some("resumed"));
    assert_eq!(scene.message(&word.id).sender.as_deref(), Some("command"));
    assert!(!scene.session(MARIA).is_paused);
    let question = scene.shop.customer_says(MARIA, "When can I come?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let turns = scene.llm.requests()[0].turns();
    assert!(turns.iter().any(|(_, text)| text == "Your cake is ready"), "{turns:#?}");
    assert!(turns.iter().all(|(_, text)| !text.contains("#bot")), "{turns:#?}");
}

#[test]
fn the_hold_word_during_generation_discards_the_answer_and_silence_does_not_end_it() {
    let scene = Scene::start(shared_cluster(), "hold_word");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Is Ana there?").delivered();
    generating.wait_until_reached(PATIENCE);
    let word = scene.shop.owner_types(MARIA, "#eu").delivered();
    assert_eq!(scene.action(&word.id).as_deref(), Some("held"));
    generating.release();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert_eq!(scene.reply_of(&question.id).why(), "the owner keeps the chat");
    assert_eq!(scene.db.value::<i64>("SELECT whaply.auto_resume_paused_sessions(0)", &[]), 0);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("manual_pause"));
}

/// A command may come while a call to Evolution is open: then it is decided when that has ended.
#[test]
fn a_word_during_a_send_acts_when_the_call_has_ended() {
    let scene = Scene::start(shared_cluster(), "word_in_flight");
    let sending = support::Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    scene.shop.customer_says(MARIA, "Hi").delivered();
    sending.wait_until_reached(PATIENCE);
    let word = scene.shop.owner_types(MARIA, "#eu").delivered();
    assert_eq!(scene.action(&word.id).as_deref(), Some("pending_echo"));
    sending.release();
    scene.wait_for_action(&word.id, "held");
    assert!(scene.session(MARIA).is_paused);
    assert_eq!(scene.message(&word.id).sender.as_deref(), Some("command"));
}

#[test]
fn what_was_asked_during_a_pause_is_answered_at_its_end_if_the_tenant_wants_it() {
    let options = SceneOptions::default().with("answer_after_pause", "true");
    let scene = Scene::start_with(shared_cluster(), "after_pause", options);
    scene.shop.owner_types(MARIA, "One moment").delivered();
    let first = scene.shop.customer_says(MARIA, "Do you have carrot cake?").delivered();
    let second = scene.shop.customer_says(MARIA, "And coffee?").delivered();
    scene.shop.owner_types(MARIA, "#bot").delivered();
    scene.wait_for_action(&first.id, "ai_replied");
    scene.wait_for_action(&second.id, "ai_replied");
    assert_eq!(scene.texts_to(MARIA).len(), 1);
    let asked = scene.llm.requests()[0].last_user_text();
    assert_eq!(asked, "Do you have carrot cake?\nAnd coffee?");
}

/// Nobody writes, nobody calls anything: the worker itself ends the pause on time.
#[test]
fn a_timed_pause_ends_on_time_and_what_was_asked_during_it_is_answered() {
    let options = SceneOptions::default().with("answer_after_pause", "true");
    let scene = Scene::start_with(shared_cluster(), "timed_pause", options);
    let pause = "SELECT whaply.pause_session('loja-demo', $1, 'lunch', '1 hour')";
    assert!(scene.db.value::<bool>(pause, &[&MARIA]));
    let question = scene.shop.customer_says(MARIA, "Hello?").delivered();
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_paused"));
    let soon = "UPDATE whaply.sessions SET paused_until = now() + interval '100 milliseconds'";
    scene.db.execute(soon);
    scene.wait_for_action(&question.id, "ai_replied");
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_greeting_of_whatsapp_business_is_learnt_and_the_third_customer_is_answered() {
    const GREETING: &str = "Welcome! We open at nine.";
    let scene = Scene::start(shared_cluster(), "greeting");
    let customers = ["5511999990011", "5511999990012", "5511999990013"];
    let [first, second, third] = customers.map(|customer| {
        let question = scene.shop.customer_says(customer, "Are you open?").delivered();
        scene.shop.owner_types(customer, GREETING).delivered();
        question
    });
    scene.wait_for_action(&third.id, "ai_replied");
    for question in [first, second] {
        assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    }
    assert!(customers.iter().all(|&customer| !scene.session(customer).is_paused));
    let again = scene.shop.customer_says(customers[0], "Hello?").delivered();
    scene.wait_for_action(&again.id, "ai_replied");
}

/// The message went out, and everything that could tell so failed: it was held for a person. When its
/// echo comes after all, nobody has taken the chat over, and nothing is left to do.
#[test]
fn the_late_echo_of_a_held_message_settles_it() {
    let options = SceneOptions::default().with("on_uncertain", "hold");
    let scene = Scene::start_with(shared_cluster(), "held_echo", options);
    scene.shop.set_echo(Echo::Never);
    scene.shop.keep_no_records();
    scene.shop.next_send(SendBehaviour::TakeThenCut);
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_reply("failed");
    assert!(scene.session(MARIA).is_paused, "handed over to a person");
    let sent = scene.shop.sent().remove(0);
    let echo = scene.shop.line().api_message(&sent.remote_jid, &sent.id, &sent.text, sent.at);
    let echo = scene.shop.emit("send.message", echo).delivered();
    assert_eq!(scene.action(&echo.id).as_deref(), Some("own_echo"));
    assert_eq!(scene.reply().state, "sent");
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
    assert!(!scene.session(MARIA).is_paused);
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM whaply.health", &[]), 0);
}

/// The number was paired anew, and the phone tells what was said meanwhile.
#[test]
fn an_owner_who_wrote_before_the_pairing_keeps_the_chat() {
    let scene = Scene::start(shared_cluster(), "pairing");
    let said = |ago| {
        let at = chrono::Utc::now() - Duration::from_secs(ago);
        scene.shop.line().owner_message(&MARIA.into(), "AC0001", "I am on it", at)
    };
    let history = serde_json::Value::Array(vec![said(600)]);
    scene.shop.emit("messages.set", history).delivered();
    let question = scene.shop.customer_says(MARIA, "Thanks!").delivered();
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_paused"));
}

/// A reaction says nothing, also while nobody can tell yet whose it is.
#[test]
fn a_reaction_of_the_owner_during_a_send_is_nobodys_turn() {
    let scene = Scene::start(shared_cluster(), "reaction");
    let sending = support::Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    sending.wait_until_reached(PATIENCE);
    let line = scene.shop.line();
    let mut data = line.owner_message(&MARIA.into(), "AC0002", "", chrono::Utc::now());
    data["message"] = serde_json::json!({ "reactionMessage": { "text": "👍" } });
    data["messageType"] = "reactionMessage".into();
    let reaction = scene.shop.emit("messages.upsert", data).delivered();
    assert_eq!(scene.action(&reaction.id).as_deref(), Some("pending_echo"));
    sending.release();
    scene.wait_for_action(&reaction.id, "ignored_type");
    scene.wait_for_action(&question.id, "ai_replied");
    let stored = "SELECT count(*) FROM whaply.messages WHERE message_id = $1";
    assert_eq!(scene.db.value::<i64>(stored, &[&reaction.id]), 0);
    assert!(!scene.session(MARIA).is_paused);
}

/// An operator's pause ends, but the owner wrote in it: the chat stays with the owner.
#[test]
fn the_owner_who_writes_during_a_timed_pause_is_not_interrupted_at_its_end() {
    let scene = Scene::start(shared_cluster(), "timed_takeover");
    let pause = "SELECT whaply.pause_session('loja-demo', $1, 'lunch', '1 s')";
    scene.db.value::<bool>(pause, &[&MARIA]);
    let typed = scene.shop.owner_types(MARIA, "Let me see").delivered();
    scene.wait_for_action(&typed.id, "paused");
    let over = "SELECT clock_timestamp() > created_at + interval '2 s' FROM whaply.sessions";
    wait_until("the operator's pause to be over", PATIENCE, || scene.db.value::<bool>(over, &[]));
    let question = scene.shop.customer_says(MARIA, "Thanks!").delivered();
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_paused"));
}
