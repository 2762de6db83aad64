//! A server with habits of its own: settings meant for people's sessions, limits that change, tables that
//! are emptied or replicated, a clock that jumps. Commands on whole databases are in `database_commands.rs`,
//! neighbours who lock and alter tables in `worker_neighbours.rs`.

use postgres::error::SqlState;
use support::listener::{cluster_with_listener, free_address, wait_until_well};
use support::scene::webhook_of;
use support::worker::{wait_for_worker, wait_until_without_worker, worker_pid};
use support::{
    Cluster, ClusterOptions, Database, LlmBehaviour, PATIENCE, Person, Scene, SceneOptions,
    shared_cluster, wait_until,
};

/// Each of them for the whole server, and so small that nobody who obeyed them could do anything.
#[test]
fn timeouts_and_read_only_transactions_for_everybody_stop_neither_worker_nor_listener() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let scene = Scene::start(&cluster, "hostile");
    let webhook = webhook_of(&scene.db, scene.tenant_id, &format!("http://{address}/webhook"));
    scene.shop.set_webhook(webhook);
    wait_until_well(address);
    let knows = "SELECT count(*) = 1 FROM pg_settings WHERE name = $1";
    for (setting, value) in [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("idle_in_transaction_session_timeout", "1ms"),
        ("lock_timeout", "1ms"),
        // Since PostgreSQL 17.
        ("transaction_timeout", "1ms"),
        // The last, since it is hardest on the test itself.
        ("statement_timeout", "1ms"),
    ] {
        if scene.db.value(knows, &[&setting]) {
            // Without a reload, which would reach the next of these commands.
            scene.db.execute(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
        }
    }
    cluster.restart();
    wait_until_well(address);
    for (number, question) in ["Abrem aos domingos?", "E aos feriados?"].iter().enumerate() {
        scene.shop.customer_says(Person::maria(), question).delivered();
        let sent = scene.shop.wait_for_sent(number + 1, PATIENCE);
        assert!(sent.last().is_some_and(|sent| sent.text.contains(question)), "{sent:?}");
    }
    let log = cluster.log();
    assert!(!log.contains("could not finish a round"), "{log}");
}

#[test]
fn a_limit_that_a_reload_raises_holds_at_once() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.max_in_flight", "1"));
    let scene = Scene::start(&cluster, "reloaded");
    let pid = wait_for_worker(&scene.db);
    scene.llm.decide(|_| LlmBehaviour::Hang);
    for customer in ["5511999990001", "5511999990002"] {
        scene.shop.customer_says(customer, "Tem alguém?").delivered();
    }
    scene.llm.wait_for_requests(1, PATIENCE);
    let due = "SELECT count(*) = 1 FROM whaply.replies WHERE state = 'waiting' AND due_at < now()";
    wait_until("the other to be due", PATIENCE, || scene.db.value::<bool>(due, &[]));
    assert_eq!(scene.llm.requests().len(), 1);
    cluster.set("whaply.max_in_flight", "2");
    scene.llm.wait_for_requests(2, PATIENCE);
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
}

#[test]
fn tables_that_are_emptied_during_a_call_leave_an_answer_to_nobody_and_a_worker_that_goes_on() {
    let scene = Scene::start(shared_cluster(), "emptied");
    let pid = wait_for_worker(&scene.db);
    let gate = scene.ask_and_hold("Sou a pergunta antiga");
    scene.db.execute(
        "SET statement_timeout = '30s';
         TRUNCATE whaply.sessions, whaply.messages, whaply.processed_events, whaply.chat_aliases,
                  whaply.replies, whaply.deliveries",
    );
    gate.release();
    scene.shop.customer_says(Person::maria(), "Sou a pergunta nova").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: Sou a pergunta nova"]);
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
}

#[test]
fn somebody_elses_schema_named_whaply_is_left_alone() {
    const TABLES: [&str; 9] = [
        "tenants",
        "chat_aliases",
        "sessions",
        "messages",
        "processed_events",
        "replies",
        "deliveries",
        "connect_requests",
        "refused_webhooks",
    ];
    let db = shared_cluster().create_empty_database("namesake");
    db.execute("CREATE SCHEMA whaply");
    for table in TABLES {
        db.execute(&format!("CREATE TABLE whaply.{table} AS SELECT 'theirs' AS id"));
    }
    // The launcher looks at every database whenever one gets the extension.
    wait_for_worker(&shared_cluster().create_database("other"));
    wait_until_without_worker(&db);
    let error = db.connect().batch_execute("CREATE EXTENSION whaply").expect_err("it is taken");
    assert_eq!(error.code(), Some(&SqlState::DUPLICATE_TABLE), "{error:?}");
    for table in TABLES {
        let sql = format!("SELECT id FROM whaply.{table}");
        assert_eq!(db.column::<String>(&sql, &[]), ["theirs"]);
        db.execute(&format!("DROP TABLE whaply.{table}"));
    }
    db.execute("CREATE EXTENSION whaply");
    wait_for_worker(&db);
}

