//! Commands that PostgreSQL refuses while anybody is connected to the database: whaply makes way for
//! them where it is preloaded, and only for who may run them; elsewhere the error says what to do.

use postgres::error::SqlState;
use support::listener::{
    cluster_with_listener, free_address, silent_tenant, wait_until_closed, wait_until_well,
};
use support::worker::{wait_for_next_worker, wait_for_worker, worker_pid};
use support::{
    Cluster, ClusterOptions, Database, PATIENCE, Person, Scene, SendBehaviour, shared_cluster,
    wait_until,
};

#[track_caller]
fn run(cluster: &Cluster, sql: &str) {
    let done = cluster.connect("postgres").batch_execute(sql);
    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

#[track_caller]
fn fails(cluster: &Cluster, sql: &str, code: &SqlState) {
    let error = cluster.connect("postgres").batch_execute(sql).expect_err(sql);
    assert_eq!(error.code(), Some(code), "{sql}: {error:?}");
}

fn exists(cluster: &Cluster, database: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    cluster.connect("postgres").query_one(sql, &[&database]).expect("a row").get(0)
}

/// The worker of a database that goes by another name than its [`Database`].
#[track_caller]
fn wait_for_worker_in(cluster: &Cluster, database: &str) -> i32 {
    wait_until("a reply worker", PATIENCE, || {
        let sql = "SELECT (whaply.worker_status() ->> 'pid')::int";
        cluster.connect(database).query_one(sql, &[]).expect("a row").get::<_, Option<i32>>(0)
    })
}

#[test]
fn a_database_is_dropped_while_its_worker_is_at_work_plain_and_with_force() {
    let bystander = shared_cluster().create_database("bystander");
    let pid = wait_for_worker(&bystander);
    for force in ["", " WITH (FORCE)"] {
        let scene = Scene::start(shared_cluster(), "dropped");
        scene.shop.next_send(SendBehaviour::Hang);
        let customer = Person::with_phone("5511999990001");
        // Not by the relay, whose sessions would stay.
        let id = support::payload::phone_message_id();
        let content = serde_json::json!({ "conversation": "Oi?" });
        let line = scene.shop.line();
        let now = chrono::Utc::now();
        let data = line.customer_message(&customer, &id, content, "conversation", now);
        let payload = line.envelope("messages.upsert", data, "http://nowhere");
        support::ingest(&mut scene.db.connect(), &payload);
        scene.evolution.wait_for_request("/message/sendText/", PATIENCE);
        run(shared_cluster(), &format!("DROP DATABASE {}{force}", scene.db.name()));
        assert!(!exists(shared_cluster(), scene.db.name()));
    }
    assert_eq!(worker_pid(&bystander), Some(pid), "nobody else was disturbed");
}

/// The launcher is just about to look at it.
#[test]
fn a_database_is_dropped_at_any_moment_of_its_workers_start() {
    for _ in 0..5 {
        let db = shared_cluster().create_database("fresh");
        run(shared_cluster(), &format!("DROP DATABASE {}", db.name()));
    }
    wait_for_worker(&shared_cluster().create_database("next"));
}

#[test]
fn a_renamed_database_keeps_its_worker() {
    let db = shared_cluster().create_database("renamed");
    let pid = wait_for_worker(&db);
    let (before, after) = (db.name(), format!("{}_anew", db.name()));
    run(shared_cluster(), &format!("ALTER DATABASE {before} RENAME TO {after}"));
    let next = wait_for_worker_in(shared_cluster(), &after);
    assert_ne!(next, pid);
    run(shared_cluster(), &format!("ALTER DATABASE {after} RENAME TO {before}"));
    wait_for_next_worker(&db, next);
}

#[test]
fn a_rename_that_is_taken_back_leaves_the_worker_there() {
    let db = shared_cluster().create_database("taken_back");
    let rename = format!("BEGIN; ALTER DATABASE {0} RENAME TO {0}_anew", db.name());
    for is_rolled_back in [true, false] {
        let pid = wait_for_worker(&db);
        let mut session = shared_cluster().connect("postgres");
        session.batch_execute(&rename).expect("nobody is connected");
        // Or the session goes without a word.
        if is_rolled_back {
            session.batch_execute("ROLLBACK").expect("it is there");
        }
        drop(session);
        wait_for_next_worker(&db, pid);
    }
}

/// More often than a worker that dies may come back at once.
#[test]
fn a_database_is_copied_again_and_again_and_both_have_their_workers() {
    let db = shared_cluster().create_database("copied");
    let mut pid = wait_for_worker(&db);
    for number in 1..=4 {
        let copy = format!("{}_copy_{number}", db.name());
        run(shared_cluster(), &format!("CREATE DATABASE {copy} TEMPLATE {}", db.name()));
        pid = wait_for_next_worker(&db, pid);
        wait_for_worker_in(shared_cluster(), &copy);
        run(shared_cluster(), &format!("DROP DATABASE {copy} WITH (FORCE)"));
    }
}

#[test]
fn a_database_moves_to_another_tablespace_and_its_worker_comes_back() {
    let db = shared_cluster().create_database("moved");
    let pid = wait_for_worker(&db);
    let place = shared_cluster().directory().join("space").display().to_string();
    // What is copied is read, or the pipe may break.
    run(shared_cluster(), &format!("COPY (SELECT) TO PROGRAM 'cat && mkdir {place}'"));
    run(shared_cluster(), &format!("CREATE TABLESPACE space LOCATION '{place}'"));
    run(shared_cluster(), &format!("ALTER DATABASE {} SET TABLESPACE space", db.name()));
    wait_for_next_worker(&db, pid);
}

#[test]
fn a_command_that_fails_leaves_the_worker_there_and_one_that_was_stopped_stays_away() {
    let db = shared_cluster().create_database("failing");
    let commands = [
        format!("ALTER DATABASE {} RENAME TO postgres", db.name()),
        format!("CREATE DATABASE postgres TEMPLATE {}", db.name()),
    ];
    for command in &commands {
        let pid = wait_for_worker(&db);
        fails(shared_cluster(), command, &SqlState::DUPLICATE_DATABASE);
        wait_for_next_worker(&db, pid);
    }
    let _other = db.connect();
    let pid = wait_for_worker(&db);
    fails(shared_cluster(), &format!("DROP DATABASE {}", db.name()), &SqlState::OBJECT_IN_USE);
    wait_for_next_worker(&db, pid);

    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    commands.iter().for_each(|sql| fails(shared_cluster(), sql, &SqlState::DUPLICATE_DATABASE));
    wait_for_worker(&shared_cluster().create_database("other"));
    let status: String = db.value("SELECT whaply.worker_status() ->> 'status'", &[]);
    assert_eq!(status, "stopped");
}

fn role(db: &Database, name: &str) -> String {
    let name = format!("{name}_{}", db.name());
    db.execute(&format!("CREATE ROLE {name} LOGIN CREATEDB"));
    name
}

/// Runs a command as somebody who is connected to another database.
fn run_as(role: &str, elsewhere: &Database, sql: &str) -> Result<(), postgres::Error> {
    elsewhere.connect_as(role).batch_execute(sql)
}

#[test]
fn who_may_not_drop_a_database_disturbs_nobody_in_it() {
    let db = shared_cluster().create_database("foreign");
    let elsewhere = shared_cluster().create_empty_database("elsewhere");
    let pid = wait_for_worker(&db);
    let stranger = role(&db, "stranger");
    for command in
        ["DROP DATABASE {}", "DROP DATABASE {} WITH (FORCE)", "CREATE DATABASE x TEMPLATE {}"]
    {
        let command = command.replace("{}", db.name());
        let error = run_as(&stranger, &elsewhere, &command).expect_err("it is not theirs");
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{error:?}");
    }
    assert_eq!(worker_pid(&db), Some(pid));
    db.execute(&format!("DROP ROLE {stranger}"));
}

/// The worker is connected as a superuser, whom nobody else may terminate.
#[test]
fn an_owner_who_is_no_superuser_drops_his_database_with_force() {
    let db = shared_cluster().create_database("owned");
    let elsewhere = shared_cluster().create_empty_database("elsewhere");
    wait_for_worker(&db);
    let owner = role(&elsewhere, "owner");
    db.execute(&format!("ALTER DATABASE {} OWNER TO {owner}", db.name()));
    let drop = format!("DROP DATABASE {} WITH (FORCE)", db.name());
    run_as(&owner, &elsewhere, &drop).expect("it is theirs");
    assert!(!exists(shared_cluster(), db.name()));
}

#[test]
fn the_listener_makes_way_too_and_comes_back() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("served");
    silent_tenant(&db, "loja");
    for number in 1..=2 {
        wait_until_well(address);
        let name = format!("{}_{number}", db.name());
        run(&cluster, &format!("ALTER DATABASE {} RENAME TO {name}", db.name()));
        wait_until_well(address);
        run(&cluster, &format!("ALTER DATABASE {name} RENAME TO {}", db.name()));
    }
    wait_until_well(address);
    run(&cluster, &format!("DROP DATABASE {}", db.name()));
    wait_until_closed(address);
}

