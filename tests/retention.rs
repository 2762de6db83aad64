//! `whaply.keep_messages` and `whaply.keep_raw`: what is older goes by itself, a little at a time, and nothing
//! that somebody waits for. What an administrator deletes by hand is not its matter.

use support::{Cluster, ClusterOptions, Database, PATIENCE, Scene, wait_until};

const MARIA: &str = "5511999990001";
const PAUSED: &str = "5511999990009";

/// More than the worker takes at once, older than what is kept; and as much that is younger.
const MESSAGES: &str = r#"
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, raw, sender, created_at)
    SELECT 1, n % 7 || '@s.whatsapp.net', age || '-' || n, 'Oi', '{"data": {}}', 'customer', now() - make_interval(days => age)
      FROM (VALUES (40), (20), (3)) AS ages (age), generate_series(1, 2500) AS n ORDER BY age DESC, n"#;

/// How many messages there are of each age, and how many have their payload.
const LEFT: &str = "
    SELECT ARRAY[count(*) FILTER (WHERE message_id LIKE '40-%'), count(*) FILTER (WHERE message_id LIKE '20-%'),
                 count(raw) FILTER (WHERE message_id LIKE '20-%'), count(*) FILTER (WHERE message_id LIKE '3-%'),
                 count(raw) FILTER (WHERE message_id LIKE '3-%')] FROM ";

#[track_caller]
fn wait_until_left(db: &Database, table: &str, expected: [i64; 5]) {
    wait_until(&format!("what is left of {table}"), PATIENCE, || {
        let left: Vec<i64> = db.value(&format!("{LEFT}{table}"), &[]);
        (left == expected).then_some(()).ok_or_else(|| format!("{left:?}, not yet {expected:?}"))
    });
}

/// A server where messages stay 30 days and payloads 10; pg_cron would do the other chores.
fn cluster() -> Cluster {
    let options = ClusterOptions::default().in_a_hurry();
    let options = options.with("whaply.keep_messages", "30").with("whaply.keep_raw", "10");
    Cluster::start(options.with("whaply.maintenance_interval", "0"))
}

#[test]
fn old_messages_and_payloads_go_while_others_are_answered_and_what_is_held_or_open_stays() {
    let cluster = cluster();
    let scene = Scene::start(&cluster, "retention");
    scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    scene.db.execute(MESSAGES);
    scene.db.execute(
        "CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS);
         INSERT INTO whaply.messages_archive SELECT * FROM whaply.messages",
    );
    // A question that an open reply is to answer, under another name of its chat; and one that may be ours.
    scene.db.execute(&format!(
        "UPDATE whaply.messages SET chat_id = '100000000000001@lid' WHERE message_id = '40-1';
         UPDATE whaply.messages SET sent_at = created_at - interval '1 day' WHERE message_id = '40-2';
         UPDATE whaply.messages SET chat_id = '{PAUSED}@s.whatsapp.net', sent_at = now() - interval '41 days'
          WHERE message_id IN ('40-2', '40-4');
         INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (1, '{PAUSED}@s.whatsapp.net');
         INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id)
         VALUES (1, '100000000000001@lid', '{PAUSED}@s.whatsapp.net');
         INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at)
         VALUES (1, '{PAUSED}@s.whatsapp.net', now() + interval '1 day', now() - interval '40 days 1 hour');
         UPDATE whaply.messages SET sent_at = now() - interval '40 days' WHERE message_id = '40-1';
         UPDATE whaply.messages SET sender = 'other' WHERE message_id = '40-3';
         INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
         VALUES (1, '40-3', 'send.message', 'pending_echo')"
    ));
    let mut holder = scene.db.connect();
    let held =
        "BEGIN; SELECT FROM whaply.messages WHERE message_id IN ('40-100', '20-100') FOR UPDATE";
    holder.batch_execute(held).expect("rows can be locked");

    scene.db.value::<bool>("SELECT whaply.start_worker()", &[]);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    // Held, asked, and not yet known whose.
    wait_until_left(&scene.db, "whaply.messages", [3, 2500, 1, 2500, 2500]);
    let kept =
        "SELECT message_id::text FROM whaply.messages WHERE message_id LIKE '40-%' ORDER BY 1";
    assert_eq!(scene.db.column::<String>(kept, &[]), ["40-1", "40-100", "40-3"]);
    let raw = "SELECT raw IS NOT NULL FROM whaply.messages WHERE message_id = $1";
    assert!(scene.db.value::<bool>(raw, &[&question.id]));

    // An archive of the user's own is not whaply_worker's, until somebody has done what health says.
    let archive = "whaply.messages_archive";
    wait_until_left(&scene.db, archive, [2500; 5]);
    let statement = "SELECT substring(what_to_do FROM '^SELECT [^,]+') FROM whaply.health WHERE subject = 'archive'";
    let statement: String = scene.db.value(statement, &[]);
    assert_eq!(scene.db.value::<i64>(&statement, &[]), 0, "{statement}: nothing is as old as that");
    let findings = "SELECT count(*) FROM whaply.health WHERE subject = 'archive'";
    assert_eq!(scene.db.value::<i64>(findings, &[]), 0);
    // It would have its turn after a minute.
    scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    scene.db.value::<bool>("SELECT whaply.start_worker()", &[]);
    wait_until_left(&scene.db, archive, [0, 2500, 0, 2500, 2500]);
}

