//! What a backup is for: everything comes back in another cluster, whose server has never seen it, from a
//! plain dump and from one in the custom format. That the copy is silent is in copies and silent_copies.

use postgres::Client;
use support::every_row::{assert_same_contents, contents, fill, versions};
use support::{Cluster, ClusterOptions, Database};

const NAME: &str = "whatsapp";

/// The keys of the archive are the user's own table; so are settings, roles, grants and policies the user's.
const OF_THE_USER: &str = "
    CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS);
    INSERT INTO whaply.messages_archive SELECT * FROM whaply.messages;
    ALTER DATABASE whatsapp SET whaply.debounce = '9s';
    ALTER DATABASE whatsapp SET whaply.on_failure = 'fallback';
    ALTER DATABASE whatsapp SET whaply.resume_word = '#volta';
    CREATE ROLE of_loja; CREATE ROLE of_all; CREATE ROLE poster; CREATE ROLE reader;
    ALTER ROLE of_loja IN DATABASE whatsapp SET whaply.debounce = '3s';
    SELECT whaply.grant_access('of_loja', 'admin', 'loja');
    SELECT whaply.grant_access('of_all', 'operator');
    SELECT whaply.grant_access('poster', 'ingest', 'outra');
    GRANT USAGE ON SCHEMA whaply TO reader;
    GRANT SELECT (chat_id) ON whaply.sessions TO reader";

/// What an operator of one tenant is shown, as far as it is of the restored rows.
const SEEN: &str = "
    SELECT 'chat ' || chat_id FROM whaply.sessions UNION ALL SELECT 'text ' || coalesce(text, '-') FROM whaply.messages
    UNION ALL SELECT 'tenant ' || concat_ws(' ', instance_name, debounce, webhook_secret) FROM whaply.tenant_settings
    UNION ALL SELECT 'reply ' || id FROM whaply.replies UNION ALL SELECT 'delivery ' || id FROM whaply.deliveries
    UNION ALL SELECT 'queued ' || state FROM whaply.reply_queue ORDER BY 1";

const SETTINGS: &str = "
    SELECT concat_ws(' ', setrole::regrole, setting) FROM pg_db_role_setting, unnest(setconfig) AS setting
     WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1";

const PRIVILEGES: &str = "
    SELECT concat_ws(' ', acl.of, acl.grantee::regrole, acl.privilege_type)
      FROM (SELECT c.oid::regclass::text AS of, (aclexplode(c.relacl)).*
              FROM pg_class c WHERE c.relnamespace = 'whaply'::regnamespace
            UNION ALL
            SELECT a.attrelid::regclass || '.' || a.attname, (aclexplode(a.attacl)).*
              FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'whaply'::regnamespace
            UNION ALL
            SELECT p.oid::regprocedure::text, (aclexplode(p.proacl)).*
              FROM pg_proc p WHERE p.pronamespace = 'whaply'::regnamespace
            UNION ALL
            SELECT 'the schema', (aclexplode(nspacl)).* FROM pg_namespace WHERE nspname = 'whaply') AS acl
     WHERE acl.grantee <> 0 ORDER BY 1";

const POLICIES: &str = "
    SELECT concat_ws(' ', c.relname, c.relrowsecurity, p.polname, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid))
      FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
     WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind = 'r' AND c.relname <> 'messages_archive' ORDER BY 1";

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions::default().in_a_hurry().with("whaply.maintenance_interval", "0"))
}

fn original(cluster: &Cluster) -> Database {
    let db = cluster.create_named_database(NAME);
    db.value::<bool>("SELECT whaply.stop_worker()", &[]);
    fill(&db, versions().pop().expect("the current version"));
    db.execute(OF_THE_USER);
    db
}

fn as_role(db: &Database, role: &str) -> Client {
    let mut client = db.connect();
    client.batch_execute(&format!("SET ROLE {role}")).expect("the role is there");
    client
}

