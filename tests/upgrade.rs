//! The upgrade from every version that was released: a database that was upgraded has what a fresh one has, every row is kept,
//! and who writes meanwhile waits instead of being lost. What the new version does is not its matter.

use std::collections::BTreeSet;
use std::thread;

use postgres::Client;
use serde_json::Value;
use support::every_row::{contents, fill, versions};
use support::listener::message;
use support::worker::wait_for_worker;
use support::{
    Database, EvolutionOptions, PATIENCE, Scene, SceneOptions, shared_cluster, wait_until,
};

const ANA: &str = "5511999990001";
const BIA: &str = "5511999990002";
const CLARA: &str = "5511999990003";

/// What a fresh installation and an upgraded one are compared by: each query lists, as text, all of
/// one kind that belongs to the schema.
const CATALOG: [(&str, &str); 13] = [
    (
        "columns",
        "SELECT concat_ws(' ', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
                attidentity, attgenerated, attstorage, attcollation, attacl, pg_get_expr(adbin, adrelid))
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
           JOIN pg_class c ON c.oid = attrelid AND relnamespace = 'whaply'::regnamespace WHERE attnum > 0",
    ),
    (
        "constraints",
        "SELECT concat_ws(' ', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid))
           FROM pg_constraint WHERE connamespace = 'whaply'::regnamespace",
    ),
    (
        "indexes",
        "SELECT concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisprimary)
           FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'whaply'::regnamespace",
    ),
    (
        "triggers",
        "SELECT concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled)
           FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
          WHERE relnamespace = 'whaply'::regnamespace AND NOT tgisinternal",
    ),
    (
        "functions",
        "SELECT concat_ws(' ', pg_get_functiondef(oid), proowner::regrole, proacl)
           FROM pg_proc WHERE pronamespace = 'whaply'::regnamespace",
    ),
    (
        "views",
        "SELECT concat_ws(' ', oid::regclass, reloptions, pg_get_viewdef(oid))
           FROM pg_class WHERE relnamespace = 'whaply'::regnamespace AND relkind = 'v'",
    ),
    (
        "relations",
        "SELECT concat_ws(' ', oid::regclass, relkind, relpersistence, relrowsecurity, reloptions, relreplident,
                relforcerowsecurity, relowner::regrole, relacl)
           FROM pg_class WHERE relnamespace = 'whaply'::regnamespace",
    ),
    (
        "policies",
        "SELECT concat_ws(' ', polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[]::text,
                pg_get_expr(polqual, polrelid), '/', pg_get_expr(polwithcheck, polrelid))
           FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relnamespace = 'whaply'::regnamespace",
    ),
    (
        "the schema",
        "SELECT concat_ws(' ', nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = 'whaply'",
    ),
    (
        "sequences",
        "SELECT concat_ws(' ', to_jsonb(s) - 'seqrelid', seqrelid::regclass)
           FROM pg_sequence s JOIN pg_class c ON c.oid = seqrelid WHERE relnamespace = 'whaply'::regnamespace",
    ),
    (
        "comments",
        "SELECT concat_ws(' ', named.type, named.identity, description)
           FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS named
          WHERE named.identity LIKE '%whaply%'",
    ),
    (
        "members",
        "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
          WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'whaply')",
    ),
    (
        "what pg_dump keeps",
        "SELECT concat_ws(' ', member::regclass, condition) FROM pg_extension,
                unnest(extconfig, extcondition) AS kept (member, condition) WHERE extname = 'whaply'",
    ),
];

fn database_of_0_1_0(prefix: &str) -> Database {
    shared_cluster().create_database_of("0.1.0", prefix)
}

fn upgrade(db: &Database) {
    db.execute("ALTER EXTENSION whaply UPDATE");
    let is_newest = "SELECT extversion = default_version FROM pg_extension, pg_available_extensions
                      WHERE extname = 'whaply' AND name = 'whaply'";
    assert!(db.value::<bool>(is_newest, &[]));
}

#[track_caller]
fn assert_same_catalog(upgraded: &Database, fresh: &Database) {
    for (kind, sql) in CATALOG {
        let [ours, expected] = [upgraded, fresh].map(|db| {
            let listed: Vec<String> = db.column(sql, &[]);
            listed.into_iter().collect::<BTreeSet<_>>()
        });
        assert!(!expected.is_empty(), "{kind}: the query lists nothing");
        let missing: Vec<_> = expected.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&expected).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{kind}: missing {missing:#?}, extra {extra:#?}"
        );
    }
}