#[test]
fn a_portion_is_found_by_its_ids_however_many_messages_there_are() {
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let db = cluster.create_database("by_id");
    db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    db.execute("INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1')");
    db.execute(MESSAGES);
    db.execute("ANALYZE whaply.messages; SELECT pg_stat_reset()");
    for setting in [("whaply.keep_messages", "30"), ("whaply.keep_raw", "10")] {
        cluster.set(setting.0, setting.1);
    }
    db.value::<bool>("SELECT whaply.start_worker()", &[]);
    let swept = "SELECT ARRAY[n_tup_del, n_tup_upd] FROM pg_stat_user_tables
                  WHERE relid = 'whaply.messages'::regclass";
    wait_until("all that is old to be swept", PATIENCE, || {
        let swept: Vec<i64> = db.value(swept, &[]);
        let is_done = swept == [2500, 2500];
        is_done.then_some(()).ok_or_else(|| {
            let activity = "SELECT string_agg(query, '; ') FROM pg_stat_activity WHERE backend_type LIKE 'whaply%'";
            let doing: Option<String> = db.value(activity, &[]);
            format!("deleted and cleared: {swept:?}; {doing:?}; log:\n{}", cluster.log())
        })
    });
    let read_whole =
        "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'whaply.messages'::regclass";
    assert_eq!(db.value::<i64>(read_whole, &[]), 0, "no portion reads the whole table");
}

/// Whoever owns a table may put a trigger on it, and a deletion would run it as whaply_worker.
#[test]
fn an_archive_that_was_given_to_somebody_else_is_left_alone() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.keep_messages", "30");
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1s"));
    let db = cluster.create_database("given_away");
    db.execute(
        "INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
         SELECT whaply.archive_messages(30);
         CREATE ROLE analyst;
         ALTER TABLE whaply.messages_archive OWNER TO analyst;
         INSERT INTO whaply.messages_archive (id, tenant_id, chat_id, message_id, from_me, created_at, sent_at)
         VALUES (1, 1, 'maria', 'ARCHIVED', false, now() - interval '40 days', now() - interval '40 days')",
    );
    let is_there =
        |table: &str| db.value::<bool>(&format!("SELECT EXISTS (SELECT FROM whaply.{table})"), &[]);
    // The second goes in a later round than the first: in between it was the archive's turn.
    for message in ["FIRST", "SECOND"] {
        db.execute(&format!(
            "INSERT INTO whaply.messages (tenant_id, chat_id, message_id, created_at)
             VALUES (1, 'maria', '{message}', now() - interval '40 days')"
        ));
        wait_until("an old message to go", PATIENCE, || !is_there("messages"));
    }
    assert!(is_there("messages_archive"));
    db.execute("ALTER TABLE whaply.messages_archive OWNER TO CURRENT_USER");
    wait_until("what is archived to go", PATIENCE, || !is_there("messages_archive"));
}
