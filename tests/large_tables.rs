//! The worker's chores beside everybody else's work: a backlog goes portion by portion, and what somebody
//! holds is left for later. How fast that is, is not its matter.

use postgres::Client;
use support::{Cluster, ClusterOptions, Database, PATIENCE, Scene, wait_until};

const MARIA: &str = "5511999990001";

/// More than the worker takes at once, of chats and of events.
const BACKLOG: &str = "
    INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at)
    SELECT 1, n || '@s.whatsapp.net', true, 'human_takeover', now() - interval '3 hours' FROM generate_series(1, 1200) AS n;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken, processed_at)
    SELECT 1, 'OLD-' || n, 'messages.upsert', 'ignored_type', now() - interval '8 days' FROM generate_series(1, 7000) AS n";

/// A session that holds some of the rows, as a transaction that nobody ends.
fn holding(db: &Database) -> Client {
    let mut client = db.connect();
    let held = client.batch_execute(
        "BEGIN;
         SELECT FROM whaply.sessions WHERE chat_id LIKE '%7@s.whatsapp.net' FOR UPDATE;
         SELECT FROM whaply.processed_events WHERE message_id LIKE 'OLD-%7' FOR UPDATE",
    );
    held.expect("the rows can be locked");
    client
}

#[track_caller]
fn wait_until_left(db: &Database, what: &str, paused: i64, old: i64) {
    let sql = "SELECT ARRAY[(SELECT count(*) FROM whaply.sessions WHERE is_paused),
                            (SELECT count(*) FROM whaply.processed_events WHERE message_id LIKE 'OLD-%')]";
    wait_until(what, PATIENCE, || {
        let left: Vec<i64> = db.value(sql, &[]);
        (left == [paused, old])
            .then_some(())
            .ok_or_else(|| format!("paused chats, old events: {left:?}"))
    });
}

#[test]
fn a_backlog_of_chores_goes_by_while_some_of_its_rows_are_held_and_customers_are_answered() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1s"));
    let scene = Scene::start(&cluster, "backlog");
    scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    scene.db.execute(BACKLOG);
    let mut holder = holding(&scene.db);

    scene.db.value::<bool>("SELECT whaply.start_worker()", &[]);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    wait_until_left(&scene.db, "all that nobody holds to be done", 120, 700);
    scene.somebody_else_is_answered();

    holder.batch_execute("COMMIT").expect("the rows are let go");
    wait_until_left(&scene.db, "the rest to be done", 0, 0);
}
