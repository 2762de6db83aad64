//! Copies of a database that nobody meant to speak: made from it as a template, fed from it by logical
//! replication, left by pg_upgrade. Each takes what comes and stays silent until it is told that it is the
//! one. A copy of the files cannot be told apart: it is started as docs/backup.md says. Restored dumps are
//! in copies; a promoted standby, which is no copy, in standby.

use std::time::Duration;

use support::copies::{assert_silent, assert_speaks_once_adopted, leave_questions_open};
use support::every_row::{assert_same_contents, contents};
use support::listener::free_address;
use support::worker::{sleeps_of, wait_for_worker};
use support::{Cluster, ClusterOptions, Database, Scene, StopMode, shared_cluster, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_database_that_was_made_from_it_as_a_template_is_silent_until_it_is_adopted() {
    let cluster = shared_cluster();
    let scene = Scene::start(cluster, "template");
    leave_questions_open(&scene);
    let copy = format!("{}_copy", scene.db.name());
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    wait_until("the template to be free", LIMIT, || {
        let mut client = cluster.connect("postgres");
        // The webhook's front door keeps sessions open.
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        client.execute(ended, &[&scene.db.name()]).expect("a superuser may");
        let made = format!("CREATE DATABASE {copy} TEMPLATE {}", scene.db.name());
        client.batch_execute(&made).map_err(|error| format!("{error:?}"))
    });
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    let copy = cluster.existing_database(&copy);
    let _relay = assert_silent(&scene, &copy);
    assert_speaks_once_adopted(&scene, &copy);
}

/// Behind what the publisher has and is yet to send.
const SEQUENCES_MOVED_ON: &str = "
    SELECT setval(member, 1000) FROM pg_extension x, unnest(x.extconfig) AS member
      JOIN pg_class c ON c.oid = member AND c.relkind = 'S' WHERE x.extname = 'whaply'";

#[test]
fn a_logical_subscriber_has_every_row_and_is_silent_until_it_is_adopted() {
    let options =
        || ClusterOptions::default().in_a_hurry().with("whaply.maintenance_interval", "0");
    let publisher = Cluster::start(options().with("wal_level", "logical"));
    let scene = Scene::start(&publisher, "publisher");
    leave_questions_open(&scene);
    scene.db.execute("CREATE PUBLICATION everything FOR ALL TABLES");

    let elsewhere = Cluster::start(options());
    let copy = elsewhere.create_database("subscriber");
    copy.execute(&format!(
        "CREATE SUBSCRIPTION of_everything
             CONNECTION 'host=127.0.0.1 port={} user=postgres dbname={}' PUBLICATION everything",
        publisher.port(),
        scene.db.name()
    ));
    let left = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
    wait_until("all tables to be copied", LIMIT, || copy.value::<i64>(left, &[]) == 0);
    // Rows that come, change and go while it follows.
    scene.db.execute(
        "SELECT whaply.grant_access('pg_monitor', 'operator'), whaply.grant_access('pg_monitor', 'admin', 'loja-demo');
         SELECT whaply.revoke_access('pg_monitor', 'operator');
         SELECT whaply.pause_session('loja-demo', '5511999990001', 'by hand', NULL);
         DELETE FROM whaply.messages WHERE sender = 'assistant'",
    );
    let tables = |db: &Database| -> Vec<_> {
        contents(db).into_iter().filter(|(name, _)| !name.ends_with("_seq")).collect()
    };
    let original = tables(&scene.db);
    wait_until("the subscriber to have every row", LIMIT, || tables(&copy) == original);
    assert_same_contents(&tables(&copy), &original);

    // Sequences are not replicated.
    copy.execute(SEQUENCES_MOVED_ON);
    let _relay = assert_silent(&scene, &copy);
    copy.execute("DROP SUBSCRIPTION of_everything");
    assert_speaks_once_adopted(&scene, &copy);
}

/// The libraries of both servers are of the same version of whaply.
#[test]
fn what_pg_upgrade_made_of_an_earlier_server_has_every_row_and_is_silent_until_it_is_adopted() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.maintenance_interval", "0");
    let Some(old) = Cluster::start_old(&options) else { return };
    let scene = Scene::start(&old, "pg_upgrade");
    leave_questions_open(&scene);
    scene.db.execute("SELECT whaply.grant_access('pg_monitor', 'operator', 'loja-demo')");
    scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    let original = contents(&scene.db);
    old.stop(StopMode::Fast);

    let new = Cluster::upgraded_from(&old, &options);
    let copy = new.existing_database(scene.db.name());
    assert_same_contents(&contents(&copy), &original);
    let policies = "SELECT count(*) FROM pg_policy WHERE polname = 'seen'";
    assert!(copy.value::<i64>(policies, &[]) > 5);
    let _relay = assert_silent(&scene, &copy);
    assert_speaks_once_adopted(&scene, &copy);
}

/// What docs/backup.md does to a copy of the files before it starts.
fn preparation() -> &'static str {
    const BACKUP: &str = include_str!("../docs/backup.md");
    let mut blocks = BACKUP.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains("whaply.worker = off")).expect("a block of commands")
}

/// By its identity it is the original: nothing but the settings tells them apart.
#[test]
fn a_copy_of_the_files_that_is_started_as_the_docs_say_answers_nobody_and_listens_nowhere() {
    let options = || {
        let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "100ms");
        options.with("whaply.maintenance_interval", "0")
    };
    let original = Cluster::start(options());
    let scene = Scene::start(&original, "files");
    leave_questions_open(&scene);
    // As the README sets them: the copy has these too.
    original.set("whaply.listen", &free_address().to_string());
    original.set("whaply.worker", "on");

    let copied = Cluster::physical_copy_of(&original, &options(), preparation());
    let copy = copied.existing_database(scene.db.name());
    assert_eq!(copy.value::<String>("SHOW whaply.listen", &[]), "");
    let same = "SELECT whaply.home_id()";
    assert_eq!(copy.value::<String>(same, &[]), scene.db.value::<String>(same, &[]));
    let pid = wait_for_worker(&copy);
    let calls = (scene.llm.requests().len(), scene.shop.sent().len());
    copy.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    let sleeps = sleeps_of(pid);
    wait_until("the worker to look a few times", LIMIT, || sleeps_of(pid) > sleeps + 5);
    assert_eq!((scene.llm.requests().len(), scene.shop.sent().len()), calls);
    let off = "SELECT count(*) FROM whaply.health WHERE problem LIKE '%whaply.worker is off%'";
    assert_eq!(copy.value::<i64>(off, &[]), 1);

    // The worker may run in it for tenants of its own.
    copy.execute("UPDATE whaply.tenants SET home = NULL");
    copied.set("whaply.worker", "on");
    let _relay = assert_silent(&scene, &copy);
}
