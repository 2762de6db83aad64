//! What is left of a reply when its worker, or the whole server, ends in the middle: the next worker
//! takes it up, and the customer gets one answer.

use std::time::{Duration, Instant};

use support::say::say;
use support::worker::{wait_for_next_worker, wait_for_worker, worker_pid};
use support::{
    Cluster, ClusterOptions, Gate, LlmBehaviour, PATIENCE, Person, Scene, SceneOptions,
    SendBehaviour, StopMode, shared_cluster, wait_until, writers,
};

/// Service managers kill what stops no sooner.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

fn own_cluster() -> Cluster {
    Cluster::start(ClusterOptions::default().in_a_hurry())
}

/// A question whose answer the model is working on. It never ends by itself.
#[track_caller]
fn ask_and_hold(scene: &Scene, question: &str) -> Gate {
    let gate = scene.ask_and_hold(question);
    // The claim's commit waits for no disk: a crash of this moment would forget the first attempt.
    scene.db.execute("CHECKPOINT");
    gate
}

/// The question was answered once, by the second call to the model.
#[track_caller]
fn assert_answered_once_by_the_second_call(scene: &Scene, question: &str) {
    let sent = scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), [format!("Answer 2 to: {question}")], "{sent:?}");
    assert_eq!(scene.llm.requests().len(), 2);
    let replies = "SELECT state || ' at attempt ' || attempt FROM whaply.replies";
    assert_eq!(scene.db.column::<String>(replies, &[]), ["sent at attempt 2"]);
    let actions = "SELECT action_taken FROM whaply.processed_events
                    WHERE event_type = 'messages.upsert'";
    assert_eq!(scene.db.column::<String>(actions, &[]), ["ai_replied"]);
}

#[test]
fn a_terminated_worker_comes_back_and_takes_up_what_it_left() {
    let scene = Scene::start(shared_cluster(), "terminated");
    writers::watch(&scene.db);
    let pid = wait_for_worker(&scene.db);
    let gate = ask_and_hold(&scene, "Qual o preço?");
    assert!(scene.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&pid]));
    wait_for_next_worker(&scene.db, pid);
    assert_answered_once_by_the_second_call(&scene, "Qual o preço?");
    gate.release();
    assert_eq!(writers::roles_of_processes(&scene.db), ["whaply_worker"]);
}

#[test]
fn a_message_that_left_before_its_worker_was_terminated_is_not_sent_again() {
    let scene = Scene::start(shared_cluster(), "left");
    let pid = wait_for_worker(&scene.db);
    let gate = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(gate.clone()));
    let asked = scene.shop.customer_says(Person::maria(), "Qual o preço?").delivered();
    gate.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&pid]));
    wait_for_next_worker(&scene.db, pid);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 1);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    gate.release();
}

#[test]
fn a_worker_killed_by_the_kernel_takes_the_server_down_and_both_come_back() {
    let cluster = own_cluster();
    let scene = Scene::start(&cluster, "killed");
    writers::watch(&scene.db);
    let pid = wait_for_worker(&scene.db);
    let gate = ask_and_hold(&scene, "Qual o preço?");
    cluster.kill_process(pid);
    cluster.wait_until_recovered();
    wait_for_next_worker(&scene.db, pid);
    assert_answered_once_by_the_second_call(&scene, "Qual o preço?");
    gate.release();
    // What wakes the worker is in shared memory, which is new.
    scene.shop.customer_says(Person::maria(), "E o prazo?").delivered();
    scene.shop.wait_for_sent(2, PATIENCE);
    assert_eq!(writers::roles_of_processes(&scene.db), ["whaply_worker"]);
}

#[test]
fn a_reply_that_waits_when_the_server_restarts_is_answered_afterwards() {
    let cluster = own_cluster();
    let scene = Scene::start(&cluster, "waiting");
    wait_for_worker(&scene.db);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    // stop_worker() holds until the restart.
    cluster.restart();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.llm.requests().len(), 1);
}

/// The wait for more is a time in a row, not a timer in a process.
#[test]
fn messages_before_and_after_a_restart_of_the_server_are_one_turn() {
    let cluster = own_cluster();
    let patient = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(&cluster, "debounce", patient);
    wait_for_worker(&scene.db);
    let first = scene.shop.customer_says(Person::maria(), "Oi").delivered();
    cluster.restart();
    wait_for_worker(&scene.db);
    scene.set_tenant("debounce = '0 s'");
    let second = scene.shop.customer_says(Person::maria(), "Tem em azul?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Oi\nTem em azul?"]);
    for asked in [first, second] {
        assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    }
}

