//! The line of an instance to WhatsApp: while it is not open nothing leaves and nothing is lost, and
//! it is found open again whether Evolution tells of it or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::worker::wait_for_worker;
use support::{
    Cluster, ClusterOptions, Gate, PATIENCE, Said, Scene, SceneOptions, SendBehaviour,
    shared_cluster, wait_until,
};

const MARIA: &str = "5511999990001";

/// How often Evolution was asked whether the line is open.
fn polls(scene: &Scene) -> usize {
    let requests = scene.evolution.requests().into_iter();
    requests.filter(|request| request.path.contains("/connectionState/")).count()
}

#[test]
fn an_instance_that_is_not_loaded_is_waited_for() {
    let scene = Scene::start(shared_cluster(), "not_loaded");
    scene.shop.set_connection("connecting");
    scene.shop.next_send(SendBehaviour::NotLoaded500);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.evolution.wait_for_request("/instance/connectionState/loja-demo", PATIENCE);
    assert_eq!(scene.shop.sent().len(), 0);
    scene.shop.set_connection("open");
    scene.wait_for_action(&question.id, "ai_replied");
    let delivery = scene.deliveries().remove(0);
    assert_eq!((delivery.attempt, delivery.deferrals), (2, 1), "it was no attempt");
}

#[test]
fn nothing_is_generated_while_the_line_is_closed() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "closed_waiting", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.shop.connection_becomes("close").delivered();
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    wait_until("three looks at the line", PATIENCE, || polls(&scene) >= 3);
    assert_eq!(scene.llm.requests().len(), 0);
    assert_eq!(scene.reply().state, "waiting");
    let health: String =
        scene.db.value("SELECT problem FROM whaply.health WHERE subject = 'line'", &[]);
    assert!(health.contains("close"), "{health}");
    scene.shop.set_connection("open");
    scene.wait_for_action(&question.id, "ai_replied");
    let health: i64 = scene.db.value("SELECT count(*) FROM whaply.health", &[]);
    assert_eq!(health, 0);
}

/// The line closed while the model answered.
#[track_caller]
fn an_answer_that_waits_for_the_line(prefix: &str) -> (Scene, Said) {
    let scene = Scene::start(shared_cluster(), prefix);
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.connection_becomes("close").delivered();
    generating.release();
    scene.wait_for_delivery("the answer to wait", |delivery| delivery.state == "pending");
    (scene, question)
}

#[test]
fn what_was_generated_is_sent_once_the_line_is_open_again() {
    let (scene, question) = an_answer_that_waits_for_the_line("closed_sending");
    let before = polls(&scene);
    wait_until("two more looks at the line", PATIENCE, || polls(&scene) >= before + 2);
    assert_eq!(scene.shop.sent().len(), 0);
    scene.shop.connection_becomes("open").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.deliveries()[0].attempt, 1);
}

/// Evolution would still call it closed, if anybody asked.
#[test]
fn a_customers_message_proves_that_the_line_is_open() {
    let scene = Scene::start(shared_cluster(), "proof");
    wait_for_worker(&scene.db);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]), "nobody asks meanwhile");
    scene.shop.connection_becomes("close").delivered();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let state = "SELECT connection_state FROM whaply.tenants";
    assert_eq!(scene.db.value::<String>(state, &[]), "open");
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(polls(&scene), 0);
}

/// An operator's message does not obey pauses, but it needs the line as any other does.
#[test]
fn an_operators_message_waits_for_the_line_too() {
    let scene = Scene::start(shared_cluster(), "operator_line");
    scene.shop.connection_becomes("close").delivered();
    let send = "SELECT whaply.send_message('loja-demo', $1, 'Your parcel is here')";
    scene.db.value::<i64>(send, &[&MARIA]);
    wait_until("three looks at the line", PATIENCE, || polls(&scene) >= 3);
    assert_eq!(scene.shop.sent().len(), 0);
    scene.shop.set_connection("open");
    assert_eq!(scene.shop.wait_for_sent(1, PATIENCE)[0].text, "Your parcel is here");
}

/// A gateway that tells nothing of its line, and refuses every send while that is closed.
fn silent_gateway(scene: &Scene) -> Arc<AtomicBool> {
    let is_open = Arc::new(AtomicBool::new(false));
    let line = Arc::clone(&is_open);
    scene.shop.set_connection("close");
    scene.shop.decide_sends(move |_| match line.load(Ordering::SeqCst) {
        true => SendBehaviour::Ok,
        false => SendBehaviour::ConnectionClosed500,
    });
    is_open
}

