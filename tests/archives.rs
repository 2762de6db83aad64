//! Messages that people keep beside whaply's own tables: whom forget_chat reaches there, and what it says
//! where it reaches nothing. What retention does with an archive is not its matter.

use postgres::error::SqlState;
use serde_json::Value;
use support::listener::silent_tenant;
use support::{Database, shared_cluster};

const FORGET: &str = "SELECT whaply.forget_chat('loja', '5511999990001')";

/// As the published schema has it.
const ARCHIVE: &str = "CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL)";

fn database(prefix: &str) -> Database {
    let db = shared_cluster().create_database(prefix);
    silent_tenant(&db, "loja");
    db
}

/// One message of the person's, in a table that is like `messages`.
fn keep_a_message_in(db: &Database, table: &str) {
    db.execute(&format!(
        "INSERT INTO {table} (id, tenant_id, chat_id, message_id, text)
         VALUES (1, 1, '5511999990001@s.whatsapp.net', 'KEPT', 'Sou a Maria')"
    ));
}

#[test]
fn forget_chat_names_the_tables_where_it_does_not_look() {
    let db = database("out_of_sight");
    db.execute(ARCHIVE);
    db.execute("CREATE TABLE whaply.of_others () INHERITS (whaply.messages_archive)");
    assert_eq!(db.notices(FORGET), Vec::<String>::new(), "all that there is was looked through");

    db.execute(
        "CREATE SCHEMA kept;
         CREATE TABLE kept.messages_2024 (LIKE whaply.messages) PARTITION BY RANGE (created_at);
         CREATE TABLE kept.of_january PARTITION OF kept.messages_2024 FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
         CREATE MATERIALIZED VIEW kept.said AS SELECT tenant_id, chat_id, message_id, text FROM whaply.messages;
         CREATE VIEW kept.shown AS SELECT * FROM whaply.messages;
         ALTER TABLE whaply.messages_archive ENABLE ROW LEVEL SECURITY",
    );
    let told = "WARNING: kept.messages_2024, kept.said, whaply.messages_archive: look there for what is left of this chat";
    assert_eq!(db.notices(FORGET), [told]);
}

#[test]
fn an_admin_is_told_when_the_archive_is_closed_and_nothing_is_forgotten_by_half() {
    let db = database("closed_archive");
    keep_a_message_in(&db, "whaply.messages");
    db.execute(ARCHIVE);
    keep_a_message_in(&db, "whaply.messages_archive");
    let admin = format!("admin_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {admin} LOGIN; SELECT whaply.grant_access('{admin}', 'admin')"
    ));
    let mut session = db.connect_as(&admin);
    let refused = session.query_one(FORGET, &[]).expect_err("it is closed");
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
    let hint = refused.as_db_error().and_then(|error| error.hint().map(str::to_owned));
    assert_eq!(hint.as_deref(), Some("A superuser calls archive_messages once."));
    assert_eq!(db.value::<i64>("SELECT count(*) FROM whaply.messages", &[]), 1);

    assert_eq!(db.value::<i64>("SELECT whaply.archive_messages(36500)", &[]), 0);
    let gone: Value = session.query_one(FORGET, &[]).expect("it is open").get(0);
    assert_eq!((&gone["messages"], &gone["archived_messages"]), (&1.into(), &1.into()));
}

#[test]
fn an_archive_that_is_there_before_the_extension_is_open_from_the_beginning() {
    let db = database("older_archive");
    db.execute("CREATE TABLE public.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS)");
    db.execute("DROP EXTENSION whaply; CREATE SCHEMA IF NOT EXISTS whaply");
    db.execute(
        "ALTER TABLE public.messages_archive SET SCHEMA whaply;
         CREATE VIEW whaply.of_my_own AS SELECT text FROM whaply.messages_archive",
    );
    db.execute("CREATE EXTENSION whaply");
    let is_open =
        "SELECT has_table_privilege('whaply_worker', 'whaply.messages_archive', 'DELETE')";
    assert!(db.value::<bool>(is_open, &[]));
    let is_as_it_was =
        "SELECT reloptions IS NULL FROM pg_class WHERE oid = 'whaply.of_my_own'::regclass";
    assert!(db.value::<bool>(is_as_it_was, &[]));
}
