//! What a customer edits and deletes, in every order in which its webhooks can come: the model reads
//! the chat as it stands, and each question is answered once or, if it was taken back, not at all.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use support::payload::phone_message_id;
use support::{Gate, PATIENCE, Person, Said, Scene, SceneOptions, SendBehaviour, shared_cluster};

const MARIA: &str = "5511999990001";

/// A tenant whose assistant waits for more until the test says otherwise.
fn patient_scene(prefix: &str) -> Scene {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    Scene::start_with(shared_cluster(), prefix, options)
}

/// A message of Maria's under an id that the test knows beforehand.
fn arrives(scene: &Scene, id: &str, message: Value, message_type: &str) -> Said {
    let maria = Person::from(MARIA);
    let data = scene.shop.line().customer_message(&maria, id, message, message_type, Utc::now());
    scene.shop.emit("messages.upsert", data).delivered()
}

fn text_arrives(scene: &Scene, id: &str, text: &str) -> Said {
    arrives(scene, id, json!({ "conversation": text }), "conversation")
}

fn edit_arrives(scene: &Scene, id: &str, text: &str, at: DateTime<Utc>) -> Said {
    scene.shop.emit("messages.edited", scene.shop.line().edit(id, text, at)).delivered()
}

fn deletion_arrives(scene: &Scene, id: &str) -> Said {
    scene.shop.emit("messages.delete", Person::from(MARIA).key(id, false)).delivered()
}

/// Evolution reports one deletion by both events.
fn revoke_arrives(scene: &Scene, id: &str) -> Said {
    let mut data = scene.shop.line().edit(id, "", Utc::now());
    data["type"] = "REVOKE".into();
    data.as_object_mut().expect("an object").remove("editedMessage");
    scene.shop.emit("messages.edited", data).delivered()
}

fn answer_to(said: &Said) -> Value {
    said.answer().json()["action"].clone()
}

/// Everything that reached Maria, once the worker has seen all there is.
#[track_caller]
fn all_texts(scene: &Scene) -> Vec<String> {
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    scene.texts_to(MARIA)
}

