//! What `pg_stat_activity` shows of the processes of whaply: who they are, and what they are about, without
//! a chat, a text or a key.

use support::listener::{cluster_with_listener, free_address, wait_until_well};
use support::{ClusterOptions, PATIENCE, Scene, wait_until};

const MARIA: &str = "5511999990001";
/// What is shown of the process of this type: its application_name, its state, and its query.
fn shown(scene: &Scene, kind: &str) -> Option<(String, String, String)> {
    let sql = "SELECT coalesce(application_name, ''), coalesce(state, ''), coalesce(query, '')
                 FROM pg_stat_activity WHERE backend_type = $1
                  AND coalesce(datname, current_database()) = current_database()";
    let rows = scene.db.rows(sql, &[&kind]);
    rows.first().map(|row| (row.get(0), row.get(1), row.get(2)))
}

#[track_caller]
fn wait_for(scene: &Scene, kind: &str, part: &str) -> String {
    wait_until(part, PATIENCE, || match shown(scene, kind) {
        Some((_, _, query)) if query.contains(part) => Ok(query),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn pg_stat_activity_says_who_the_processes_are_and_what_they_are_about() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let scene = Scene::start(&cluster, "activity");
    wait_until_well(address);
    wait_for(&scene, "whaply reply worker", "whaply: no call under way; nothing is due");
    wait_for(&scene, "whaply listener", &format!("whaply: listening on {address}; "));
    wait_for(&scene, "whaply launcher", "whaply: 1 reply workers for ");
    for kind in ["whaply reply worker", "whaply listener", "whaply launcher"] {
        assert_eq!(shown(&scene, kind).map(|shown| shown.0).as_deref(), Some(kind));
    }
    wait_until("the worker to be idle", PATIENCE, || {
        shown(&scene, "whaply reply worker").is_some_and(|(_, state, _)| state == "idle")
    });

    let gate = scene.llm.hold();
    scene.shop.customer_says(MARIA, "What does the blue one cost?").delivered();
    let busy = wait_for(&scene, "whaply reply worker", "1 call under way (1 to models, 0 sends");
    assert!(!busy.contains(MARIA) && !busy.contains("blue"), "{busy}");
    gate.release();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    wait_for(&scene, "whaply reply worker", "no call under way");
}

#[test]
fn a_worker_that_waits_says_what_for() {
    // Of its own, since the setting is the server's.
    let cluster = support::Cluster::start(ClusterOptions::default().in_a_hurry());
    let scene = Scene::start(&cluster, "activity_off");
    cluster.set("whaply.worker", "off");
    wait_for(&scene, "whaply reply worker", "waits: whaply.worker is off");
}
