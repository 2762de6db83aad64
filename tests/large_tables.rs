//! Tables that have grown: a question and its answer read what is theirs and not the tables; the worker's
//! chores go portion by portion, and what somebody holds is left for later. How fast that is, is not its
//! matter.

use std::collections::BTreeMap;

use postgres::Client;
use support::{Cluster, ClusterOptions, Database, PATIENCE, Person, Scene, wait_until};

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

/// Chats that have been: each with a LID, two messages, their events, a reply and its delivery. A third is
/// of the tenant itself.
const CHATS: i64 = 40_000;
const FORMER_CHATS: &str = "
    SET session_replication_role = replica;
    INSERT INTO whaply.tenants (instance_name, evo_server_url)
    SELECT 'other-' || n, 'http://127.0.0.1:1' FROM generate_series(1, 2) AS n;
    CREATE TEMP TABLE chat AS
    SELECT n, 1 + n % 3 AS tenant_id, '55118' || lpad(n::text, 8, '0') || '@s.whatsapp.net' AS jid,
           now() - interval '1 day' + n * interval '1 second' AS at
      FROM generate_series(1, 40000) AS n;
    INSERT INTO whaply.sessions (tenant_id, chat_id, reply_jid) SELECT tenant_id, jid, jid FROM chat;
    INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) SELECT tenant_id, 100000000000000 + n || '@lid', jid FROM chat;
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sender, sent_at, created_at, reply_id)
    SELECT tenant_id, jid, sender || n, sender <> 'customer', 'Bom dia', sender, at, at, n
      FROM chat, unnest('{customer,assistant}'::text[]) AS sender;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken, processed_at)
    SELECT tenant_id, sender || n, 'messages.upsert', 'ai_replied', at FROM chat, unnest('{customer,assistant}'::text[]) AS sender;
    INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, answered_at, finished_at)
    SELECT tenant_id, jid, 'sent', at, at, at, at FROM chat;
    INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, message_id, finished_at)
    SELECT c.tenant_id, c.jid, r.id, 'reply', 'Bom dia', 'sent', 'assistant' || c.n, c.at
      FROM chat c JOIN whaply.replies r ON r.chat_id = c.jid;
    ANALYZE";

/// Rows and entries of indexes that have been read so far, by table; those of all sessions that have told.
fn reads(db: &Database) -> BTreeMap<String, i64> {
    let sql = "SELECT t.relname::text, t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0)::bigint
                 FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid)
                WHERE t.schemaname = 'whaply' GROUP BY t.relname, t.seq_tup_read";
    db.rows(sql, &[]).iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Asks in a chat of its own, and returns what was read for it: told when the worker has told what it wrote.
fn reads_of_a_question(scene: &Scene, phone: i64) -> BTreeMap<String, i64> {
    let written =
        "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'whaply.deliveries'::regclass";
    let (before, updates) = (reads(&scene.db), scene.db.value::<i64>(written, &[]));
    let sent = scene.shop.sent().len();
    scene.shop.customer_says(Person::with_phone(&phone.to_string()), "Are you open?").delivered();
    scene.shop.wait_for_sent(sent + 1, PATIENCE);
    scene.wait_until_idle();
    wait_until("the worker to tell what it did", PATIENCE, || {
        scene.db.value::<i64>(written, &[]) >= updates + 2
    });
    let after = reads(&scene.db);
    after.into_iter().map(|(table, reads)| (table.clone(), reads - before[&table])).collect()
}

#[test]
fn a_question_in_large_tables_reads_its_own_rows_only() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "100ms");
    let cluster = Cluster::start(options.with("autovacuum", "off"));
    let scene = Scene::start(&cluster, "large");
    scene.db.execute(FORMER_CHATS);
    // What is read to prepare statements, and once a process.
    reads_of_a_question(&scene, 5_511_999_990_001);
    let read = reads_of_a_question(&scene, 5_511_999_990_002);
    let most = read.values().max().copied().unwrap_or_default();
    assert!(most < CHATS / 20, "{read:?}");

    // The measure would have told of it.
    scene.db.execute("DROP INDEX whaply.idx_messages_chat_order");
    reads_of_a_question(&scene, 5_511_999_990_003);
    let read = reads_of_a_question(&scene, 5_511_999_990_004);
    assert!(read["messages"] > CHATS, "{read:?}");
}
