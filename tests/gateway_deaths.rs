//! Evolution is killed in the middle of a send, or still works on one for a worker that is gone: the
//! customer gets the message once. Calls that merely break are in uncertain_sends.

use std::sync::OnceLock;

use support::worker::{wait_for_next_worker, wait_for_worker};
use support::{
    Cluster, ClusterOptions, Echo, Gate, PATIENCE, Scene, SceneOptions, SendBehaviour,
    shared_cluster,
};

const MARIA: &str = "5511999990001";

/// A server whose two looks for a lost send are long enough apart for a test to act between them.
fn slow_to_believe() -> &'static Cluster {
    static SLOW: OnceLock<Cluster> = OnceLock::new();
    SLOW.get_or_init(|| {
        let options = ClusterOptions::default().in_a_hurry();
        Cluster::start(options.with("whaply.send_timeout", "2s").with("whaply.settle_time", "8s"))
    })
}

/// A chat with one answer, so that Evolution's store is known to show our sends, and a second answer
/// that stands at a gate inside Evolution. Its echo is lost until the test says otherwise.
#[track_caller]
fn second_answer_at(
    cluster: &Cluster,
    prefix: &str,
    behaviour: SendBehaviour,
    gate: &Gate,
) -> Scene {
    let scene = Scene::start_with(cluster, prefix, SceneOptions::default());
    let hello = scene.shop.customer_says(MARIA, "Hello").delivered();
    scene.wait_for_action(&hello.id, "ai_replied");
    scene.shop.set_echo(Echo::Never);
    scene.shop.next_send(behaviour);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    gate.wait_until_reached(PATIENCE);
    scene
}

/// Both questions are answered, each once.
#[track_caller]
fn assert_answered_once(scene: &Scene, attempts: i32) {
    scene.wait_for_reply("sent");
    scene.wait_until_idle();
    let delivery = scene.deliveries().remove(1);
    assert_eq!((delivery.state.as_str(), delivery.attempt), ("sent", attempts), "{delivery:#?}");
    scene.shop.set_echo(Echo::With);
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), ["Answer 1 to: Hello", "Answer 2 to: Are you open?"]);
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_message_taken_by_an_evolution_that_was_killed_before_it_answered_is_found() {
    let never = Gate::closed();
    let taken = SendBehaviour::TakeThenHold(never.clone());
    let scene = second_answer_at(shared_cluster(), "killed_taken", taken, &never);
    scene.evolution.go_down();
    scene.wait_for_delivery("an unknown end", |delivery| delivery.state == "uncertain");
    scene.evolution.come_back();
    assert_answered_once(&scene, 1);
}

#[test]
fn a_message_that_was_not_taken_by_an_evolution_that_was_killed_is_sent_again_once() {
    let never = Gate::closed();
    let refused = SendBehaviour::HoldThenOk(never.clone());
    let scene = second_answer_at(shared_cluster(), "killed_lost", refused, &never);
    scene.evolution.go_down();
    scene.wait_for_delivery("an unknown end", |delivery| delivery.state == "uncertain");
    scene.evolution.come_back();
    assert_answered_once(&scene, 2);
}

/// The request of the old process is still inside Evolution when the first look finds nothing.
#[test]
fn a_request_that_outlives_its_worker_is_not_made_again() {
    for (prefix, echo) in [("outlives_echo", Echo::With), ("outlives", Echo::Never)] {
        let sending = Gate::closed();
        let held = SendBehaviour::HoldThenOk(sending.clone());
        let scene = second_answer_at(slow_to_believe(), prefix, held, &sending);
        let pid = wait_for_worker(&scene.db);
        assert!(scene.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&pid]));
        wait_for_next_worker(&scene.db, pid);
        scene.shop.set_echo(echo);
        scene.evolution.wait_for_request("/chat/findMessages/", PATIENCE);
        sending.release();
        scene.shop.wait_for_sent(2, PATIENCE);
        assert_answered_once(&scene, 1);
    }
}

#[test]
fn a_request_that_is_finished_while_no_worker_runs_is_known_by_its_echo() {
    let sending = Gate::closed();
    let held = SendBehaviour::HoldThenOk(sending.clone());
    let scene = second_answer_at(shared_cluster(), "finished_alone", held, &sending);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.shop.set_echo(Echo::With);
    sending.release();
    let sent = scene.shop.wait_for_sent(2, PATIENCE).remove(1);
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("pending_echo"));
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    assert_answered_once(&scene, 1);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
}
