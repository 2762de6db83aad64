//! What customers write, edit and delete while the worker claims: each question is read once, as it
//! stands, and nothing hangs.

use chrono::Utc;
use serde_json::Value;
use support::{Gate, HeldStep, LlmBehaviour, OpenTransaction, PATIENCE, Person, Scene};
use support::{SceneOptions, WaitingCall, shared_cluster};

use super::{
    MARIA, Webhook, assert_nothing_sent_to_maria, last_reply_of_maria, of_maria, question,
    scene_without_worker, start_worker, waiting_webhook,
};

const RETRY: &str = "SELECT whaply.retry_reply($1)";

/// Maria got this one answer, and nothing is open.
#[track_caller]
fn assert_answered_once(scene: &Scene, asked: &[&str], question: &str) {
    for message_id in asked {
        scene.wait_for_action(message_id, "ai_replied");
    }
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    let texts = scene.texts_to(MARIA);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].ends_with(&format!(" to: {question}")), "{texts:?}");
}

#[test]
fn a_second_question_that_is_not_committed_yet_holds_back_the_claim_and_is_read_with_the_first() {
    let scene = scene_without_worker("second_open");
    let first = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let second = question(&scene, "On Sunday?");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&second.payload)["action"], "ai_queued");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
    customer.commit();
    assert_answered_once(&scene, &[&first.id, &second.id], "Are you open?\nOn Sunday?");
    assert_eq!(last_reply_of_maria(&scene).requeues, 0);
}

#[test]
fn a_second_question_that_waits_for_the_claim_is_read_by_the_next_one() {
    let scene = Scene::start(shared_cluster(), "second_waits");
    let mut step = HeldStep::at(&scene.db, "replies", &of_maria("NEW.state = 'generating'"));
    let generating = scene.llm.hold();
    let first = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    step.wait_until_reached();
    let second = question(&scene, "On Sunday?");
    let customer = waiting_webhook(&scene, &second.payload);
    step.release();
    assert_eq!(customer.outcome()["action"], "ai_queued");
    generating.wait_until_reached(PATIENCE);
    generating.release();
    assert_answered_once(&scene, &[&first.id, &second.id], "Are you open?\nOn Sunday?");
    assert_eq!(last_reply_of_maria(&scene).requeues, 1);
}

/// The first two messages of a chat, in two sessions: the second waits for the session's row.
#[track_caller]
fn two_first_messages(prefix: &str) -> (Scene, OpenTransaction, Webhook, Webhook) {
    let scene = scene_without_worker(prefix);
    let (first, second) = (question(&scene, "Are you open?"), question(&scene, "On Sunday?"));
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&first.payload)["action"], "ai_queued");
    (scene, customer, first, second)
}

#[test]
fn the_first_two_messages_of_a_chat_at_once_make_one_session_and_one_reply() {
    let (scene, customer, first, second) = two_first_messages("first_two");
    let waiting = waiting_webhook(&scene, &second.payload);
    customer.commit();
    assert_eq!(waiting.outcome()["action"], "ai_queued");
    start_worker(&scene);
    assert_answered_once(&scene, &[&first.id, &second.id], "Are you open?\nOn Sunday?");
}

#[test]
fn a_message_whose_forerunner_is_rolled_back_is_answered_alone() {
    let (scene, customer, first, second) = two_first_messages("first_lost");
    let waiting = waiting_webhook(&scene, &second.payload);
    customer.rollback();
    assert_eq!(waiting.outcome()["action"], "ai_queued");
    start_worker(&scene);
    assert_answered_once(&scene, &[&second.id], "On Sunday?");
    assert_eq!(scene.action(&first.id), None);
}

#[test]
fn an_edit_that_is_not_committed_yet_holds_back_the_claim() {
    let scene = scene_without_worker("edit_open");
    let asked = scene.shop.customer_says(MARIA, "Two pizzas").delivered();
    let edit = edit_of(&scene, &asked.id, "Three pizzas");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&edit)["action"], "edited");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
    customer.commit();
    assert_answered_once(&scene, &[&asked.id], "Three pizzas");
}

#[test]
fn an_edit_that_waits_for_the_claim_sends_its_answer_back_to_the_queue() {
    let (scene, asked, step, generating) = scene_at_the_claim("edit_waits", "Two pizzas");
    let customer = waiting_webhook(&scene, &edit_of(&scene, &asked, "Three pizzas"));
    step.release();
    assert_eq!(customer.outcome()["action"], "edited");
    generating.wait_until_reached(PATIENCE);
    generating.release();
    assert_answered_once(&scene, &[&asked], "Three pizzas");
}

#[test]
fn a_deletion_that_is_not_committed_yet_holds_back_the_claim_for_good() {
    let scene = scene_without_worker("delete_open");
    let asked = scene.shop.customer_says(MARIA, "Never mind").delivered();
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&deletion_of(&scene, &asked.id))["action"], "deleted");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
    customer.commit();
    scene.wait_for_action(&asked.id, "superseded");
    assert_nothing_sent_to_maria(&scene);
}

#[test]
fn a_deletion_that_waits_for_the_claim_discards_its_answer() {
    let (scene, asked, step, generating) = scene_at_the_claim("delete_waits", "Never mind");
    let customer = waiting_webhook(&scene, &deletion_of(&scene, &asked));
    step.release();
    assert_eq!(customer.outcome()["action"], "deleted");
    generating.wait_until_reached(PATIENCE);
    generating.release();
    scene.wait_for_action(&asked, "superseded");
    assert_nothing_sent_to_maria(&scene);
}

