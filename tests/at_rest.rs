//! What whaply costs a server that has nothing to do: memory, and how often its processes wake. The
//! figures are printed; `cargo test --test at_rest -- --nocapture` shows them.

use support::worker::{resident_kib, sleeps_of, wait_for_worker};
use support::{Cluster, ClusterOptions, Database, PATIENCE, Scene, wait_until};

/// Far above what is measured, far below what would be worth a worry.
const MOST_MEMORY_KIB: u64 = 100 * 1024;

/// So many that a process which wakes once more at every sixth poll is found out.
const POLLS: f64 = 20.0;

/// The poll that comes while the count is read, and waits for a page that another process holds.
const ODD_SLEEPS: u64 = 2;

fn launcher_pid(db: &Database) -> i32 {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'whaply launcher'";
    db.value(sql, &[])
}

/// When the worker last ended a transaction, in seconds: it has one at each poll.
fn last_poll(db: &Database, pid: i32) -> f64 {
    let sql =
        "SELECT extract(epoch FROM state_change)::float8 FROM pg_stat_activity WHERE pid = $1";
    db.value(sql, &[&pid])
}

#[test]
fn a_worker_at_rest_wakes_for_its_poll_and_for_nothing_else() {
    let options = ClusterOptions::default().with("whaply.poll_interval", "1s");
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "0"));
    let scene = Scene::start(&cluster, "polls");
    let (worker, launcher) = (wait_for_worker(&scene.db), launcher_pid(&scene.db));
    // One conversation, so that all it ever keeps at rest is there.
    scene.shop.customer_says("5511999990001", "Oi?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    let rested = last_poll(&scene.db, worker);
    wait_until("the next poll", PATIENCE, || last_poll(&scene.db, worker) > rested);

    let start = last_poll(&scene.db, worker);
    let before = [worker, launcher].map(sleeps_of);
    let polls = wait_until("the polls", PATIENCE, || {
        // They are at least a second apart. Counted by the clock: this may not see each of them.
        let polls = last_poll(&scene.db, worker) - start;
        (polls >= POLLS).then_some(polls as u64)
    });
    let after = [worker, launcher].map(sleeps_of);
    let [of_worker, of_launcher] = [after[0] - before[0], after[1] - before[1]];
    println!("{polls} polls: the worker woke {of_worker} times, the launcher {of_launcher} times");
    assert!(of_worker <= polls + ODD_SLEEPS, "the worker woke {of_worker} times in {polls} polls");
    assert!(of_launcher <= ODD_SLEEPS, "the launcher woke {of_launcher} times");
}

#[test]
fn a_worker_at_rest_is_small() {
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let scene = Scene::start(&cluster, "memory");
    let (worker, launcher) = (wait_for_worker(&scene.db), launcher_pid(&scene.db));
    scene.shop.customer_says("5511999990001", "Oi?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    for (name, pid) in [("worker", worker), ("launcher", launcher)] {
        let (all, own) = resident_kib(pid);
        println!("the {name}: {all} KiB resident, of which {own} KiB are its own");
        assert!(own > 0 && all < MOST_MEMORY_KIB, "the {name}: {all} KiB");
    }
}

#[test]
fn a_commit_wakes_the_worker_long_before_its_poll() {
    let options = ClusterOptions::default().with("whaply.poll_interval", "10min");
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "0"));
    let scene = Scene::start(&cluster, "woken");
    wait_for_worker(&scene.db);
    for question in ["Oi?", "Tem alguém?"] {
        let sent = scene.shop.sent().len();
        scene.shop.customer_says("5511999990001", question).delivered();
        scene.shop.wait_for_sent(sent + 1, PATIENCE);
        scene.wait_until_idle();
    }
    let by_hand = "SELECT whaply.send_message('loja-demo', '5511999990001', 'Sou eu')";
    scene.db.execute(by_hand);
    scene.shop.wait_for_sent(3, PATIENCE);
}
