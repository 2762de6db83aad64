//! How the listener comes and goes: with settings, databases, the extension and the server; and that
//! what it answered with 200 is never lost on the way.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::listener::{
    Answer, cluster_with_listener, connect, free_address, message, read_answer, request, send,
    silent_tenant, try_request, wait_until_closed, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::{Cluster, ClusterOptions, Database, PATIENCE, StopMode, wait_until, writers};

fn post(address: SocketAddr, secret: &str, id: &str) -> Answer {
    let body = message("loja", id, "Oi").to_string();
    request(address, "POST", "/webhook", &[(SECRET_HEADER, secret)], body.as_bytes())
}

/// Ends the listener; returns when the next one is there.
fn replace_listener(db: &Database) {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'whaply listener'";
    let former: i32 = db.value(sql, &[]);
    assert!(db.value::<bool>("SELECT pg_terminate_backend($1)", &[&former]));
    wait_until("the next listener", PATIENCE, || {
        db.column::<i32>(sql, &[]).into_iter().any(|pid| pid != former)
    });
}

fn stored(db: &Database) -> HashSet<String> {
    db.column("SELECT message_id::text FROM whaply.messages", &[]).into_iter().collect()
}

/// Clients that post without a pause, each on one connection; what `meanwhile` returns when it has
/// seen enough, and the ids that were answered with 200.
fn under_load(
    address: SocketAddr,
    secret: &str,
    meanwhile: impl FnOnce(&dyn Fn() -> usize),
) -> HashSet<String> {
    let (taken, is_over) = (Mutex::new(HashSet::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        for client in 0..16 {
            let (taken, is_over) = (&taken, &is_over);
            scope.spawn(move || {
                let Ok(mut connection) = connect(address) else { return };
                for number in 0.. {
                    let id = format!("LOAD-{client}-{number}");
                    let body = message("loja", &id, "Oi").to_string();
                    let headers = [(SECRET_HEADER, secret)];
                    let sent = send(&mut connection, "POST", "/webhook", &headers, body.as_bytes());
                    let answer = sent.and_then(|()| read_answer(&mut connection));
                    match answer {
                        Ok(answer) if answer.status == 200 => {
                            taken.lock().expect("no panic").insert(id);
                        }
                        Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                        Err(_) => return,
                    }
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        meanwhile(&|| taken.lock().expect("no panic").len());
        is_over.store(true, Ordering::Relaxed);
    });
    taken.into_inner().expect("no panic")
}

#[test]
fn a_shutdown_under_load_loses_nothing_that_was_answered() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("shutdown");
    writers::watch(&db);
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    let taken = under_load(address, &secret, |taken| {
        wait_until("some webhooks", PATIENCE, || taken() > 300);
        cluster.stop(StopMode::Fast);
    });
    assert!(!cluster.log().contains("PANIC"), "{}", cluster.log());
    cluster.restart();
    let lost: Vec<_> = taken.difference(&stored(&db)).cloned().collect();
    assert!(lost.is_empty(), "answered with 200 and lost: {lost:?}");
    // It comes back with the server.
    wait_until_well(address);
    assert_eq!(post(address, &secret, "AFTER").status, 200);
    assert_eq!(writers::roles_of_processes(&db), ["whaply_worker"]);
}

/// Nobody else brings the commits to disk in time.
#[test]
fn a_crash_under_load_loses_nothing_that_was_answered_even_without_synchronous_commit() {
    let address = free_address();
    let options = ClusterOptions::default().with("wal_writer_delay", "10s");
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("crash");
    let secret = silent_tenant(&db, "loja");
    db.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", db.name()));
    wait_until_well(address);
    // The listener that is there has read its settings already.
    replace_listener(&db);
    wait_until_well(address);
    let taken = under_load(address, &secret, |taken| {
        wait_until("some webhooks", PATIENCE, || taken() > 300);
        cluster.kill_postmaster();
    });
    cluster.restart();
    let lost: Vec<_> = taken.difference(&stored(&db)).cloned().collect();
    assert!(lost.is_empty(), "answered with 200 and lost: {lost:?}");
}

/// PostgreSQL ends the wait for a standby with the process, and lets the commit go as if it were well.
#[test]
fn a_shutdown_during_the_wait_for_a_standby_answers_no_200() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("waiting");
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    assert_eq!(post(address, &secret, "BEFORE").status, 200);
    cluster.set("synchronous_standby_names", "nobody");
    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let body = message("loja", "WAITING", "Oi").to_string();
            let headers = [(SECRET_HEADER, secret.as_str())];
            try_request(address, "POST", "/webhook", &headers, body.as_bytes())
        });
        wait_until("the commit to wait", PATIENCE, || {
            let sql = "SELECT count(*) = 1 FROM pg_stat_activity
                        WHERE backend_type = 'whaply listener' AND wait_event = 'SyncRep'";
            db.value::<bool>(sql, &[])
        });
        cluster.stop(StopMode::Fast);
        waiting.join().expect("no panic")
    });
    assert!(!answer.as_ref().is_ok_and(|answer| answer.status == 200), "{answer:?}");
}

#[test]
fn a_reload_moves_closes_and_opens_the_listener() {
    let (first, second) = (free_address(), free_address());
    let cluster = cluster_with_listener(first, ClusterOptions::default());
    let _db = cluster.create_database("moved");
    wait_until_well(first);
    cluster.set("whaply.listen", &second.to_string());
    wait_until_well(second);
    wait_until_closed(first);
    cluster.set("whaply.listen", "");
    wait_until_closed(second);
    cluster.set("whaply.listen", &first.to_string());
    wait_until_well(first);
    let log = cluster.log();
    assert_eq!(log.matches("whaply: listening on").count(), 3, "{log}");
    assert!(log.contains("stopped listening: whaply.listen is empty"), "{log}");
}