/// The message's own webhook is not committed when its edit comes: the edit belongs to a question.
#[test]
fn an_edit_that_waits_for_its_message_is_an_edit_of_a_question() {
    let scene = scene_without_worker("edit_at_once");
    let asked = question(&scene, "Two pizzas");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&asked.payload)["action"], "ai_queued");
    let edit = waiting_webhook(&scene, &edit_of(&scene, &asked.id, "Three pizzas"));
    customer.commit();
    assert_eq!(edit.outcome()["action"], "edited");
    assert_eq!(scene.reply().wanted, 2, "the reply must not go on with the old text");
    start_worker(&scene);
    assert_answered_once(&scene, &[&asked.id], "Three pizzas");
}

#[test]
fn a_deletion_that_waits_for_its_message_is_a_deletion_of_a_question() {
    let scene = scene_without_worker("delete_at_once");
    let asked = question(&scene, "Never mind");
    let mut customer = OpenTransaction::begin(&scene.db);
    customer.ingest(&asked.payload);
    let deletion = waiting_webhook(&scene, &deletion_of(&scene, &asked.id));
    customer.commit();
    assert_eq!(deletion.outcome()["action"], "deleted");
    assert_eq!(scene.reply().wanted, 2);
    start_worker(&scene);
    scene.wait_for_action(&asked.id, "superseded");
    assert_nothing_sent_to_maria(&scene);
}

#[test]
fn a_message_that_waits_for_its_own_edit_is_read_as_edited() {
    let scene = scene_without_worker("edit_first");
    let asked = question(&scene, "Two pizzas");
    let mut customer = OpenTransaction::begin(&scene.db);
    let edit = edit_of(&scene, &asked.id, "Three pizzas");
    assert_eq!(customer.ingest(&edit)["action"], "edited_early");
    let message = waiting_webhook(&scene, &asked.payload);
    customer.commit();
    assert_eq!(message.outcome()["action"], "ai_queued");
    start_worker(&scene);
    assert_answered_once(&scene, &[&asked.id], "Three pizzas");
}

fn edit_of(scene: &Scene, message_id: &str, text: &str) -> Value {
    let line = scene.shop.line();
    line.envelope("messages.edited", line.edit(message_id, text, Utc::now()), "")
}

fn deletion_of(scene: &Scene, message_id: &str) -> Value {
    let key = Person::from(MARIA).key(message_id, false);
    scene.shop.line().envelope("messages.delete", key, "")
}

/// The worker stands in the middle of the claim of this question; the call that follows is held.
#[track_caller]
fn scene_at_the_claim(prefix: &str, text: &str) -> (Scene, String, HeldStep, Gate) {
    let scene = Scene::start(shared_cluster(), prefix);
    let mut step = HeldStep::at(&scene.db, "replies", &of_maria("NEW.state = 'generating'"));
    let generating = scene.llm.hold();
    let asked = scene.shop.customer_says(MARIA, text).delivered();
    step.wait_until_reached();
    (scene, asked.id, step, generating)
}

/// A chat whose first question has failed.
#[track_caller]
fn scene_with_a_failure(prefix: &str, on_failure: &str) -> (Scene, String, i64) {
    let options = SceneOptions::default().with("on_failure", on_failure);
    let scene = Scene::start_with(shared_cluster(), prefix, options);
    scene.llm.next(LlmBehaviour::Refuse);
    let asked = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    (scene, asked.id, reply.id)
}

#[test]
fn retry_reply_leaves_a_chat_alone_that_has_a_new_question() {
    let (scene, _, failed) = scene_with_a_failure("retry_second", "none");
    let next = question(&scene, "Hello?");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&next.payload)["action"], "ai_queued");
    let retry = WaitingCall::begin(&scene.db, move |session| {
        session.query_one(RETRY, &[&failed]).expect("it answers").get::<_, bool>(0)
    });
    customer.commit();
    assert!(!retry.outcome(), "the new reply reads the old question too");
    assert_answered_once(&scene, &[&next.id], "Are you open?\nHello?");
}

#[test]
fn a_question_that_waits_for_retry_reply_is_answered_beside_the_one_that_failed() {
    let (scene, asked, failed) = scene_with_a_failure("retry_first", "hand_over");
    let mut operator = OpenTransaction::begin(&scene.db);
    assert!(operator.value::<bool>(RETRY, &[&failed]));
    let next = question(&scene, "Hello?");
    let customer = waiting_webhook(&scene, &next.payload);
    operator.commit();
    assert_eq!(customer.outcome()["action"], "ai_queued", "the pause went with the failure");
    scene.wait_for_action(&asked, "ai_replied");
    scene.wait_for_action(&next.id, "ai_replied");
    scene.wait_until_idle();
    // The worker may be faster than the customer who waits: then there are two turns, one for each.
    let texts = scene.texts_to(MARIA);
    let read: Vec<&str> =
        texts.iter().filter_map(|text| text.split_once(" to: ")).map(|(_, read)| read).collect();
    assert!(read == ["Are you open?\nHello?"] || read == ["Are you open?", "Hello?"], "{texts:?}");
}
