//! `widen_ids()`: the tables whose serial ids end at 2^31 become bigint, with all that depends on them, and
//! stay so through every kind of dump. How long that takes is not its matter.

use support::worker::wait_for_worker;
use support::{Database, PATIENCE, Scene, shared_cluster, wait_until};

const ANA: &str = "5511999990001";
const BIA: &str = "5511999990002";

const BEYOND: i64 = 3_000_000_000;

/// A row in each of the tables, with an id that an integer does not hold; and what people make of them.
const ROWS_BEYOND: &str = "
    INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
    SELECT setval('whaply.sessions_id_seq', 3000000000), setval('whaply.messages_id_seq', 3000000000),
           setval('whaply.processed_events_id_seq', 3000000000);
    INSERT INTO whaply.sessions (id, tenant_id, chat_id) VALUES (3000000000, 1, 'chat');
    INSERT INTO whaply.messages (id, tenant_id, chat_id, message_id, text, sender)
    VALUES (3000000000, 1, 'chat', 'M1', 'Tem bolo?', 'customer');
    INSERT INTO whaply.processed_events (id, tenant_id, message_id, event_type, action_taken)
    VALUES (3000000000, 1, 'M1', 'messages.upsert', 'ignored_mode');
    CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS);
    INSERT INTO whaply.messages_archive SELECT * FROM whaply.messages;
    CREATE VIEW public.said AS SELECT id, text FROM whaply.messages WHERE id > 2147483647";

/// One that depends on the table, where PostgreSQL has such: from 14 on.
const NEWEST: &str = "
    DO $$
    DECLARE
        newest CONSTANT text := 'SELECT m FROM whaply.messages m ORDER BY m.id DESC LIMIT 1';
    BEGIN
        EXECUTE 'CREATE FUNCTION public.newest() RETURNS whaply.messages LANGUAGE sql '
            || CASE WHEN current_setting('server_version_num')::integer >= 140000
                    THEN format('RETURN (%s)', newest) ELSE format('AS %L', newest) END;
    END
    $$";

const IDS: &str = "
    SELECT id FROM whaply.sessions UNION ALL SELECT id FROM whaply.messages
     UNION ALL SELECT id FROM whaply.processed_events UNION ALL SELECT id FROM whaply.messages_archive";

/// What there is of the views: their columns, who may read them, what they are for, and whose they are.
const VIEWS: &str = "
    SELECT concat_ws(' ', c.oid::regclass, c.reloptions, c.relowner::regrole,
                     coalesce(c.relacl, acldefault('r', c.relowner)), a.columns,
                     obj_description(c.oid, 'pg_class'), a.comments, e.deptype)
      FROM pg_class c LEFT JOIN pg_depend e ON e.objid = c.oid AND e.refclassid = 'pg_extension'::regclass
     CROSS JOIN LATERAL (SELECT string_agg(concat_ws(' ', attname, attacl), ', ' ORDER BY attnum) AS columns,
                                string_agg(col_description(attrelid, attnum), ', ') AS comments
                           FROM pg_attribute WHERE attrelid = c.oid) AS a
     WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'v' ORDER BY c.relname";

fn widen(db: &Database) -> bool {
    db.value("SELECT whaply.widen_ids()", &[])
}

fn wide_database(prefix: &str) -> Database {
    let db = shared_cluster().create_database(prefix);
    assert!(widen(&db));
    db.execute(ROWS_BEYOND);
    db.execute(NEWEST);
    db
}

#[track_caller]
fn assert_is_wide_and_whole(db: &Database) {
    assert_eq!(db.column::<i64>(IDS, &[]), [BEYOND; 4]);
    assert!(!widen(db), "there is nothing left to do");
    assert_eq!(db.column::<i64>("SELECT id FROM public.said", &[]), [BEYOND]);
    assert_eq!(db.value::<i64>("SELECT (public.newest()).id", &[]), BEYOND);
    let resumable = "SELECT format_type(atttypid, NULL) FROM pg_attribute
                      WHERE attrelid = 'whaply.resumable_sessions'::regclass AND attname = 'id'";
    assert_eq!(db.value::<String>(resumable, &[]), "bigint");
    db.execute("INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (1, 'next')");
    let next = "DELETE FROM whaply.sessions WHERE chat_id = 'next' RETURNING id";
    assert_eq!(db.value::<i64>(next, &[]), BEYOND + 1);
    db.execute("SELECT setval('whaply.sessions_id_seq', 3000000000)");
}

#[test]
fn rows_with_ids_beyond_2_to_31_come_back_from_a_plain_dump_and_from_a_dump_of_that() {
    let (cluster, db) = (shared_cluster(), wide_database("plain"));
    let restored = cluster.create_empty_database("plain_copy");
    cluster.restore(&restored, &cluster.dump(&db));
    assert_is_wide_and_whole(&restored);
    let again = cluster.create_empty_database("plain_again");
    cluster.restore(&again, &cluster.dump(&restored));
    assert_is_wide_and_whole(&again);
}

#[test]
fn rows_with_ids_beyond_2_to_31_come_back_from_a_custom_dump_restored_in_parallel() {
    let (cluster, db) = (shared_cluster(), wide_database("custom"));
    let restored = cluster.create_empty_database("custom_copy");
    cluster.restore_in_parallel(&restored, &cluster.dump_to_file(&db));
    assert_is_wide_and_whole(&restored);
    let catalog = "SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                                    pg_get_expr(adbin, adrelid))
                     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                     JOIN pg_class c ON c.oid = attrelid AND relnamespace = 'whaply'::regnamespace
                    WHERE attnum > 0 AND NOT attisdropped ORDER BY 1";
    let [ours, expected] = [&restored, &db].map(|db| db.column::<String>(catalog, &[]));
    assert_eq!(ours, expected);
    let [ours, expected] = [&restored, &db].map(|db| db.column::<String>(VIEWS, &[]));
    assert_eq!(ours, expected);
}