#[test]
fn the_listener_comes_and_goes_with_the_extension_and_with_its_database() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("dropped");
    wait_until_well(address);
    db.execute("DROP EXTENSION whaply");
    wait_until_closed(address);
    db.execute("CREATE EXTENSION whaply");
    wait_until_well(address);
    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]), "both are gone");
    wait_until_closed(address);
    assert!(db.value::<bool>("SELECT whaply.start_worker()", &[]));
    wait_until_well(address);
    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let dropped =
        cluster.connect("postgres").batch_execute(&format!("DROP DATABASE {}", db.name()));
    dropped.expect("nobody is connected any more");
    let next = cluster.create_database("next");
    wait_until_well(address);
    let force = format!("DROP DATABASE {} WITH (FORCE)", next.name());
    cluster.connect("postgres").batch_execute(&force).expect("the listener leaves");
    wait_until_closed(address);
}

#[test]
fn of_several_databases_the_one_that_the_setting_names_is_served() {
    let address = free_address();
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let first = cluster.create_database("first");
    let second = cluster.create_database("second");
    for db in [&first, &second] {
        support::worker::wait_for_worker(db);
    }
    cluster.set("whaply.listen", &address.to_string());
    wait_until("the log to name the setting", PATIENCE, || {
        cluster
            .log()
            .contains("several databases have the extension, and whaply.database names none")
    });
    assert!(try_request(address, "GET", "/healthz", &[], b"").is_err());
    for db in [&first, &second, &first] {
        let secret =
            match db.column::<String>("SELECT webhook_secret FROM whaply.tenants", &[]).pop() {
                Some(secret) => secret,
                None => silent_tenant(db, "loja"),
            };
        cluster.set("whaply.database", db.name());
        wait_until("the database to be served", PATIENCE, || {
            let body = message("loja", "NAMED-1", "Oi").to_string();
            let headers = [(SECRET_HEADER, secret.as_str())];
            let answer = try_request(address, "POST", "/webhook", &headers, body.as_bytes());
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }
    cluster.set("whaply.database", "nowhere");
    wait_until_closed(address);
    wait_until("the log to tell", PATIENCE, || {
        cluster.log().contains("\"nowhere\" that whaply.database names")
    });
}

#[test]
fn while_the_tables_are_locked_or_of_another_version_nothing_is_lost() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("locked");
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    let mut holder = db.connect();
    holder
        .batch_execute("BEGIN; LOCK TABLE whaply.messages IN ACCESS EXCLUSIVE MODE")
        .expect("nobody holds it");
    let answer = post(address, &secret, "LOCKED-1");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    holder.batch_execute("COMMIT").expect("the session is there");
    wait_until("it to be taken", PATIENCE, || post(address, &secret, "LOCKED-1").status == 200);

    db.execute("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'whaply'");
    replace_listener(&db);
    wait_until("an answer of the next listener", PATIENCE, || {
        match try_request(address, "GET", "/healthz", &[], b"") {
            Ok(answer) if answer.status == 503 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let answer = post(address, &secret, "OUTDATED-1");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("0.1.0")));
    let current = "SELECT default_version FROM pg_available_extensions WHERE name = 'whaply'";
    let current: String = db.value(current, &[]);
    db.execute(&format!(
        "UPDATE pg_extension SET extversion = '{current}' WHERE extname = 'whaply'"
    ));
    wait_until_well(address);
    assert_eq!(post(address, &secret, "OUTDATED-1").status, 200);
}

#[test]
fn on_a_standby_nothing_listens_until_it_is_promoted() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("standby");
    wait_until_well(address);
    let directory: String = db.value("SHOW data_directory", &[]);
    cluster.stop(StopMode::Fast);
    fs::write(Path::new(&directory).join("standby.signal"), "").expect("a file in its directory");
    cluster.restart();
    assert!(db.value::<bool>("SELECT pg_is_in_recovery()", &[]));
    assert!(try_request(address, "GET", "/healthz", &[], b"").is_err());
    // The whole view can be read there, and says so without alarm.
    let found: Vec<String> =
        db.column("SELECT concat_ws(' ', severity, subject, problem) FROM whaply.health", &[]);
    let expected = "info listener nothing listens at whaply.listen: this server is a standby";
    assert_eq!(found, [expected]);
    assert!(db.value::<bool>("SELECT pg_promote()", &[]));
    wait_until_well(address);
}

#[test]
fn a_new_launcher_leaves_the_listener_that_is_there_alone() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("launcher");
    wait_until_well(address);
    let pids = |kind: &str| -> Vec<i32> {
        db.column("SELECT pid FROM pg_stat_activity WHERE backend_type = $1", &[&kind])
    };
    let (launcher, listener) = (pids("whaply launcher"), pids("whaply listener"));
    assert!(db.value::<bool>("SELECT pg_terminate_backend($1)", &[&launcher[0]]));
    wait_until("another launcher", PATIENCE, || {
        pids("whaply launcher").first().is_some_and(|pid| *pid != launcher[0])
    });
    // It has looked at every database when it has found a new one.
    let other = cluster.create_database("other");
    support::worker::wait_for_worker(&other);
    wait_until_well(address);
    assert!(pids("whaply listener").contains(&listener[0]), "it was never restarted");
    assert!(!cluster.log().contains("cannot listen on"), "{}", cluster.log());
}