#[test]
fn a_debounce_that_is_under_way_when_the_server_restarts_ends_without_another_message() {
    let cluster = own_cluster();
    let options = SceneOptions::default().with("debounce", "2 s");
    let scene = Scene::start_with(&cluster, "debounce_ends", options);
    scene.shop.customer_says(Person::maria(), "Oi").delivered();
    cluster.restart();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 1);
}

/// Evolution never sends again what it was told is taken.
#[test]
fn what_was_taken_survives_a_crash_where_the_database_does_not_wait_for_its_commits() {
    let options = ClusterOptions::default().in_a_hurry();
    // Nobody else brings the commit to disk in time.
    let cluster = Cluster::start(options.with("wal_writer_delay", "10s"));
    let patient = SceneOptions::default().with("debounce", "20 s");
    let scene = Scene::start_with(&cluster, "hasty", patient);
    let name = scene.db.name();
    scene.db.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    cluster.kill_postmaster();
    cluster.restart();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_queued"));
}

/// A worker that starts takes back whatever it finds; this one came up before the reply was lost.
#[test]
fn a_reply_that_nobody_works_at_is_taken_up_when_its_lease_has_ended() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1s"));
    let patient = SceneOptions::default().with("debounce", "20 s");
    let scene = Scene::start_with(&cluster, "lost", patient);
    let pid = wait_for_worker(&scene.db);
    let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    scene.db.execute(
        "UPDATE whaply.replies SET state = 'generating', attempt = 1, seen = wanted,
                due_at = now() - interval '2 minutes', claimed_at = now() - interval '2 minutes',
                lease_until = now() - interval '1 second'",
    );
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.reply().attempt, 2);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.llm.requests().len(), 1);
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
}

/// Waiting for the row would keep the worker from every other chat, or end it again and again.
#[test]
fn what_somebody_has_locked_while_a_worker_starts_is_taken_up_when_it_is_free() {
    for (prefix, row) in [
        ("locked_reply", "SELECT FROM whaply.replies FOR UPDATE"),
        ("locked_send", "SELECT FROM whaply.deliveries FOR UPDATE"),
    ] {
        let scene = Scene::start(shared_cluster(), prefix);
        let pid = wait_for_worker(&scene.db);
        let gate = if prefix == "locked_reply" {
            ask_and_hold(&scene, "Qual o preço?")
        } else {
            let gate = Gate::closed();
            scene.shop.next_send(SendBehaviour::TakeThenHold(gate.clone()));
            scene.shop.customer_says(Person::maria(), "Qual o preço?").delivered();
            gate.wait_until_reached(PATIENCE);
            gate
        };
        let mut forgotten = scene.db.connect();
        assert!(scene.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&pid]));
        forgotten.batch_execute(&format!("BEGIN; {row}")).expect("the rows are free");
        let next = wait_for_next_worker(&scene.db, pid);
        let sent = scene.shop.sent().len();
        scene.shop.customer_says("5511999990002", "E eu?").delivered();
        scene.shop.wait_for_sent(sent + 1, PATIENCE);
        forgotten.batch_execute("ROLLBACK").expect("the session is there");
        let states = "SELECT count(*) FROM whaply.replies WHERE state = 'sent'";
        wait_until("both answers", PATIENCE, || scene.db.value::<i64>(states, &[]) == 2);
        assert_eq!(scene.shop.sent().len(), 2, "each of them once");
        assert_eq!(worker_pid(&scene.db), Some(next), "it lived on");
        gate.release();
    }
}

#[test]
fn a_restart_during_generation_leaves_one_answer() {
    let cluster = own_cluster();
    let scene = Scene::start(&cluster, "generating");
    let gate = ask_and_hold(&scene, "Qual o preço?");
    cluster.restart();
    assert_answered_once_by_the_second_call(&scene, "Qual o preço?");
    gate.release();
}

#[test]
fn a_fast_shutdown_does_not_wait_for_calls_that_hang() {
    let cluster = own_cluster();
    let scene = Scene::start(&cluster, "hanging");
    scene.shop.next_send(SendBehaviour::Hang);
    scene.shop.customer_says(Person::maria(), "Oi?").delivered();
    scene.evolution.wait_for_request("/message/sendText/", PATIENCE);
    scene.llm.next(LlmBehaviour::Hang);
    scene.shop.customer_says("5511999990002", "Olá?").delivered();
    scene.llm.wait_for_requests(2, PATIENCE);
    let began = Instant::now();
    cluster.stop(StopMode::Fast);
    let took = began.elapsed();
    say(&format!("a fast shutdown with two hanging calls took {took:.1?}"));
    // The only time that is a promise: either call alone would hang for longer.
    assert!(took < SHUTDOWN_LIMIT, "{took:?}");
    assert!(!cluster.log().contains("PANIC"), "{}", cluster.log());
}