/// Of two databases with the extension none would be served, if nothing had been served before.
#[test]
fn a_copy_of_the_database_that_is_served_does_not_close_its_door() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("original");
    wait_until_well(address);
    let served =
        "SELECT datname::text FROM pg_stat_activity WHERE backend_type = 'whaply listener'";
    for number in 1..=2 {
        let copy = format!("{}_copy_{number}", db.name());
        run(&cluster, &format!("CREATE DATABASE {copy} TEMPLATE {}", db.name()));
        wait_for_worker_in(&cluster, &copy);
        wait_until_well(address);
        assert_eq!(db.column::<String>(served, &[]), [db.name()]);
    }
    wait_until("the log to warn", PATIENCE, || {
        let log = cluster.log();
        if log.contains("several databases have the extension now") { Ok(()) } else { Err(log) }
    });
    let log = cluster.log();
    assert!(!log.contains("nothing listens at whaply.listen: several databases"), "{log}");
}

#[test]
fn without_preload_the_error_of_a_session_with_the_library_names_stop_worker() {
    let cluster = Cluster::start(ClusterOptions::without_preload().in_a_hurry());
    let db = cluster.create_database("by_hand");
    wait_for_worker(&db);
    let commands = [
        format!("DROP DATABASE {}", db.name()),
        format!("ALTER DATABASE {} RENAME TO other", db.name()),
        format!("CREATE DATABASE other TEMPLATE {}", db.name()),
    ];
    let mut session = cluster.connect("postgres");
    session.batch_execute("LOAD 'whaply'").expect("a superuser may");
    for command in &commands {
        let error = session.batch_execute(command).expect_err("the worker is connected");
        let error = error.as_db_error().expect("the server's own error");
        assert_eq!(*error.code(), SqlState::OBJECT_IN_USE, "{error:?}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("SELECT whaply.stop_worker()"), "{hint}");
    }
    // A session that has never heard of whaply gets the same error from PostgreSQL, after its 5 s.
    fails(&cluster, &commands[0], &SqlState::OBJECT_IN_USE);

    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    session.batch_execute(&commands[2]).expect("nobody is connected");
    assert!(db.value::<bool>("SELECT whaply.start_worker()", &[]));
    session.batch_execute(&format!("{} WITH (FORCE)", commands[0])).expect("it ends the worker");
}
