//! What view `health` tells of the processes and tables of a server, each state really brought about: why
//! nothing listens, a server without processes left, dead rows that stay. What it tells of tenants and
//! chats is in the SQL tests `health` and `findings`.

use std::net::TcpListener;

use support::listener::{cluster_with_listener, free_address, wait_until_well};
use support::worker::wait_for_worker;
use support::{Cluster, ClusterOptions, Database, PATIENCE, shared_cluster, wait_until};

/// Launcher of logical replication, launcher of whaply, and one more.
const PROCESSES_FOR_ONE_WORKER: &str = "3";

/// `severity: problem` of each finding about a subject.
fn findings(db: &Database, subject: &str) -> Vec<String> {
    let sql = "SELECT severity || ': ' || problem FROM whaply.health WHERE subject = $1";
    db.column(sql, &[&subject])
}

#[track_caller]
fn wait_for_finding(db: &Database, subject: &str, severity: &str, words: &str) {
    wait_until(words, PATIENCE, || {
        let found = findings(db, subject);
        let is_found = |finding: &String| finding.starts_with(severity) && finding.contains(words);
        if found.iter().any(is_found) { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[track_caller]
fn wait_until_nothing_is_found(db: &Database, subject: &str) {
    wait_until("no finding", PATIENCE, || match findings(db, subject) {
        found if found.is_empty() => Ok(()),
        found => Err(format!("{found:?}")),
    });
}

/// Sets what a person would set: what the finding itself says, up to the reload.
#[track_caller]
fn do_what_it_says(db: &Database, subject: &str) {
    let sql = "SELECT substring(what_to_do FROM '^ALTER SYSTEM SET [^;,]+') FROM whaply.health WHERE subject = $1";
    db.execute(&db.value::<String>(sql, &[&subject]));
    db.execute("SELECT pg_reload_conf()");
}

#[test]
fn health_tells_why_nothing_listens_until_it_does() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("listening");
    wait_until_well(address);
    wait_until_nothing_is_found(&db, "listener");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_address = taken.local_addr().expect("a bound listener has an address").to_string();
    cluster.set("whaply.listen", &taken_address);
    wait_for_finding(&db, "listener", "critical", "in use");
    cluster.set("whaply.listen", "no-such-host.invalid:1");
    wait_for_finding(&db, "listener", "critical", "the address cannot be used");
    cluster.set("whaply.listen", &address.to_string());
    wait_until_well(address);
    wait_until_nothing_is_found(&db, "listener");

    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    wait_for_finding(&db, "listener", "warning", "stop_worker() was called");
    assert!(db.value::<bool>("SELECT whaply.start_worker()", &[]));
    wait_until_nothing_is_found(&db, "listener");

    cluster.set("whaply.database", "nowhere");
    wait_for_finding(&db, "listener", "critical", "the database that whaply.database names");
    cluster.set("whaply.listen", "");
    wait_until_nothing_is_found(&db, "listener");
}

#[test]
fn with_several_databases_what_health_says_to_do_makes_it_listen() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let databases = ["first", "second"].map(|prefix| cluster.create_database(prefix));
    for db in &databases {
        wait_for_worker(db);
    }
    // The one that listened for the first of them would go on.
    cluster.restart();
    wait_for_finding(&databases[0], "listener", "critical", "several databases");
    wait_for_finding(&databases[1], "listener", "critical", "several databases");
    do_what_it_says(&databases[1], "listener");
    wait_until_well(address);
    databases.iter().for_each(|db| wait_until_nothing_is_found(db, "listener"));
}

#[test]
fn without_preload_health_tells_that_nothing_can_listen() {
    let options = ClusterOptions::without_preload().with("whaply.listen", "127.0.0.1:1");
    let cluster = Cluster::start(options);
    let db = cluster.create_database("not_preloaded");
    wait_for_finding(&db, "listener", "critical", "shared_preload_libraries");
}

#[test]
fn databases_for_which_the_server_has_no_process_stand_in_health() {
    let options = ClusterOptions::default()
        .with("max_worker_processes", PROCESSES_FOR_ONE_WORKER)
        .with("max_parallel_workers", "0")
        .with("whaply.listen", &free_address().to_string());
    let cluster = Cluster::start(options);
    let served = cluster.create_database("served");
    wait_for_worker(&served);
    let other = cluster.create_database("other");
    let words = format!("no process left for a reply worker of database {}", other.name());
    wait_for_finding(&served, "worker", "warning", &words);
    wait_for_finding(&other, "worker", "critical", &words);
    wait_for_finding(&other, "worker", "critical", "no reply worker runs");
    let of_the_served = findings(&served, "worker");
    assert!(of_the_served.iter().all(|found| found.starts_with("warning")), "{of_the_served:?}");

    // The place that becomes free is taken, by whichever is first.
    served.execute("DROP EXTENSION whaply");
    wait_for_worker(&other);
    wait_until("the finding to go", PATIENCE, || {
        !findings(&other, "worker").concat().contains(&words)
    });
}

/// Rows of pg_database whose files nobody has made: to the launcher databases like any other.
const MANY_DATABASES: &str = "
    INSERT INTO pg_database
    SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 1000000 + n, 'datname', 'ghost_' || n))).*
      FROM pg_database d, generate_series(1, 300) AS n WHERE d.datname = 'postgres'";

#[test]
fn more_databases_than_whaply_can_look_after_stand_in_health_and_those_it_has_are_served() {
    let cluster = Cluster::start(ClusterOptions::default().with("autovacuum", "off"));
    let db = cluster.create_database("first");
    let pid = wait_for_worker(&db);
    db.execute(MANY_DATABASES);
    db.execute("SELECT pg_reload_conf()");
    wait_for_finding(&db, "worker", "warning", " databases are beyond what whaply can look after");
    assert_eq!(wait_for_worker(&db), pid, "it was never restarted");
    db.execute("DELETE FROM pg_database WHERE datname LIKE 'ghost%'");
    // Once that is committed: whoever looks earlier still sees them, and looks again much later.
    db.execute("SELECT pg_reload_conf()");
    wait_until_nothing_is_found(&db, "worker");
    wait_for_worker(&cluster.create_database("next"));
}

#[test]
fn a_listener_for_which_the_server_has_no_process_stands_in_health() {
    let address = free_address();
    let options = ClusterOptions::default().with("max_worker_processes", PROCESSES_FOR_ONE_WORKER);
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("no_process");
    wait_for_worker(&db);
    wait_for_finding(&db, "listener", "critical", "the server has no process left");
}

#[test]
fn dead_rows_that_nobody_removes_stand_in_health_until_they_are_gone() {
    let db = shared_cluster().create_database("bloated");
    db.execute(
        "ALTER TABLE whaply.chat_aliases SET (autovacuum_enabled = off);
         INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
         INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id)
         SELECT 1, n, n FROM generate_series(1, 10500) AS n;
         DELETE FROM whaply.chat_aliases",
    );
    wait_for_finding(&db, "bloat", "warning", "10500 dead rows lie in whaply.chat_aliases");
    let last_words =
        "SELECT substring(what_to_do FROM 'VACUUM.*$') FROM whaply.health WHERE subject = 'bloat'";
    db.execute(&db.value::<String>(last_words, &[]));
    wait_until_nothing_is_found(&db, "bloat");
}
