//! A disk that is full while webhooks come: they are asked to come again, none is lost, and the server
//! lives. The disk is a small one in memory that only the server of this test sees.

use support::listener::{
    Answer, cluster_with_listener, free_address, message, request, silent_tenant, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::{Cluster, ClusterOptions, Database, PATIENCE, wait_until};

/// The tables with their indexes take a tenth of it. The log of the server is on another disk: without
/// space for that PostgreSQL ends, whoever writes.
const SMALL_DISK: &str = r#"
mkdir -p small
mount -t tmpfs -o size=24m,mode=700,uid="$(stat -c %u .)" tmpfs small"#;

/// With a table `filler`.
fn fill_the_disk(db: &Database) {
    db.execute(
        "CREATE TABLE filler (page text) TABLESPACE small;
         ALTER TABLE filler ALTER page SET STORAGE PLAIN, SET (autovacuum_enabled = off)",
    );
    let fill = "INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, 10000)";
    let filled = db.connect().batch_execute(fill).expect_err("it is a small disk");
    // What it took until then it keeps.
    assert_eq!(filled.code().map(|code| code.code()), Some("53100"), "{filled}");
}

#[test]
fn a_full_disk_is_answered_so_that_every_webhook_comes_again() {
    if !Cluster::can_have_mounts() {
        return;
    }
    let address = free_address();
    let mounts = Some(SMALL_DISK.to_owned());
    let cluster =
        cluster_with_listener(address, ClusterOptions { mounts, ..ClusterOptions::default() });
    let db = cluster.create_empty_database("full");
    let small = cluster.directory().join("small");
    db.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", small.display()));
    db.execute("SET default_tablespace = small; CREATE EXTENSION whaply");
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    let postmaster = cluster.postmaster_pid();
    let post = |id: &str| -> Answer {
        let body = message("loja", id, &"Oi! ".repeat(500)).to_string();
        request(address, "POST", "/webhook", &[(SECRET_HEADER, secret.as_str())], body.as_bytes())
    };
    assert_eq!(post("BEFORE").status, 200);

    fill_the_disk(&db);
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    wait_until("webhooks that find no space", PATIENCE, || {
        let id = format!("FULL-{}", taken.len() + refused.len());
        let answer = post(&id);
        match answer.status {
            200 => taken.push(id),
            _ => {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                let message = answer.json()["message"].to_string();
                assert!(message.contains("53100"), "{message}");
                refused.push(id);
            }
        }
        (refused.len() == 3).then_some(())
    });

    db.execute("DROP TABLE filler; CHECKPOINT");
    for id in &refused {
        wait_until("the webhook to be taken", PATIENCE, || post(id).status == 200);
    }
    let sql = "SELECT message_id::text FROM whaply.messages WHERE message_id LIKE 'FULL-%'";
    let mut stored: Vec<String> = db.column(sql, &[]);
    let mut sent = [taken, refused].concat();
    stored.sort();
    sent.sort();
    assert_eq!(stored, sent, "each once");
    assert_eq!(cluster.postmaster_pid(), postmaster);
    let log = cluster.log();
    assert!(!log.contains("PANIC") && !log.contains("reinitializing"), "{log}");
    assert!(!log.contains("Oi! Oi!"), "the log repeats what a customer said");
}
