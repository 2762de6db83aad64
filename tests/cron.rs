//! The assistant comes back by the clock: by the real pg_cron where it is installed, by the worker's
//! own clock without it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use support::say::say_left_out;
use support::worker::wait_for_worker;
use support::{Cluster, ClusterOptions, Database, PATIENCE, Scene, wait_until};

/// pg_cron 1.4 knows no seconds: a job runs at the next full minute, and needs a moment to start.
const NEXT_MINUTE: Duration = Duration::from_secs(150);

const CUSTOMER: &str = "5511999990001";
const ANOTHER: &str = "5511999990002";

/// A chat that the owner took over, and in which he has been silent for longer than he asked for.
fn play_a_takeover_that_is_over(scene: &Scene, customer: &str) {
    scene.set_tenant("auto_resume_after = NULL");
    scene.shop.owner_typed(customer, "Eu mesmo atendo", Duration::from_secs(3600)).delivered();
    assert!(is_paused(&scene.db, customer), "an hour is less than the default");
    scene.set_tenant("auto_resume_after = '30 minutes'");
}

fn is_paused(db: &Database, customer: &str) -> bool {
    let sql = "SELECT is_paused FROM whaply.sessions WHERE chat_id LIKE $1 || '@%'";
    db.value(sql, &[&customer])
}

fn resumable_chats(db: &Database) -> Vec<String> {
    db.column("SELECT split_part(chat_id, '@', 1) FROM whaply.resumable_sessions", &[])
}

/// Returns once the worker has looked at its tables this long after now: whatever it does by a
/// shorter clock is done by then.
#[track_caller]
fn wait_until_the_worker_looks_after(db: &Database, seconds: f64) {
    let pid = wait_for_worker(db);
    let now: DateTime<Utc> = db.value("SELECT clock_timestamp()", &[]);
    let sql = "SELECT state_change > $2::timestamptz + make_interval(secs => $3)
                 FROM pg_stat_activity WHERE pid = $1";
    wait_until("the worker to look", PATIENCE, || db.value::<bool>(sql, &[&pid, &now, &seconds]));
}

#[track_caller]
fn assert_the_assistant_is_back(scene: &Scene) {
    scene.shop.customer_says(CUSTOMER, "E agora?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
}

#[test]
fn pg_cron_resumes_a_silent_chat_by_auto_resume() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.clone());
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'";
    let available: i64 =
        cluster.connect("postgres").query_one(available, &[]).expect("a row").get(0);
    if available == 0 {
        say_left_out("pg_cron, which this server has not");
        return;
    }
    drop(cluster);

    let options =
        options.with("whaply.maintenance_interval", "0").with("cron.use_background_workers", "on");
    let cluster =
        Cluster::start(ClusterOptions { preload: "whaply,pg_cron".to_owned(), ..options });
    let scene = Scene::start(&cluster, "cron");
    // The name of the database was not known before.
    cluster.set("cron.database_name", scene.db.name());
    cluster.restart();
    wait_for_worker(&scene.db);
    play_a_takeover_that_is_over(&scene, CUSTOMER);
    assert_eq!(resumable_chats(&scene.db), [CUSTOMER]);
    scene.db.execute(
        "CREATE EXTENSION pg_cron;
         SELECT cron.schedule('whaply', '* * * * *', 'SELECT whaply.auto_resume()')",
    );
    wait_until("pg_cron to resume the chat", NEXT_MINUTE, || {
        let runs =
            "SELECT coalesce(string_agg(status || ' ' || coalesce(return_message, ''), ', '), '')
                      FROM cron.job_run_details";
        match is_paused(&scene.db, CUSTOMER) {
            false => Ok(()),
            true => Err(format!("jobs: {}", scene.db.value::<String>(runs, &[]))),
        }
    });
    assert_the_assistant_is_back(&scene);
}

#[test]
fn without_pg_cron_the_worker_resumes_a_silent_chat_by_its_own_clock() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1s"));
    let scene = Scene::start(&cluster, "own_clock");
    let stale =
        "INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, processed_at)
                 VALUES (1, 'LAST-MONTH', 'messages.upsert', now() - interval '30 days')";
    scene.db.execute(stale);
    play_a_takeover_that_is_over(&scene, CUSTOMER);
    wait_until("the worker to resume the chat", PATIENCE, || !is_paused(&scene.db, CUSTOMER));
    let stale = "SELECT count(*) FROM whaply.processed_events WHERE message_id = 'LAST-MONTH'";
    assert_eq!(scene.db.value::<i64>(stale, &[]), 0, "and old events are cleaned up");
    assert_the_assistant_is_back(&scene);
}

#[test]
fn a_maintenance_interval_of_zero_leaves_it_to_others() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "50ms");
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1s"));
    let scene = Scene::start(&cluster, "left_to_others");
    play_a_takeover_that_is_over(&scene, CUSTOMER);
    wait_until("the worker to resume the chat", PATIENCE, || !is_paused(&scene.db, CUSTOMER));

    cluster.set("whaply.maintenance_interval", "0");
    // A round that was under way may still have the old value.
    scene.somebody_else_is_answered();
    // While a send of ours has not ended, what the owner says is undecided.
    scene.wait_until_idle();
    play_a_takeover_that_is_over(&scene, ANOTHER);
    wait_until_the_worker_looks_after(&scene.db, 3.0);
    scene.somebody_else_is_answered();
    assert!(is_paused(&scene.db, ANOTHER));
    assert_eq!(resumable_chats(&scene.db), [ANOTHER]);
    let resumed = "SELECT (whaply.auto_resume() ->> 'resumed')::bigint";
    assert_eq!(scene.db.value::<i64>(resumed, &[]), 1);
}
