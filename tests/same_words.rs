//! The owner types the very words that the assistant says, is saying or is about to say. In every
//! phase of the answer it is a takeover: words never decide who spoke.

use std::sync::OnceLock;

use serde_json::json;
use support::{
    Cluster, ClusterOptions, Echo, Gate, LlmBehaviour, PATIENCE, Said, Scene, SceneOptions,
    SendBehaviour, shared_cluster,
};

const MARIA: &str = "5511999990001";
const WORDS: &str = "We open at nine.";

/// A server whose worker waits minutes before it tries again: time for the owner to write.
fn patient_cluster() -> &'static Cluster {
    static PATIENT: OnceLock<Cluster> = OnceLock::new();
    PATIENT.get_or_init(|| {
        Cluster::start(ClusterOptions::default().with("whaply.retry_delay", "10min"))
    })
}

fn maria_asks(scene: &Scene) -> Said {
    scene.shop.customer_says(MARIA, "When do you open?").delivered()
}

/// What was typed counts as the owner's, and the customer gets `sent` messages of ours and no more.
#[track_caller]
fn assert_taken_over(scene: &Scene, typed: &Said, sent: usize) {
    scene.wait_for_action(&typed.id, "paused");
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
    assert_eq!(scene.texts_to(MARIA).len(), sent);
    let session = scene.session(MARIA);
    assert!(session.is_paused);
    assert_eq!(session.pause_reason.as_deref(), Some("human_takeover"));
}

#[test]
fn while_the_model_is_about_to_say_them() {
    let scene = Scene::start(shared_cluster(), "words_generating");
    let generating = scene.llm.hold_then(LlmBehaviour::answer(WORDS));
    let question = maria_asks(&scene);
    generating.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"), "nothing is in flight");
    generating.release();
    assert_taken_over(&scene, &typed, 0);
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
}

#[test]
fn while_they_wait_for_their_next_try() {
    let scene = Scene::start(patient_cluster(), "words_retrying");
    scene.llm.next(LlmBehaviour::answer(WORDS));
    scene.shop.next_send(SendBehaviour::ConnectionClosed500);
    maria_asks(&scene);
    scene.wait_for_delivery("a failed try", |delivery| {
        delivery.state == "pending" && delivery.error.is_some()
    });
    let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"), "nothing is in flight");
    assert_taken_over(&scene, &typed, 0);
    assert_eq!(scene.deliveries()[0].state, "cancelled");
}

/// The part that is out already, and the one that is not.
#[test]
fn between_two_parts() {
    let part = |word: &str| vec![word; 700].join(" ");
    for (prefix, words) in [("words_part_1", part("one")), ("words_part_2", part("two"))] {
        let scene = Scene::start(patient_cluster(), prefix);
        scene.llm.next(LlmBehaviour::Answer([part("one"), part("two")].join("\n\n")));
        scene.shop.next_send(SendBehaviour::Ok);
        scene.shop.next_send(SendBehaviour::ConnectionClosed500);
        maria_asks(&scene);
        scene.wait_for_delivery("the second part to wait", |delivery| {
            delivery.part == 2 && delivery.state == "pending" && delivery.error.is_some()
        });
        let typed = scene.shop.owner_types(MARIA, &words).delivered();
        assert_taken_over(&scene, &typed, 1);
        assert_eq!(scene.delivery_states()[..2], ["sent", "cancelled"]);
    }
}

/// Evolution has not taken them yet; and it takes them while the owner's are looked at.
#[test]
fn while_they_are_sent() {
    for (prefix, echo) in [("words_sent_before", Echo::Before), ("words_sent_never", Echo::Never)] {
        let scene = Scene::start(shared_cluster(), prefix);
        scene.llm.next(LlmBehaviour::answer(WORDS));
        let sending = Gate::closed();
        scene.shop.set_echo(echo);
        scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
        let question = maria_asks(&scene);
        sending.wait_until_reached(PATIENCE);
        let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
        sending.release();
        assert_taken_over(&scene, &typed, 1);
        assert_eq!(scene.action(&question.id).as_deref(), Some("ai_replied"));
        let ours = scene.shop.sent().remove(0);
        assert_eq!(scene.message(&ours.id).sender.as_deref(), Some("assistant"));
        assert_eq!(scene.deliveries()[0].message_id.as_ref(), Some(&ours.id));
    }
}

