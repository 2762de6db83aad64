//! How a reply worker comes to be, is watched and is stopped: by the launcher, by CREATE EXTENSION,
//! by hand, by a setting. What happens to one that dies is in `worker_restarts.rs`.

use std::thread;

use postgres::error::SqlState;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::worker::{sleeps_of, wait_for_worker, wait_until_without_worker, worker_pid};
use support::{
    Cluster, ClusterOptions, Database, PATIENCE, Person, Scene, shared_cluster, wait_until, writers,
};

/// A process that gets no time while this lives.
struct Suspended(Pid);

impl Suspended {
    fn new(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).expect("a process id is not zero");
        kill_process(pid, Signal::STOP).expect("it is a process of this test");
        Self(pid)
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        // An error only means that it is gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[track_caller]
fn ask_and_wait_for_answer(scene: &Scene, question: &str) {
    let answers = scene.shop.sent().len();
    scene.shop.customer_says(Person::maria(), question).delivered();
    let sent = scene.shop.wait_for_sent(answers + 1, PATIENCE);
    assert!(sent.last().is_some_and(|sent| sent.text.contains(question)), "{sent:?}");
    scene.wait_until_idle();
}

fn status(db: &Database) -> Value {
    db.value("SELECT whaply.worker_status()", &[])
}

/// What an operator reads in `health` about the worker.
fn complaints_about_the_worker(db: &Database) -> i64 {
    db.value("SELECT count(*) FROM whaply.health WHERE subject = 'worker'", &[])
}

/// Each in a new session, which has not loaded the library yet.
#[track_caller]
fn assert_every_view_can_be_read(db: &Database) {
    let views = "SELECT viewname::text FROM pg_views WHERE schemaname = 'whaply'";
    let views: Vec<String> = db.column(views, &[]);
    assert_eq!(views.len(), 10, "{views:?}");
    for view in views {
        db.rows(&format!("SELECT * FROM whaply.{view}"), &[]);
    }
}

fn call(db: &Database, function: &str) -> bool {
    db.value(&format!("SELECT whaply.{function}()"), &[])
}

#[test]
fn each_database_with_the_extension_has_a_worker_of_its_own() {
    let first = Scene::start(shared_cluster(), "first");
    let second = Scene::start(shared_cluster(), "second");
    let without = shared_cluster().create_empty_database("without");
    ask_and_wait_for_answer(&first, "Abrem aos domingos?");
    ask_and_wait_for_answer(&second, "Entregam no centro?");
    assert_ne!(wait_for_worker(&first.db), wait_for_worker(&second.db));
    wait_until_without_worker(&without);
    let expected = json!({ "status": "running", "pid": worker_pid(&first.db), "preloaded": true });
    assert_eq!(status(&first.db), expected);
    assert_eq!(complaints_about_the_worker(&first.db), 0);
    assert_eq!((first.llm.requests().len(), second.llm.requests().len()), (1, 1));
}

#[test]
fn the_launcher_starts_the_workers_of_all_databases_with_the_server() {
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let scenes = ["first", "second", "third"].map(|prefix| Scene::start(&cluster, prefix));
    cluster.restart();
    for scene in &scenes {
        wait_for_worker(&scene.db);
        ask_and_wait_for_answer(scene, "Oi?");
    }
}

#[test]
fn without_preload_a_worker_lives_from_create_extension_to_the_restart_and_starts_by_hand() {
    let options = ClusterOptions::without_preload().in_a_hurry();
    // Nothing wakes this worker at a commit.
    let cluster = Cluster::start(options.with("whaply.poll_interval", "100ms"));
    let undecided = cluster.create_empty_database("undecided");
    let mut client = undecided.connect();
    client.batch_execute("BEGIN; CREATE EXTENSION whaply; ROLLBACK").expect("rolled back");
    wait_until_without_worker(&undecided);

    let scene = Scene::start(&cluster, "by_hand");
    writers::watch(&scene.db);
    let pid = wait_for_worker(&scene.db);
    assert_eq!(status(&scene.db), json!({ "status": "running", "pid": pid, "preloaded": false }));
    ask_and_wait_for_answer(&scene, "Abrem aos domingos?");
    assert_every_view_can_be_read(&scene.db);

    cluster.restart();
    assert_every_view_can_be_read(&scene.db);
    let asked = scene.shop.customer_says(Person::maria(), "E aos feriados?").delivered();
    assert_eq!(worker_pid(&scene.db), None);
    assert_eq!(complaints_about_the_worker(&scene.db), 1);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_queued"));

    assert!(call(&scene.db, "start_worker"), "the worker runs");
    scene.shop.wait_for_sent(2, PATIENCE);
    let pid = worker_pid(&scene.db);
    assert!(call(&scene.db, "start_worker"), "it runs already");
    assert_eq!(worker_pid(&scene.db), pid, "and there is only one");

    assert!(call(&scene.db, "stop_worker"), "it is gone");
    wait_until_without_worker(&scene.db);
    assert!(call(&scene.db, "start_worker"), "and comes again");
    ask_and_wait_for_answer(&scene, "Obrigada!");
    assert_eq!(writers::roles_of_processes(&scene.db), ["whaply_worker"]);
}

#[test]
fn a_stopped_worker_stays_away_until_it_is_started() {
    let scene = Scene::start(shared_cluster(), "stopped");
    wait_for_worker(&scene.db);
    assert!(call(&scene.db, "stop_worker"), "it is gone");
    wait_until_without_worker(&scene.db);
    let expected = json!({ "status": "stopped", "pid": null, "preloaded": true });
    assert_eq!(status(&scene.db), expected);
    assert_eq!(complaints_about_the_worker(&scene.db), 1);
    let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();

    // The launcher looks at every database whenever one gets the extension.
    let other = shared_cluster().create_database("other");
    wait_for_worker(&other);
    assert_eq!(status(&scene.db), expected);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_queued"));
    assert!(call(&scene.db, "stop_worker"), "it is gone already");

    assert!(call(&scene.db, "start_worker"), "it runs");
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
}

#[test]
fn a_worker_that_is_stopped_before_the_launcher_has_seen_its_database_stays_away() {
    let cluster = Cluster::start(ClusterOptions::default());
    let others = cluster.existing_database("postgres");
    let launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'whaply launcher'";
    let launcher = wait_until("the launcher", PATIENCE, || {
        others.column::<i32>(launcher, &[]).first().copied()
    });
    let asleep = Suspended::new(launcher);
    let db = cluster.create_database("unseen");
    let stopped = thread::scope(|scope| {
        let stop = scope.spawn(|| call(&db, "stop_worker"));
        let is_called =
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT whaply.stop%'";
        wait_until("the call", PATIENCE, || stop.is_finished() || others.value(is_called, &[]));
        drop(asleep);
        stop.join().expect("the call ends")
    });
    assert!(stopped);
    // The launcher looks at every database whenever one gets the extension.
    wait_for_worker(&cluster.create_database("another"));
    assert_eq!(status(&db), json!({ "status": "stopped", "pid": null, "preloaded": true }));
}

#[test]
fn the_setting_worker_turns_answering_off_and_on_for_the_whole_server() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.poll_interval", "50ms"));
    let scene = Scene::start(&cluster, "off_and_on");
    let pid = wait_for_worker(&scene.db);
    ask_and_wait_for_answer(&scene, "Oi?");

