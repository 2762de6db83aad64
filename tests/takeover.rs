//! The owner takes over: from that moment nothing more of the assistant's reaches the customer.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::Utc;
use support::{
    Cluster, ClusterOptions, Echo, Gate, LlmBehaviour, PATIENCE, Said, Scene, SceneOptions,
    SendBehaviour, shared_cluster,
};

const MARIA: &str = "5511999990001";

/// A server whose worker waits minutes before it tries again: time for the owner to write.
fn patient_cluster() -> &'static Cluster {
    static PATIENT: OnceLock<Cluster> = OnceLock::new();
    PATIENT.get_or_init(|| {
        Cluster::start(ClusterOptions::default().with("whaply.retry_delay", "10min"))
    })
}

fn two_parts() -> LlmBehaviour {
    LlmBehaviour::Answer([vec!["one"; 700].join(" "), vec!["two"; 700].join(" ")].join("\n\n"))
}

/// The question got `sent` messages and will get no more: the owner has the word.
#[track_caller]
fn assert_owner_has_the_word(scene: &Scene, question: &Said, sent: usize) {
    scene.somebody_else_is_answered();
    scene.wait_until_idle();
    assert_eq!(scene.texts_to(MARIA).len(), sent);
    let reply = scene.replies().remove(0);
    assert_eq!(reply.state, "cancelled");
    assert!(reply.why().contains("took over"), "{}", reply.why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    let session = scene.session(MARIA);
    assert!(session.is_paused);
    assert_eq!(session.pause_reason.as_deref(), Some("human_takeover"));
    assert!(session.last_human_at.is_some());
}

#[test]
fn a_takeover_while_the_reply_waits_cancels_it() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "waiting", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let typed = scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"));
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
    scene.set_tenant("debounce = '0 s'");
    assert_owner_has_the_word(&scene, &question, 0);
    assert_eq!(scene.llm.requests().len(), 1, "the model was asked for somebody else only");
}

#[test]
fn a_takeover_during_generation_discards_the_answer() {
    let scene = Scene::start(shared_cluster(), "generating");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    generating.release();
    assert_owner_has_the_word(&scene, &question, 0);
    assert_eq!(scene.replies()[0].text, None);
}

const RESUME: &str = "SELECT whaply.resume_session('loja-demo', $1)";

#[test]
fn a_takeover_that_is_resumed_while_the_model_runs_revives_nothing() {
    let scene = Scene::start(shared_cluster(), "resumed");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert!(scene.db.value::<bool>(RESUME, &[&MARIA]));
    generating.release();
    scene.somebody_else_is_answered();
    scene.wait_until_idle();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert!(!scene.session(MARIA).is_paused);
}

/// The old call still runs when the new question is at the model: its answer reaches nobody.
#[test]
fn a_question_after_a_resumed_takeover_gets_its_own_answer_and_not_the_old_one() {
    let scene = Scene::start(shared_cluster(), "resumed_next");
    let (old_call, new_call) = (scene.llm.hold(), scene.llm.hold());
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    old_call.wait_until_reached(PATIENCE);
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert!(scene.db.value::<bool>(RESUME, &[&MARIA]));
    let next = scene.shop.customer_says(MARIA, "On Sunday too?").delivered();
    new_call.wait_until_reached(PATIENCE);
    old_call.release();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    new_call.release();
    scene.wait_for_action(&next.id, "ai_replied");
    assert_eq!(scene.texts_to(MARIA), ["Answer 2 to: On Sunday too?"]);
}

#[test]
fn a_part_that_waits_for_its_next_try_is_not_revived_by_a_resume() {
    let scene = Scene::start(patient_cluster(), "retrying_resumed");
    scene.shop.next_send(SendBehaviour::ConnectionClosed500);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_delivery("a failed try", |delivery| {
        delivery.state == "pending" && delivery.error.is_some()
    });
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert!(scene.db.value::<bool>(RESUME, &[&MARIA]));
    scene.db.execute("UPDATE whaply.deliveries SET due_at = now()");
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.deliveries()[0].state, "cancelled");
}

#[test]
fn a_takeover_while_a_send_waits_for_its_next_try_cancels_it() {
    let scene = Scene::start(patient_cluster(), "retrying");
    scene.shop.next_send(SendBehaviour::ConnectionClosed500);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_delivery("a failed try", |delivery| {
        delivery.state == "pending" && delivery.error.is_some()
    });
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert_owner_has_the_word(&scene, &question, 0);
}

#[test]
fn a_takeover_between_two_parts_keeps_the_second_back() {
    let scene = Scene::start(patient_cluster(), "between_parts");
    scene.llm.next(two_parts());
    scene.shop.next_send(SendBehaviour::Ok);
    scene.shop.next_send(SendBehaviour::ConnectionClosed500);
    let question = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    scene.wait_for_delivery("the second part to wait", |delivery| {
        delivery.part == 2 && delivery.state == "pending" && delivery.error.is_some()
    });
    scene.shop.owner_types(MARIA, "Let me tell you").delivered();
    assert_eq!(scene.delivery_states(), ["sent", "cancelled"]);
    assert_owner_has_the_word(&scene, &question, 1);
}

