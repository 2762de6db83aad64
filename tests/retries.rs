//! `retry_reply`, whatever the reply had failed of: the question gets its answer, unless a human has
//! the chat by then. How replies fail is elsewhere.

use support::rows::Reply;
use support::{
    LlmBehaviour, PATIENCE, Scene, SceneOptions, SendBehaviour, shared_cluster, wait_until,
};

const MARIA: &str = "5511999990001";

#[track_caller]
fn retry(scene: &Scene, reply: &Reply) {
    assert!(scene.db.value::<bool>("SELECT whaply.retry_reply($1)", &[&reply.id]));
}

/// Retried, the question is answered once, and nothing of the failure is left.
#[track_caller]
fn a_retry_answers(scene: &Scene, question: &str, failed: &Reply) {
    assert_eq!(scene.action(question).as_deref(), Some("ai_failed"));
    let before = scene.texts_to(MARIA).len();
    retry(scene, failed);
    scene.wait_for_action(question, "ai_replied");
    scene.wait_until_idle();
    assert_eq!(scene.texts_to(MARIA).len(), before + 1);
    let reply = scene.reply_of(question);
    assert_eq!((reply.id, reply.state.as_str(), reply.error), (failed.id, "sent", None));
    assert!(!scene.session(MARIA).is_paused, "the pause went with the failure");
    let failures: i64 = scene.db.value("SELECT count(*) FROM whaply.failed_replies", &[]);
    assert_eq!(failures, 0);
}

#[test]
fn what_the_model_refused_is_asked_again() {
    let scene = Scene::start(shared_cluster(), "retry_refused");
    scene.llm.next(LlmBehaviour::Refuse);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    a_retry_answers(&scene, &question.id, &failed);
}

#[test]
fn what_waited_too_long_has_its_time_again() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "retry_expired", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.db.execute(
        "UPDATE whaply.replies SET due_at = now(), created_at = created_at - interval '1 day'",
    );
    let failed = scene.wait_for_reply("failed");
    assert!(failed.why().contains("reply_expiry"), "{}", failed.why());
    a_retry_answers(&scene, &question.id, &failed);
}

#[test]
fn what_could_not_be_delivered_is_generated_and_sent_anew() {
    let scene = Scene::start(shared_cluster(), "retry_undelivered");
    scene.shop.next_send(SendBehaviour::RefuseNotOnWhatsapp);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    a_retry_answers(&scene, &question.id, &failed);
    assert_eq!(scene.delivery_states(), ["failed", "sent"]);
}

/// A person has looked, and the message is not there.
#[test]
fn what_was_held_for_a_person_is_sent_when_the_person_says_so() {
    let options = SceneOptions::default().with("on_uncertain", "hold");
    let scene = Scene::start_with(shared_cluster(), "retry_held", options);
    scene.shop.next_send(SendBehaviour::Cut);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    assert!(failed.why().starts_with("held"), "{}", failed.why());
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    a_retry_answers(&scene, &question.id, &failed);
}

/// The model reads what has reached the customer, and what is sent is never sent again.
#[test]
fn after_a_part_that_went_out_the_model_goes_on_from_it() {
    let scene = Scene::start(shared_cluster(), "retry_part");
    let part = |word: &str| vec![word; 700].join(" ");
    scene.llm.next(LlmBehaviour::Answer([part("one"), part("two")].join("\n\n")));
    scene.shop.next_send(SendBehaviour::Ok);
    scene.shop.next_send(SendBehaviour::RefuseNotOnWhatsapp);
    let question = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    let failed = scene.wait_for_reply("failed");
    scene.llm.next(LlmBehaviour::answer("And two."));
    a_retry_answers(&scene, &question.id, &failed);
    assert_eq!(scene.texts_to(MARIA), [part("one"), "And two.".to_owned()]);
    let turns = scene.llm.requests()[1].turns();
    assert!(turns.iter().any(|(role, text)| role == "assistant" && *text == part("one")));
}

/// Whoever presses the button late must not make the assistant speak over the owner.
#[test]
fn in_a_chat_that_the_owner_has_by_then_nothing_is_said() {
    let scene = Scene::start(shared_cluster(), "retry_taken_over");
    scene.llm.next(LlmBehaviour::Refuse);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    retry(&scene, &failed);
    wait_until("the retried reply to end", PATIENCE, || {
        scene.reply_of(&question.id).state == "cancelled"
    });
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    let session = scene.session(MARIA);
    assert!(session.is_paused);
    assert_eq!(session.pause_reason.as_deref(), Some("human_takeover"));
    assert!(scene.reply_of(&question.id).why().contains("paused"));
}

#[test]
fn it_fails_again_where_the_cause_is_still_there() {
    let scene = Scene::start(shared_cluster(), "retry_again");
    scene.llm.next(LlmBehaviour::WrongKey);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    scene.llm.next(LlmBehaviour::Refuse);
    retry(&scene, &failed);
    wait_until("the other failure", PATIENCE, || {
        let reply = scene.reply();
        reply.state == "failed" && reply.why().contains("refused")
    });
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    a_retry_answers(&scene, &question.id, &scene.reply());
}

/// The pause of the failure ends with the retry, as any pause ends.
#[test]
fn what_was_asked_during_the_pause_of_the_failure_is_answered_too_if_the_tenant_wants_it() {
    let options = SceneOptions::default().with("answer_after_pause", "true");
    let scene = Scene::start_with(shared_cluster(), "retry_after_pause", options);
    scene.llm.next(LlmBehaviour::Refuse);
    let first = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    let second = scene.shop.customer_says(MARIA, "Hello?").delivered();
    assert_eq!(scene.action(&second.id).as_deref(), Some("ignored_paused"));
    retry(&scene, &failed);
    scene.wait_for_action(&first.id, "ai_replied");
    scene.wait_for_action(&second.id, "ai_replied");
    scene.wait_until_idle();
    assert_eq!(scene.texts_to(MARIA), ["Answer 2 to: Are you open?\nHello?"]);
}