/// No `connection.update` ever comes: the first refused send makes the worker ask. However slow this
/// machine is, it has asked before the second attempt.
#[test]
fn a_tenant_that_never_tells_of_its_line_loses_no_answer_while_it_is_closed() {
    let hurry = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(hurry.with("whaply.retry_delay", "3s"));
    let scene = Scene::start(&cluster, "never_told");
    let is_open = silent_gateway(&scene);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    wait_until("many looks at the line", PATIENCE, || polls(&scene) >= 15);
    assert_eq!(scene.reply().state, "sending", "{:#?}", scene.deliveries());
    assert!(!scene.session(MARIA).is_paused, "nobody gave up");
    is_open.store(true, Ordering::SeqCst);
    scene.shop.set_connection("open");
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1);
}

#[test]
fn an_answer_that_waited_for_the_line_longer_than_its_expiry_is_failed_and_not_sent() {
    let (scene, question) = an_answer_that_waits_for_the_line("expired");
    scene.db.execute(
        "UPDATE whaply.deliveries SET created_at = created_at - interval '1 day';
         UPDATE whaply.replies SET created_at = created_at - interval '1 day'",
    );
    scene.shop.connection_becomes("open").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("reply_expiry"), "{}", reply.why());
    assert_eq!(scene.deliveries()[0].state, "failed");
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
}

#[test]
fn old_messages_after_a_reconnect_get_no_answer() {
    let scene = Scene::start(shared_cluster(), "reconnect");
    scene.shop.connection_becomes("close").delivered();
    scene.shop.connection_becomes("open").delivered();
    let three_hours = Duration::from_secs(3 * 3600);
    let old = scene.shop.customer_said(MARIA, "Are you open?", three_hours).delivered();
    let owner = scene.shop.owner_typed(MARIA, "Yes, until six", three_hours).delivered();
    scene.somebody_else_is_answered();
    assert_eq!(scene.action(&old.id).as_deref(), Some("ignored_old"));
    assert_eq!(scene.action(&owner.id).as_deref(), Some("ignored_old"));
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert!(!scene.session(MARIA).is_paused);
    let fresh = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&fresh.id, "ai_replied");
    let turns = scene.llm.requests().pop().expect("a call").turns();
    let texts: Vec<&str> = turns.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["Are you open?", "Yes, until six", "Hello?"], "but they are read");
}

/// Old news: what is an hour old proves nothing about the line of today.
#[test]
fn an_old_message_does_not_open_the_line() {
    let scene = Scene::start(shared_cluster(), "old_proof");
    scene.shop.connection_becomes("close").delivered();
    let hour = Duration::from_secs(3600);
    scene.shop.customer_said(MARIA, "Are you open?", hour).delivered();
    let state = "SELECT connection_state FROM whaply.tenants";
    assert_eq!(scene.db.value::<String>(state, &[]), "close");
}

/// Nobody waits for the line to find out that the answer would come too late.
#[test]
fn what_waited_too_long_is_failed_while_the_line_is_still_closed_but_for_an_operators_message() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "closed_expired", options);
    let waiting = scene.shop.customer_says("5511999990002", "And you?").delivered();
    scene.set_tenant("debounce = '0 s'");
    let generating = scene.llm.hold();
    let answered = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.connection_becomes("close").delivered();
    let send = "SELECT whaply.send_message('loja-demo', $1, 'Your parcel is here')";
    scene.db.value::<i64>(send, &[&MARIA]);
    generating.release();
    wait_until("the answer to wait", PATIENCE, || {
        scene.delivery_states() == ["pending", "pending"]
    });
    scene.db.execute(
        "UPDATE whaply.deliveries SET created_at = created_at - interval '1 day';
         UPDATE whaply.replies SET created_at = created_at - interval '1 day', due_at = now()",
    );
    scene.wait_for_action(&waiting.id, "ai_failed");
    scene.wait_for_action(&answered.id, "ai_failed");
    assert_eq!(scene.delivery_states(), ["pending", "failed"]);
    assert!(scene.replies().iter().all(|reply| reply.why().contains("reply_expiry")));
    let state = "SELECT connection_state FROM whaply.tenants";
    assert_eq!(scene.db.value::<String>(state, &[]), "close", "nothing has opened it");
    scene.shop.set_connection("open");
    scene.shop.wait_for_sent(1, PATIENCE);
    assert_eq!(scene.shop.sent_texts(), ["Your parcel is here"]);
    assert_eq!(scene.llm.requests().len(), 1);
}

/// The line was told to be closed while a call was on its way, and it is asked for once only: nothing
/// but the end of that call can open it.
#[test]
fn a_message_that_was_taken_proves_that_the_line_is_open() {
    let hurry = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(hurry.with("whaply.line_check_interval", "10min"));
    let scene = Scene::start(&cluster, "taken_opens");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.shop.connection_becomes("close").delivered();
    wait_until("the one look at the line", PATIENCE, || polls(&scene) == 1);
    sending.release();
    scene.wait_for_action(&question.id, "ai_replied");
    let state = "SELECT connection_state FROM whaply.tenants";
    wait_until("the line to be open", PATIENCE, || scene.db.value::<String>(state, &[]) == "open");
}
