//! A disk that is full while the worker has an answer to write: it is written and sent once there is
//! space, once, and the server lives. The disk is a small one in memory that only the server of this test
//! sees. What the listener tells Evolution meanwhile is in `listener_full_disk.rs`.

use support::worker::{wait_for_worker, worker_pid};
use support::{Cluster, ClusterOptions, LlmBehaviour, PATIENCE, Scene, wait_until};

/// The tables with their indexes take a tenth of it. The log of the server is on another disk: without
/// space for that PostgreSQL ends, whoever writes.
const SMALL_DISK: &str = r#"
mkdir -p small
mount -t tmpfs -o size=24m,mode=700,uid="$(stat -c %u .)" tmpfs small"#;

/// Longer than what is free in pages that are there, and as hard to compress as noise.
fn long_answer() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let words: Vec<String> = (0..4000).map(|_| format!("{:08x}", random.u32(..))).collect();
    format!("PRIMEIRA {}", words.join(" "))
}

#[test]
fn an_answer_for_which_the_disk_has_no_space_is_sent_once_when_it_has() {
    if !Cluster::can_have_mounts() {
        return;
    }
    let mounts = Some(SMALL_DISK.to_owned());
    let cluster =
        Cluster::start(ClusterOptions { mounts, ..ClusterOptions::default().in_a_hurry() });
    let small = cluster.directory().join("small");
    let create = format!("CREATE TABLESPACE small LOCATION '{}'", small.display());
    cluster.connect("postgres").batch_execute(&create).expect("an empty folder");
    cluster.set("default_tablespace", "small");
    let scene = Scene::start(&cluster, "full");
    let (pid, postmaster) = (wait_for_worker(&scene.db), cluster.postmaster_pid());
    let gate = scene.llm.hold_then(LlmBehaviour::answer(&long_answer()));
    scene.shop.customer_says("5511999990001", "Conte tudo!").delivered();
    gate.wait_until_reached(PATIENCE);

    scene.db.execute(
        "CREATE TABLE filler (page text);
         ALTER TABLE filler ALTER page SET STORAGE PLAIN, SET (autovacuum_enabled = off)",
    );
    let fill = "INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, 10000)";
    let filled = scene.db.connect().batch_execute(fill).expect_err("it is a small disk");
    assert_eq!(filled.code().map(|code| code.code()), Some("53100"), "{filled}");
    gate.release();
    wait_until("the worker to find no space", PATIENCE, || {
        let log = cluster.log();
        if log.contains("could not finish a round") { Ok(()) } else { Err(log) }
    });
    assert_eq!(scene.shop.sent().len(), 0);

    scene.db.execute("DROP TABLE filler; CHECKPOINT");
    scene.wait_until_idle();
    let said = scene.shop.sent_texts().concat();
    assert_eq!(said.matches("PRIMEIRA").count(), 1, "{said}");
    assert_eq!(scene.shop.sent().len(), scene.deliveries().len(), "each part once");
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
    assert_eq!(cluster.postmaster_pid(), postmaster);
    let log = cluster.log();
    assert!(!log.contains("PANIC") && !log.contains("reinitializing"), "{log}");
    assert!(!log.contains("PRIMEIRA"), "the log repeats what was said");
}
