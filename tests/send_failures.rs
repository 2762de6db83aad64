//! Evolution refuses a message, or cannot send it now. What a closed line does is in line.

use serde_json::json;
use support::{Gate, LlmBehaviour, PATIENCE, Scene, SceneOptions, SendBehaviour, shared_cluster};

const MARIA: &str = "5511999990001";

/// The scene's first answer meets this.
#[track_caller]
fn first_answer_meets(prefix: &str, behaviour: SendBehaviour) -> Scene {
    let scene = Scene::start(shared_cluster(), prefix);
    scene.shop.next_send(behaviour);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene
}

/// The answer failed at its first try, with these words; the customer got nothing.
#[track_caller]
fn assert_failed_at_once(scene: &Scene, words: &str) {
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains(words), "{}", reply.why());
    let delivery = scene.deliveries().remove(0);
    assert_eq!((delivery.state.as_str(), delivery.attempt), ("failed", 1), "{delivery:#?}");
    assert_eq!(scene.shop.sent().len(), 0);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
    let health = "SELECT count(*) FROM whaply.health WHERE subject = 'deliveries'";
    assert_eq!(scene.db.value::<i64>(health, &[]), 1);
}

#[test]
fn a_line_that_drops_for_a_moment_costs_one_attempt() {
    let scene = first_answer_meets("closed_500", SendBehaviour::ConnectionClosed500);
    scene.wait_for_reply("sent");
    let delivery = scene.deliveries().remove(0);
    assert_eq!((delivery.attempt, delivery.deferrals), (2, 0));
    assert_eq!(scene.shop.sent().len(), 1);
    assert_eq!(scene.llm.requests().len(), 1, "no text is generated twice");
}

#[test]
fn a_gateway_that_asks_to_wait_is_obeyed_without_an_attempt() {
    let busy = json!({ "message": "Too many requests" });
    let scene = first_answer_meets("busy", SendBehaviour::Status(429, busy));
    scene.wait_for_reply("sent");
    let delivery = scene.deliveries().remove(0);
    assert_eq!((delivery.attempt, delivery.deferrals), (2, 1));
    assert_eq!(scene.shop.sent().len(), 1);
}

#[test]
fn a_number_that_is_not_on_whatsapp_fails_at_once() {
    let scene = first_answer_meets("not_there", SendBehaviour::RefuseNotOnWhatsapp);
    assert_failed_at_once(&scene, "the number is not on WhatsApp");
}

#[test]
fn an_error_of_metas_with_status_201_fails_at_once() {
    let scene = first_answer_meets("meta", SendBehaviour::MetaError201);
    assert_failed_at_once(&scene, "131030");
}

#[test]
fn a_wrong_evolution_key_fails_at_once_and_is_not_repeated() {
    let options = SceneOptions::default().with("evo_api_key", "wrong-key-of-evolution");
    let scene = Scene::start_with(shared_cluster(), "evo_key", options);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_failed_at_once(&scene, "check the tenant's Evolution API key");
    assert!(!shared_cluster().log().contains("wrong-key-of-evolution"));
    let errors = "SELECT concat(r.error, d.error) FROM whaply.replies r, whaply.deliveries d";
    assert!(!scene.db.value::<String>(errors, &[]).contains("wrong-key"));
}

#[test]
fn an_instance_that_evolution_does_not_know_fails_at_once() {
    let scene = Scene::start(shared_cluster(), "deleted_instance");
    scene.evolution.delete_instance("loja-demo");
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_failed_at_once(&scene, "check instance_name");
}

#[test]
fn an_evolution_that_is_down_fails_the_reply_and_a_retry_finds_it_up() {
    let scene = Scene::start(shared_cluster(), "evo_down");
    scene.evolution.go_down();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("Evolution was not reached"), "{}", reply.why());
    assert_eq!(scene.deliveries()[0].attempt, 5);
    scene.evolution.come_back();
    assert!(scene.db.value::<bool>("SELECT whaply.retry_reply($1)", &[&reply.id]));
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1);
}

#[test]
fn a_part_that_fails_takes_the_later_ones_with_it() {
    let scene = Scene::start(shared_cluster(), "second_part");
    let part = |word: &str| vec![word; 600].join(" ");
    scene.llm.next(LlmBehaviour::Answer([part("one"), part("two"), part("three")].join("\n\n")));
    scene.shop.next_send(SendBehaviour::Ok);
    scene.shop.next_send(SendBehaviour::RefuseNotOnWhatsapp);
    let question = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    scene.wait_for_reply("failed");
    assert_eq!(scene.delivery_states(), ["sent", "failed", "cancelled"]);
    assert_eq!(scene.shop.sent_texts(), [part("one")]);
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
}

#[test]
fn what_an_operator_writes_waits_behind_the_call_in_flight() {
    let scene = Scene::start(shared_cluster(), "operator_order");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    let send = "SELECT whaply.send_message('loja-demo', $1, 'Until six')";
    scene.db.value::<i64>(send, &[&MARIA]);
    sending.release();
    let texts: Vec<String> =
        scene.shop.wait_for_sent(2, PATIENCE).into_iter().map(|sent| sent.text).collect();
    assert_eq!(texts, ["Answer 1 to: Are you open?", "Until six"]);
}