/// The call has ended, but with an answer that names no message: nothing went out, and the only such
/// words in Evolution's store are the owner's.
#[test]
fn when_the_call_has_ended_without_an_id() {
    let scene = Scene::start(shared_cluster(), "words_no_id");
    let hello = scene.shop.customer_says(MARIA, "Hello").delivered();
    scene.wait_for_action(&hello.id, "ai_replied");
    scene.llm.next(LlmBehaviour::answer(WORDS));
    scene.shop.next_send(SendBehaviour::Status(201, json!({})));
    let question = maria_asks(&scene);
    scene.wait_for_delivery("an unknown end", |delivery| delivery.state == "uncertain");
    let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_taken_over(&scene, &typed, 1);
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert_eq!(scene.delivery_states()[..2], ["sent", "cancelled"]);
}

/// They are out, before their echo and after it.
#[test]
fn after_they_were_said() {
    let scene = Scene::start(shared_cluster(), "words_said");
    scene.llm.next(LlmBehaviour::answer(WORDS));
    let echo = Gate::closed();
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    let question = maria_asks(&scene);
    scene.wait_for_action(&question.id, "ai_replied");
    let ours = scene.shop.sent().remove(0);
    let before = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_eq!(scene.action(&before.id).as_deref(), Some("paused"));
    echo.release();
    scene.shop.wait_for_echo(&ours.id, PATIENCE);
    assert_eq!(scene.action(&ours.id).as_deref(), Some("own_echo"));
    let after = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_taken_over(&scene, &before, 1);
    assert_taken_over(&scene, &after, 1);
}

/// Another client of the gateway says them: what `on_other_sender` makes of it does not depend on
/// what was said, nor on a send that is under way.
#[test]
fn another_sender_says_them_while_they_are_sent() {
    for (prefix, setting, is_paused) in
        [("words_agent", "pause", true), ("words_machine", "ignore", false)]
    {
        let options = SceneOptions::default().with("on_other_sender", setting);
        let scene = Scene::start_with(shared_cluster(), prefix, options);
        scene.llm.next(LlmBehaviour::answer(WORDS));
        let sending = Gate::closed();
        scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
        let question = maria_asks(&scene);
        sending.wait_until_reached(PATIENCE);
        let other = scene.shop.other_sender_says(MARIA, WORDS).delivered();
        assert_eq!(scene.action(&other.id).as_deref(), Some("pending_echo"));
        sending.release();
        scene.wait_for_action(&other.id, "other_sender");
        scene.wait_for_action(&question.id, "ai_replied");
        assert_eq!(scene.message(&other.id).sender.as_deref(), Some("other"));
        assert_eq!(scene.session(MARIA).is_paused, is_paused, "{setting}");
    }
}

/// The call broke without telling an id, and a gateway of another version reports its sends like the
/// phone's: of two messages with these words one is ours, and one is the owner's.
#[test]
fn when_the_call_broke_and_its_copy_looks_like_the_owners() {
    let scene = Scene::start(shared_cluster(), "words_copy");
    scene.llm.next(LlmBehaviour::answer(WORDS));
    let sending = Gate::closed();
    scene.shop.set_echo(Echo::HoldUntil(sending.clone()));
    scene.shop.next_send(SendBehaviour::TakeThenCut);
    let question = maria_asks(&scene);
    scene.wait_for_delivery("an unknown end", |delivery| delivery.state == "uncertain");
    let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
    let ours = scene.shop.sent().remove(0);
    let copy = scene.shop.line().api_message(&ours.remote_jid, &ours.id, WORDS, ours.at);
    scene.shop.emit("messages.upsert", copy).delivered();
    assert_taken_over(&scene, &typed, 1);
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.message(&ours.id).sender.as_deref(), Some("assistant"));
    assert_eq!(scene.deliveries()[0].message_id.as_ref(), Some(&ours.id));
    sending.release();
}

/// As the words of a held message ask for: a person has looked, and sends it by hand.
#[test]
fn after_they_were_held_for_a_person() {
    let options = SceneOptions::default().with("on_uncertain", "hold");
    let scene = Scene::start_with(shared_cluster(), "words_held", options);
    scene.llm.next(LlmBehaviour::answer(WORDS));
    scene.shop.next_send(SendBehaviour::Cut);
    let question = maria_asks(&scene);
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().starts_with("held"), "{}", reply.why());
    let typed = scene.shop.owner_types(MARIA, WORDS).delivered();
    assert_taken_over(&scene, &typed, 0);
    assert_eq!(scene.reply_of(&question.id).state, "failed", "it never went out");
}