/// A row after the upgrade: what it had, and what is new in it as a new row would have it.
#[track_caller]
fn assert_kept(table: &str, before: &Value, after: &Value) {
    let (before, after) = (before.as_object().expect("a row"), after.as_object().expect("a row"));
    for (column, value) in after {
        match before.get(column) {
            Some(kept) => assert_eq!(value, kept, "{table}.{column}"),
            None => assert!(
                value.is_null() || column == "confirmed" && value == true,
                "{table}.{column}: {value}"
            ),
        }
    }
    assert!(before.keys().all(|column| after.contains_key(column)), "{table} lost a column");
}

/// Of every version that was released.
#[test]
fn an_upgraded_database_has_what_a_fresh_one_has_and_keeps_every_row() {
    let fresh = shared_cluster().create_database("fresh");
    let released = "SELECT version FROM pg_available_extension_versions
                     WHERE name = 'whaply' AND NOT installed ORDER BY version";
    let released: Vec<String> = fresh.column(released, &[]);
    let mut known = versions();
    known.pop();
    assert_eq!(released, known, "there are rows of every released version");
    for version in known {
        let db = shared_cluster().create_database_of(version, "upgraded");
        db.value::<bool>("SELECT whaply.stop_worker()", &[]);
        fill(&db, version);
        let before = contents(&db);
        upgrade(&db);
        let after = contents(&db);
        for (table, rows) in &before {
            let now = after.iter().find(|(name, _)| name == table).map(|(_, rows)| rows);
            let now = now.unwrap_or_else(|| panic!("{version}: {table} is gone"));
            assert_eq!(now.len(), rows.len(), "{version}: {table}");
            rows.iter().zip(now).for_each(|(row, now)| assert_kept(table, row, now));
        }
        assert_same_catalog(&db, &fresh);
    }
}

#[test]
#[should_panic(expected = "comments: missing")]
fn the_comparison_of_catalogs_notices_a_difference() {
    let [db, fresh] = ["other", "fresh"].map(|prefix| shared_cluster().create_database(prefix));
    db.execute("COMMENT ON COLUMN whaply.tenants.mode IS 'Something else'");
    assert_same_catalog(&db, &fresh);
}

/// A scene whose tables are of 0.1.0, as after the new package was installed and the server restarted.
fn scene_of_0_1_0(prefix: &str) -> Scene {
    // An upgrade on a busy machine may take some of its retries.
    let evolution = EvolutionOptions { retry_scale: 0.1, ..EvolutionOptions::default() };
    let options = SceneOptions { evolution, ..SceneOptions::default() };
    Scene::start_in(database_of_0_1_0(prefix), options.with("debounce", "0"))
}

/// What 0.1.0 has left: a chat that waits for its answer, one that the owner has, and an archive
/// that the user made.
const LEFT_BY_0_1_0: &str = "
    INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at, reply_jid)
    VALUES (1, '5511999990001@s.whatsapp.net', false, NULL, NULL, '5511999990001@s.whatsapp.net'),
           (1, '5511999990002@s.whatsapp.net', true, 'human_takeover', now(), '5511999990002@s.whatsapp.net');
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
    VALUES (1, '5511999990001@s.whatsapp.net', 'ASKED-BEFORE', 'Tem bolo?', 'customer');
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    VALUES (1, 'ASKED-BEFORE', 'messages.upsert', 'ai_queued');
    INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at)
    VALUES (1, '5511999990001@s.whatsapp.net', now(), now());
    CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL)";