#[test]
fn an_edit_that_comes_before_its_message_is_what_the_model_reads() {
    let scene = Scene::start(shared_cluster(), "edit_before");
    let id = phone_message_id();
    let edit = edit_arrives(&scene, &id, "Three pizzas", Utc::now());
    assert_eq!(answer_to(&edit), "edited_early");
    text_arrives(&scene, &id, "Two pizzas");
    scene.wait_for_action(&id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 1 to: Three pizzas"]);
}

#[test]
fn a_deletion_that_comes_before_its_message_leaves_nothing_to_answer() {
    let scene = Scene::start(shared_cluster(), "delete_before");
    let id = phone_message_id();
    assert_eq!(answer_to(&deletion_arrives(&scene, &id)), "deleted_early");
    text_arrives(&scene, &id, "Never mind");
    assert_eq!(all_texts(&scene), [""; 0]);
    assert_eq!(scene.action(&id).as_deref(), Some("deleted"));
    let deleted =
        "SELECT text FROM whaply.messages WHERE message_id = $1 AND deleted_at IS NOT NULL";
    assert_eq!(scene.db.value::<String>(deleted, &[&id]), "Never mind", "the owner may read it");
}

#[test]
fn of_edits_that_come_out_of_order_and_twice_the_newest_is_read() {
    let scene = patient_scene("edits_disordered");
    let question = scene.shop.customer_says(MARIA, "One pizza").delivered();
    let at = |seconds| Utc::now() - Duration::minutes(1) + Duration::seconds(seconds);
    let (second, third) = (at(10), at(20));
    let newest = edit_arrives(&scene, &question.id, "Three pizzas", third);
    let older = edit_arrives(&scene, &question.id, "Two pizzas", second);
    let again = edit_arrives(&scene, &question.id, "Three pizzas", third);
    assert_eq!(newest.answer().json()["duplicate"], false);
    for late in [older, again] {
        assert_eq!(late.answer().json()["duplicate"], true, "it changes nothing");
    }
    assert_eq!(scene.reply().wanted, 2, "the question and one edit");
    scene.set_tenant("debounce = '0 s'");
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 1 to: Three pizzas"]);
    let rows = "SELECT count(*) FROM whaply.processed_events WHERE message_id = $1";
    assert_eq!(scene.db.value::<i64>(rows, &[&question.id]), 2, "one for each kind of event");
}

#[test]
fn a_deletion_by_both_events_in_any_order_is_one() {
    for (prefix, revoke_first) in [("revoke_first", true), ("revoke_last", false)] {
        let scene = patient_scene(prefix);
        let question = scene.shop.customer_says(MARIA, "Never mind").delivered();
        let (first, second) = match revoke_first {
            true => (revoke_arrives(&scene, &question.id), deletion_arrives(&scene, &question.id)),
            false => (deletion_arrives(&scene, &question.id), revoke_arrives(&scene, &question.id)),
        };
        assert_eq!((answer_to(&first), answer_to(&second)), (json!("deleted"), json!("deleted")));
        assert_eq!(second.answer().json()["duplicate"], true);
        assert_eq!(scene.reply().wanted, 2, "the question and its deletion");
        // An edit on its way when the message was deleted.
        let edit = edit_arrives(&scene, &question.id, "Do mind", Utc::now());
        assert_eq!(edit.answer().json()["duplicate"], true);
        scene.db.execute("UPDATE whaply.replies SET due_at = now()");
        scene.wait_for_action(&question.id, "superseded");
        scene.set_tenant("debounce = '0 s'");
        assert_eq!(all_texts(&scene), [""; 0]);
    }
}

#[test]
fn an_edit_after_each_answer_of_the_model_is_read_twice_and_then_the_answer_is_sent() {
    let scene = Scene::start(shared_cluster(), "edits_endless");
    let calls = [scene.llm.hold(), scene.llm.hold(), scene.llm.hold()];
    let question = scene.shop.customer_says(MARIA, "1 pizza").delivered();
    for (call, pizzas) in calls.iter().zip(2..) {
        call.wait_until_reached(PATIENCE);
        edit_arrives(&scene, &question.id, &format!("{pizzas} pizzas"), Utc::now());
        call.release();
    }
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 3 to: 3 pizzas"], "the last edit came too late");
    let reply = scene.replies().remove(0);
    assert_eq!((reply.requeues, reply.wanted, reply.seen), (2, 4, 3));
}

#[test]
fn an_edit_while_its_answer_is_sent_asks_for_no_second_answer() {
    let scene = Scene::start(shared_cluster(), "edit_sending");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Two pizzas").delivered();
    sending.wait_until_reached(PATIENCE);
    edit_arrives(&scene, &question.id, "Two pizzas, please", Utc::now());
    sending.release();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 1 to: Two pizzas"]);
}

#[test]
fn a_deletion_of_one_of_two_questions_during_generation_leaves_the_other_to_answer() {
    let scene = patient_scene("one_of_two");
    let generating = scene.llm.hold();
    let mistake = scene.shop.customer_says(MARIA, "with pineapple").delivered();
    let question = scene.shop.customer_says(MARIA, "Two pizzas").delivered();
    scene.set_tenant("debounce = '0 s'");
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    generating.wait_until_reached(PATIENCE);
    deletion_arrives(&scene, &mistake.id);
    generating.release();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 2 to: Two pizzas"]);
}

/// WhatsApp could not show the message yet; its content comes under the same id.
#[test]
fn a_placeholder_whose_content_comes_later_is_answered_once() {
    let scene = Scene::start(shared_cluster(), "placeholder");
    let id = phone_message_id();
    let placeholder = json!({ "placeholderMessage": { "type": 0 } });
    for _ in 0..2 {
        let said = arrives(&scene, &id, placeholder.clone(), "placeholderMessage");
        assert_eq!(answer_to(&said), "ignored_type");
    }
    assert_eq!(all_texts(&scene), [""; 0]);
    text_arrives(&scene, &id, "Are you open?");
    scene.wait_for_action(&id, "ai_replied");
    let again = text_arrives(&scene, &id, "Are you open?");
    assert_eq!(again.answer().json()["duplicate"], true);
    let late = arrives(&scene, &id, placeholder, "placeholderMessage");
    assert_eq!(late.answer().json()["duplicate"], true);
    assert_eq!(scene.message(&id).text.as_deref(), Some("Are you open?"));
    let texts = all_texts(&scene);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].ends_with(" to: Are you open?"), "{texts:?}");
}

#[test]
fn the_content_of_a_placeholder_that_comes_first_is_not_undone_by_it() {
    let scene = patient_scene("placeholder_late");
    let id = phone_message_id();
    text_arrives(&scene, &id, "Are you open?");
    let placeholder = json!({ "placeholderMessage": { "type": 0 } });
    let late = arrives(&scene, &id, placeholder, "placeholderMessage");
    assert_eq!(late.answer().json()["duplicate"], true);
    scene.set_tenant("debounce = '0 s'");
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    scene.wait_for_action(&id, "ai_replied");
    assert_eq!(all_texts(&scene), ["Answer 1 to: Are you open?"]);
}

/// The echo is lost, and somebody of the business edits the message before Evolution has answered.
#[test]
fn an_edit_of_our_own_message_that_comes_before_its_answer_leaves_it_ours() {
    let scene = Scene::start(shared_cluster(), "own_edit");
    let sending = Gate::closed();
    scene.shop.set_echo(support::Echo::Never);
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let question = text_arrives(&scene, &phone_message_id(), "Are you open?");
    sending.wait_until_reached(PATIENCE);
    let sent = scene.shop.sent().remove(0);
    let edit = edit_arrives(&scene, &sent.id, "Until six", Utc::now());
    assert_eq!(answer_to(&edit), "edited_early");
    sending.release();
    scene.wait_for_action(&question.id, "ai_replied");
    let message = scene.message(&sent.id);
    assert_eq!((message.from_me, message.sender.as_deref()), (true, Some("assistant")));
    assert_eq!(message.text.as_deref(), Some("Until six"));
}