#[test]
fn a_database_that_was_never_widened_comes_back_with_integers() {
    let cluster = shared_cluster();
    let (db, restored) =
        (cluster.create_database("narrow"), cluster.create_empty_database("narrow_copy"));
    cluster.restore(&restored, &cluster.dump(&db));
    assert!(widen(&restored), "what was narrow is narrow");
    assert!(!widen(&restored));
}

#[test]
fn an_extension_that_is_made_again_is_wide_at_once() {
    let db = wide_database("made_again");
    db.execute("DROP EXTENSION whaply CASCADE; DROP TABLE whaply.messages_archive; CREATE EXTENSION whaply");
    db.execute(&ROWS_BEYOND.replace("INSERT INTO whaply.tenants", "INSERT INTO whaply.tenants "));
    db.execute(NEWEST);
    assert_is_wide_and_whole(&db);
}

#[test]
fn widening_keeps_what_was_granted_said_and_set_of_the_views() {
    let db = shared_cluster().create_database("views");
    let [reader, lender] = ["reader", "lender"].map(|role| format!("{role}_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {reader}; CREATE ROLE {lender};
         GRANT SELECT ON whaply.resumable_sessions, whaply.recent_activity TO {reader};
         GRANT SELECT (text) ON whaply.unanswered_chats TO {lender} WITH GRANT OPTION;
         GRANT SELECT ON whaply.tenant_stats TO PUBLIC;
         ALTER VIEW whaply.recent_activity SET (security_barrier = true);
         COMMENT ON COLUMN whaply.resumable_sessions.id IS 'of the session';
         ALTER DEFAULT PRIVILEGES IN SCHEMA whaply GRANT SELECT ON TABLES TO {lender}"
    ));
    let before: Vec<String> = db.column(VIEWS, &[]);
    assert!(widen(&db));
    assert_eq!(db.column::<String>(VIEWS, &[]), before);
    db.execute(&format!("DROP OWNED BY {reader}, {lender} CASCADE; DROP ROLE {reader}, {lender}"));
}

#[test]
fn somebody_elses_view_is_named_and_nothing_is_changed_until_it_is_gone() {
    let db = shared_cluster().create_database("others");
    db.execute("CREATE VIEW public.mine AS SELECT max(id) FROM whaply.messages");
    let error =
        db.connect().query_one("SELECT whaply.widen_ids()", &[]).expect_err("a view of mine");
    let error = error.as_db_error().expect("an answer of the server");
    assert_eq!(error.code().code(), "2BP01");
    assert!(error.message().contains("public.mine"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("create them again")), "{error:?}");
    let kept =
        "SELECT count(*) FROM pg_attribute WHERE attname = 'id' AND atttypid = 'integer'::regtype
                   AND attrelid IN ('whaply.sessions'::regclass, 'whaply.messages'::regclass,
                                    'whaply.processed_events'::regclass)";
    assert_eq!(db.value::<i64>(kept, &[]), 3);
    db.execute("DROP VIEW public.mine");
    assert!(widen(&db));
    assert_eq!(db.value::<i64>(kept, &[]), 0);
}

#[test]
fn the_same_worker_answers_before_and_after_and_clears_up_behind_ids_beyond_2_to_31() {
    let scene = Scene::start(shared_cluster(), "worker");
    let worker = wait_for_worker(&scene.db);
    scene.shop.customer_says(ANA, "Tem bolo?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    // A session that reads is let past: it does not make the whole fail.
    let mut reader = scene.db.connect();
    reader.batch_execute("BEGIN; SELECT FROM whaply.health").expect("a view can be read");
    std::thread::scope(|scope| {
        let widening = scope.spawn(|| widen(&scene.db));
        wait_until("the widening to be under way", PATIENCE, || {
            let sql = "SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE 'SELECT whaply.widen%'
                          AND pid <> pg_backend_pid()";
            scene.db.value::<bool>(sql, &[])
        });
        reader.batch_execute("SELECT FROM whaply.sessions; COMMIT").expect("no deadlock");
        assert!(widening.join().expect("it ends when the reader has"));
    });
    scene.db.execute(
        "SELECT setval('whaply.sessions_id_seq', 3000000000), setval('whaply.messages_id_seq', 3000000000),
                setval('whaply.processed_events_id_seq', 3000000000)",
    );
    for chat in [ANA, BIA] {
        scene.shop.customer_says(chat, "E torta?").delivered();
    }
    scene.shop.wait_for_sent(3, PATIENCE);
    scene.wait_until_idle();
    let beyond =
        "SELECT count(*) FROM whaply.messages WHERE id > 3000000000 AND reply_id IS NOT NULL";
    assert_eq!(scene.db.value::<i64>(beyond, &[]), 4, "two questions, two answers");
    assert_eq!(wait_for_worker(&scene.db), worker);
    scene.db.execute(
        "UPDATE whaply.processed_events SET processed_at = now() - interval '8 days'; SELECT whaply.auto_resume()",
    );
    let left = "SELECT count(*) FROM whaply.processed_events";
    assert_eq!(scene.db.value::<i64>(left, &[]), 0);
}