#[test]
fn webhooks_between_the_new_library_and_the_upgrade_are_not_lost_and_what_was_open_is_finished() {
    let scene = scene_of_0_1_0("through");
    scene.db.execute(LEFT_BY_0_1_0);
    let worker = wait_for_worker(&scene.db);
    let said = scene.shop.customer_says(CLARA, "E torta?");
    let refused = said.wait_for_attempts(1, PATIENCE).remove(0);
    assert_eq!(refused.status, Some(503), "{refused:#?}");
    assert!(refused.body.contains("ALTER EXTENSION whaply UPDATE"), "{refused:#?}");
    assert_eq!(scene.shop.sent().len(), 0);

    upgrade(&scene.db);
    said.delivered();
    wait_until("both answers", PATIENCE, || scene.shop.sent().len() >= 2);
    scene.shop.customer_says(BIA, "Ana?").delivered();
    scene.somebody_else_is_answered();
    let counts = [ANA, BIA, CLARA].map(|chat| scene.texts_to(chat).len());
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(scene.session(BIA).pause_reason.as_deref(), Some("human_takeover"));
    assert_eq!(wait_for_worker(&scene.db), worker, "it is the same process");

    let is_open =
        "SELECT has_table_privilege('whaply_worker', 'whaply.messages_archive', 'DELETE')";
    assert!(scene.db.value::<bool>(is_open, &[]), "retention reaches the archive");
    scene.shop.owner_types(BIA, "#bot").delivered();
    scene.db.execute("UPDATE whaply.messages SET created_at = now() - interval '9 days'");
    let messages: i64 = scene.db.value("SELECT count(*) FROM whaply.messages", &[]);
    assert_eq!(scene.db.value::<i64>("SELECT whaply.archive_messages(7)", &[]), messages);
    let archived = "SELECT count(*) FROM whaply.messages_archive WHERE sender IS NOT NULL";
    assert_eq!(scene.db.value::<i64>(archived, &[]), messages);
    let commands = "SELECT count(*) FROM whaply.messages_archive WHERE sender = 'command'";
    assert_eq!(scene.db.value::<i64>(commands, &[]), 1);
}

/// What is refused after an upgrade, Evolution may drop for ever.
#[test]
fn a_role_that_was_granted_ingest_by_hand_or_with_all_others_posts_after_the_upgrade_too() {
    let role = format!("poster_{}", std::process::id());
    shared_cluster()
        .connect("postgres")
        .batch_execute(&format!("CREATE ROLE {role}"))
        .expect("new");
    for granted_to in [role.as_str(), "PUBLIC"] {
        let db = database_of_0_1_0("poster");
        db.execute(&format!(
            "INSERT INTO whaply.tenants (instance_name, evo_server_url, mode) VALUES ('loja', 'http://127.0.0.1:1', 'off');
             GRANT USAGE ON SCHEMA whaply TO {granted_to};
             GRANT EXECUTE ON FUNCTION whaply.ingest(jsonb) TO {granted_to}"
        ));
        upgrade(&db);
        let mut client = db.connect();
        client.batch_execute(&format!("SET ROLE {role}")).expect("the role is there");
        let posted = client.query_one("SELECT whaply.ingest($1)", &[&message("loja", "A", "Oi")]);
        let answer: Value = posted.expect("it may post as before").get(0);
        assert_eq!(answer["action"], "ignored_mode");
        let read = client.batch_execute("SELECT FROM whaply.messages");
        assert!(read.is_err(), "and nothing else");
        db.execute(&format!("DROP OWNED BY {role}"));
    }
    shared_cluster()
        .connect("postgres")
        .batch_execute(&format!("DROP ROLE {role}"))
        .expect("unused");
}

/// A session that has read one table, and will want another before it ends.
fn reading(db: &Database, table: &str) -> Client {
    let mut client = db.connect();
    let begun = client.batch_execute(&format!("BEGIN; SELECT FROM whaply.{table}"));
    begun.expect("a table can be read");
    client
}

#[test]
fn the_upgrade_lets_transactions_past_that_hold_its_tables() {
    let db = database_of_0_1_0("busy");
    wait_for_worker(&db);
    let mut readers =
        ["sessions", "messages", "health", "replies"].map(|table| reading(&db, table));
    thread::scope(|scope| {
        let upgrading = scope.spawn(|| upgrade(&db));
        wait_until("the upgrade to be under way", PATIENCE, || {
            let sql = "SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE 'ALTER EXTENSION%'";
            db.value::<bool>(sql, &[])
        });
        for reader in &mut readers {
            // With the locks of both in the wrong order, one of the two would fail.
            let read = reader
                .batch_execute("SELECT FROM whaply.tenants; SELECT FROM whaply.replies; COMMIT");
            read.expect("nothing that holds the tables fails");
        }
        upgrading.join().expect("the upgrade ends when they have");
    });
}