    cluster.set("whaply.worker", "off");
    let asked = scene.shop.customer_says(Person::maria(), "E agora?").delivered();
    wait_until("the reply to be due", PATIENCE, || {
        let due = "SELECT bool_and(due_at < clock_timestamp()) FROM whaply.replies
                    WHERE state = 'waiting'";
        scene.db.value::<Option<bool>>(due, &[]).unwrap_or_default()
    });
    // It wakes, and leaves what is due.
    let sleeps = sleeps_of(pid);
    wait_until("the worker to look a few times", PATIENCE, || sleeps_of(pid) > sleeps + 5);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_queued"));
    assert_eq!(scene.llm.requests().len(), 1);

    cluster.set("whaply.worker", "on");
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
}

#[test]
fn wait_until_idle_tells_whether_the_work_ended_in_time() {
    let scene = Scene::start(shared_cluster(), "idle");
    let wait = |limit: &str| {
        let sql = format!("SELECT whaply.wait_until_idle('{limit}')");
        scene.db.value::<bool>(&sql, &[])
    };
    assert!(wait("60 s"), "nothing is open in a new database");
    let gate = scene.llm.hold();
    scene.shop.customer_says(Person::maria(), "Oi?").delivered();
    gate.wait_until_reached(PATIENCE);
    assert!(!wait("50 ms"), "a reply is being generated");
    gate.release();
    assert!(wait("60 s"), "it was sent");
    assert_eq!(scene.shop.sent().len(), 1);
}

#[test]
fn wait_until_idle_refuses_where_it_could_never_see_the_end() {
    let db = shared_cluster().create_database("refused");
    let refused = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT whaply.wait_until_idle('1 s')",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT whaply.wait_until_idle('1 s')",
        "BEGIN; INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('a', 'http://a');
         SELECT whaply.wait_until_idle('1 s')",
    ];
    for sql in refused {
        let error = db.connect().batch_execute(sql).expect_err("it refuses");
        let error = error.as_db_error().expect("the server's own error");
        assert_eq!(*error.code(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{sql}");
        assert!(error.hint().is_some_and(|hint| hint.contains("READ COMMITTED")), "{error:?}");
    }
}