#[test]
fn a_database_in_another_encoding_refuses_the_extension_and_has_no_worker() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let empty = shared_cluster().create_empty_database("encoded");
        let mut elsewhere = shared_cluster().connect("postgres");
        for command in ["DROP DATABASE {}", "CREATE DATABASE {} TEMPLATE template0 LOCALE 'C'"] {
            let mut command = command.replace("{}", empty.name());
            if command.starts_with("CREATE") {
                command += &format!(" ENCODING '{encoding}'");
            }
            elsewhere.batch_execute(&command).expect("nobody is connected");
        }
        let error = empty.connect().batch_execute("CREATE EXTENSION whaply").expect_err("refused");
        let error = error.as_db_error().expect("the server's own error");
        assert_eq!(*error.code(), SqlState::FEATURE_NOT_SUPPORTED, "{error:?}");
        assert!(
            error.message().contains("UTF8") && error.message().contains(encoding),
            "{error:?}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("ENCODING")), "{error:?}");
        wait_for_worker(&shared_cluster().create_database("beside"));
        wait_until_without_worker(&empty);
    }
}

/// To all that is written down, a clock that goes ahead is the same as times that lie further back.
/// (What is not written down waits by a clock that nobody can set.)
#[test]
fn a_clock_that_jumps_ahead_breaks_off_no_call_and_makes_due_what_is_due() {
    let options = ClusterOptions::default().in_a_hurry();
    let options = options.with("whaply.maintenance_interval", "1s");
    let cluster = Cluster::start(options.with("whaply.poll_interval", "100ms"));
    let scene = Scene::start(&cluster, "jumped");
    let pid = wait_for_worker(&scene.db);
    let gate = scene.ask_and_hold("Qual o preço?");
    scene.set_tenant("debounce = '10 min', debounce_max = '10 min'");
    scene.shop.customer_says("5511999990002", "E o prazo?").delivered();
    let jump = "UPDATE whaply.replies SET created_at = created_at - $1::text::interval,
                    due_at = due_at - $1::text::interval, claimed_at = claimed_at - $1::text::interval,
                    lease_until = lease_until - $1::text::interval";
    scene.db.rows(jump, &[&"20 minutes"]);
    scene.shop.wait_for_sent(1, PATIENCE);
    gate.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    let answers = ["Answer 2 to: E o prazo?", "Answer 1 to: Qual o preço?"];
    assert_eq!(scene.shop.sent_texts(), answers);
    assert_eq!(worker_pid(&scene.db), Some(pid));
}

/// A subscriber that takes every table, as somebody would who reports from it.
fn subscribe(source: &Database, copy: &Database, port: u16) {
    source.execute("CREATE PUBLICATION everything FOR ALL TABLES");
    source.execute("SELECT pg_create_logical_replication_slot('everything', 'pgoutput')");
    copy.execute(&format!(
        "CREATE SUBSCRIPTION everything
         CONNECTION 'host=127.0.0.1 port={port} user=postgres dbname={}'
         PUBLICATION everything
         WITH (create_slot = false, slot_name = everything)",
        source.name()
    ));
}

/// An update of a table that has no identity would fail, the worker's too.
#[test]
fn a_publication_of_all_tables_breaks_nothing_and_the_subscriber_answers_nobody() {
    let options = ClusterOptions::default().in_a_hurry().with("wal_level", "logical");
    let cluster = Cluster::start(options);
    let scene = Scene::start_with(&cluster, "published", SceneOptions::default());
    let without_identity = "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f'
           AND NOT EXISTS (
             SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(scene.db.column::<String>(without_identity, &[]), [""; 0]);
    let copy = cluster.create_database("subscribed");
    subscribe(&scene.db, &copy, cluster.port());
    let asked = scene.shop.customer_says(Person::maria(), "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    wait_until("the conversation at the subscriber", PATIENCE, || {
        let sql =
            "SELECT count(*) = 1 FROM whaply.processed_events WHERE action_taken = 'ai_replied'";
        copy.value::<bool>(sql, &[])
    });
    // What is open there is not the copy's to answer.
    let gate = scene.ask_and_hold("E aos feriados?");
    wait_until("the question at the subscriber", PATIENCE, || {
        copy.value::<bool>("SELECT count(*) = 3 FROM whaply.messages", &[])
    });
    assert!(copy.value::<bool>("SELECT whaply.wait_until_idle('60 s')", &[]));
    gate.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    assert_eq!((scene.shop.sent().len(), scene.llm.requests().len()), (2, 2));
    scene.db.execute(&format!(
        "CREATE ROLE reader_{0};
         SELECT whaply.grant_access('reader_{0}', 'operator');
         SELECT whaply.revoke_access('reader_{0}', 'operator');
         DROP ROLE reader_{0};
         DELETE FROM whaply.tenants WHERE id = {0}",
        scene.tenant_id
    ));
    wait_until("the subscriber to be empty", PATIENCE, || {
        copy.value::<bool>("SELECT count(*) = 0 FROM whaply.tenants", &[])
    });
}