fn seen_by(db: &Database, role: &str) -> Vec<String> {
    let rows = as_role(db, role).query(SEEN, &[]).expect("it may read");
    rows.iter().map(|row| row.get(0)).collect()
}

#[track_caller]
fn assert_same(copy: &Database, original: &Database) {
    assert_same_contents(&contents(copy), &contents(original));
    for (what, sql) in [
        ("the archive", "SELECT to_jsonb(a)::text FROM whaply.messages_archive a ORDER BY id"),
        ("settings", SETTINGS),
        ("privileges", PRIVILEGES),
        ("policies", POLICIES),
    ] {
        let [ours, expected] = [copy, original].map(|db| db.column::<String>(sql, &[]));
        assert!(expected.len() > 3, "{what}: {expected:?}");
        assert_eq!(ours, expected, "{what}");
    }
    assert_eq!(copy.value::<String>("SHOW whaply.debounce", &[]), "9s");
    let [of_loja, of_all] = ["of_loja", "of_all"].map(|role| seen_by(copy, role));
    assert_eq!(of_loja, seen_by(original, "of_loja"));
    assert_eq!(of_all, seen_by(original, "of_all"));
    let is_of_outra = |seen: &&String| seen.contains("outra") || seen.contains("other");
    assert_eq!(of_loja.iter().filter(is_of_outra).count(), 0, "{of_loja:?}");
    assert_eq!(of_all.iter().filter(is_of_outra).count(), 3, "{of_all:?}");
    let secrets =
        as_role(copy, "of_loja").batch_execute("SELECT webhook_secret FROM whaply.tenants");
    assert!(secrets.is_err(), "a key is nobody's to read");
    assert!(as_role(copy, "poster").batch_execute("SELECT FROM whaply.sessions").is_err());
}

/// The row after the last has the next id.
#[track_caller]
fn assert_goes_on(copy: &Database) {
    let last: i32 = copy.value("SELECT max(id) FROM whaply.sessions", &[]);
    let next = "INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (1, 'next') RETURNING id";
    assert_eq!(copy.value::<i32>(next, &[]), last + 1);
}

#[test]
fn a_new_cluster_has_every_row_sequence_setting_grant_and_policy_from_a_dump_of_either_format() {
    let source = cluster();
    let original = original(&source);
    let (plain, custom) = (source.dump_with_database(&original), source.dump_to_file(&original));

    let elsewhere = cluster();
    elsewhere.restore_roles(&source.dump_roles());
    let copy = elsewhere.restore_with_database(NAME, &plain);
    assert_same(&copy, &original);
    assert_goes_on(&copy);
    drop(copy);
    let copy = elsewhere.restore_file_with_database(NAME, &custom);
    assert_same(&copy, &original);
    assert_goes_on(&copy);
}

/// pg_restore knows the order of tables that an extension made with one session only.
#[test]
fn a_parallel_restore_fails_at_foreign_keys_unless_it_is_told_not_to_check_them() {
    let cluster = cluster();
    let original = original(&cluster);
    let dump = cluster.dump_to_file(&original);

    let copy = cluster.create_empty_database("in_parallel");
    let made = cluster.restore_section(&copy, &dump, "pre-data");
    assert!(made.status.success(), "{made:?}");
    // One session is kept from the tenants; the other does not wait for it.
    let mut holder = copy.connect();
    holder.batch_execute("BEGIN; LOCK TABLE whaply.tenants IN SHARE MODE").expect("it is empty");
    let filled = cluster.restore_section(&copy, &dump, "data");
    let complaint = String::from_utf8_lossy(&filled.stderr);
    assert!(!filled.status.success() && complaint.contains("foreign key"), "{complaint}");
    drop(holder);

    let copy = cluster.create_empty_database("without_checks");
    cluster.restore_in_parallel(&copy, &dump);
    assert_same_contents(&contents(&copy), &contents(&original));
    assert_goes_on(&copy);
}