#[test]
fn a_takeover_while_a_send_is_in_flight_is_decided_when_the_call_ends() {
    let scene = Scene::start(shared_cluster(), "in_flight");
    scene.llm.next(two_parts());
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    sending.wait_until_reached(PATIENCE);
    let before = Utc::now();
    let typed = scene.shop.owner_types(MARIA, "Let me tell you").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("pending_echo"), "nobody can know yet");
    assert!(!scene.session(MARIA).is_paused);
    sending.release();
    scene.wait_for_action(&typed.id, "paused");
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
    let human_at = scene.session(MARIA).last_human_at.expect("a human wrote");
    assert!(human_at <= before + Duration::from_secs(2), "at the message's own time");
    assert_eq!(scene.delivery_states(), ["sent", "cancelled"]);
    let ours = scene.shop.sent().remove(0);
    scene.shop.wait_for_echo(&ours.id, PATIENCE);
    assert_owner_has_the_word(&scene, &question, 1);
    assert_eq!(scene.message(&ours.id).sender.as_deref(), Some("assistant"));
}

#[test]
fn a_takeover_during_the_last_part_pauses_too() {
    let scene = Scene::start(shared_cluster(), "last_part");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    sending.release();
    scene.wait_for_action(&typed.id, "paused");
    assert!(scene.session(MARIA).is_paused);
    assert_eq!(scene.reply().state, "sent", "it had left before");
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_replied"));
}

#[test]
fn a_pause_during_a_send_keeps_the_next_part_back() {
    let scene = Scene::start(shared_cluster(), "paused_sending");
    let sending = Gate::closed();
    scene.llm.next(two_parts());
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(MARIA, "Tell me all").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.db.execute("SELECT whaply.pause_session('loja-demo', '5511999990001')");
    sending.release();
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    assert_eq!(scene.delivery_states()[..2], ["sent", "cancelled"]);
    assert_eq!(scene.replies()[0].state, "cancelled");
}

#[test]
fn the_owner_may_type_the_very_words_of_the_assistant() {
    let scene = Scene::start(shared_cluster(), "same_words");
    scene.llm.next(LlmBehaviour::answer("We open at nine."));
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    scene.shop.customer_says(MARIA, "When do you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(MARIA, "We open at nine.").delivered();
    sending.release();
    scene.wait_for_action(&typed.id, "paused");
    let ours = scene.shop.sent().remove(0);
    scene.wait_for_action(&ours.id, "own_echo");
    assert_eq!(scene.message(&ours.id).sender.as_deref(), Some("assistant"));
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
}

/// Evolution's store shows the owner's words as it shows ours.
#[test]
fn the_owners_same_words_are_not_taken_for_a_send_of_unknown_end() {
    let scene = Scene::start(shared_cluster(), "same_words_uncertain");
    scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    scene.llm.next(LlmBehaviour::answer("We open at nine."));
    let looking = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(looking.clone()));
    scene.shop.customer_says(MARIA, "When do you open?").delivered();
    looking.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(MARIA, "We open at nine.").delivered();
    // As if the worker had died during the call: its end is not known, and nothing was taken.
    let stop = "SELECT whaply.stop_worker()";
    assert!(scene.db.value::<bool>(stop, &[]));
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&typed.id, "paused");
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
    assert!(scene.session(MARIA).is_paused);
}

#[test]
fn another_api_client_takes_over() {
    let scene = Scene::start(shared_cluster(), "other_sender");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    let agent = scene.shop.other_sender_says(MARIA, "Ana here, yes we are").delivered();
    assert_eq!(scene.action(&agent.id).as_deref(), Some("other_sender"));
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("other_sender"));
    generating.release();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
}

#[test]
fn a_machine_that_sends_through_the_same_line_may_be_ignored() {
    let options = SceneOptions::default().with("on_other_sender", "ignore");
    let scene = Scene::start_with(shared_cluster(), "machine", options);
    let machine = scene.shop.other_sender_says(MARIA, "Your parcel has left").delivered();
    assert_eq!(scene.action(&machine.id).as_deref(), Some("other_sender"));
    assert_eq!(scene.message(&machine.id).sender.as_deref(), Some("other"));
    assert!(!scene.session(MARIA).is_paused);
    let question = scene.shop.customer_says(MARIA, "When will it be here?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let turns = scene.llm.requests()[0].turns();
    assert_eq!(turns[1], ("assistant".to_owned(), "Your parcel has left".to_owned()));
}

#[test]
fn the_owner_may_write_first_in_a_chat_without_a_session() {
    let scene = Scene::start(shared_cluster(), "owner_first");
    let typed = scene.shop.owner_types(MARIA, "Your order is ready").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"));
    assert!(scene.session(MARIA).is_paused);
    let answer = scene.shop.customer_says(MARIA, "Thanks!").delivered();
    assert_eq!(scene.action(&answer.id).as_deref(), Some("ignored_paused"));
}

/// It could be the echo of the send in flight, under a JID that nobody knows yet.
#[test]
fn the_owner_may_write_first_to_somebody_unknown_while_another_chat_is_answered() {
    const JOAO: &str = "5511999990002";
    let scene = Scene::start(shared_cluster(), "owner_first_busy");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    sending.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(JOAO, "Your order is ready").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("pending_echo"));
    sending.release();
    scene.wait_for_action(&typed.id, "paused");
    scene.wait_for_action(&question.id, "ai_replied");
    assert!(scene.session(JOAO).is_paused);
    assert!(!scene.session(MARIA).is_paused, "another chat than the one that was answered");
}

#[test]
fn an_echo_that_comes_late_does_not_undo_a_takeover() {
    let scene = Scene::start(shared_cluster(), "late_echo");
    let echo = Gate::closed();
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    scene.shop.customer_says(MARIA, "Hi").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    scene.wait_until_idle();
    scene.shop.owner_types(MARIA, "I am here").delivered();
    echo.release();
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    assert!(scene.session(MARIA).is_paused);
}
