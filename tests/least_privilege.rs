//! The role that all of whaply runs as: that nothing runs as another, that what is planted gets no more than
//! it has, what happens when it goes missing, and what a dump brings back of roles and rows. Which level may
//! do what is in pg_regress, `access` and `rows`.

use std::collections::BTreeSet;

use support::listener::{
    cluster_with_listener, free_address, message, request, silent_tenant, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::worker::{sleeps_of, wait_for_worker, worker_pid};
use support::{
    Cluster, ClusterOptions, Database, PATIENCE, Person, Scene, shared_cluster, wait_until, writers,
};

const WORKER: [&str; 1] = ["whaply_worker"];

#[test]
fn a_conversation_from_the_webhook_to_the_answer_is_written_by_whaply_worker() {
    let scene = Scene::start(shared_cluster(), "as_worker");
    writers::watch(&scene.db);
    scene.shop.customer_says(Person::maria(), "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    scene.db.execute("SELECT whaply.pause_session('loja-demo', '5511999990001')");
    scene.db.execute("SELECT whaply.resume_session('loja-demo', '5511999990001')");
    assert_eq!(writers::roles_of_processes(&scene.db), WORKER);
    for table in ["sessions", "messages", "processed_events", "replies", "deliveries"] {
        assert_eq!(writers::roles_in(&scene.db, table), WORKER, "{table}");
    }
}

#[test]
fn what_the_listener_stores_is_written_by_whaply_worker() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("listener_as_worker");
    let secret = silent_tenant(&db, "loja");
    writers::watch(&db);
    wait_until_well(address);
    let body = message("loja", "FIRST", "Oi").to_string();
    let headers = [(SECRET_HEADER, secret.as_str())];
    assert_eq!(request(address, "POST", "/webhook", &headers, body.as_bytes()).status, 200);
    assert_eq!(writers::roles_of_processes(&db), WORKER);
    assert_eq!(writers::roles_in(&db, "messages"), WORKER);

    // Without the role it takes nothing, and says when to come again.
    db.execute("ALTER ROLE whaply_worker RENAME TO somebody");
    let second = message("loja", "SECOND", "Oi").to_string();
    let refused = request(address, "POST", "/webhook", &headers, second.as_bytes());
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("whaply_worker"), "{refused:?}");
    db.execute("ALTER ROLE somebody RENAME TO whaply_worker");
    assert_eq!(request(address, "POST", "/webhook", &headers, second.as_bytes()).status, 200);
}

/// As if somebody had been granted TRIGGER, or a superuser had put it there without looking.
#[test]
fn a_trigger_on_a_table_of_whaply_gets_no_more_than_whaply_worker_has() {
    let scene = Scene::start(shared_cluster(), "planted");
    scene.db.execute(
        "CREATE TABLE public.tried (statement text, sqlstate text);
         GRANT INSERT ON public.tried TO PUBLIC;
         CREATE TABLE public.payroll (salary integer);
         CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             tried text;
         BEGIN
             FOREACH tried IN ARRAY ARRAY[
                 'ALTER ROLE whaply_worker SUPERUSER', 'CREATE ROLE planted', 'TABLE public.payroll',
                 'SET ROLE postgres', 'RESET ROLE; SET SESSION AUTHORIZATION postgres',
                 'CREATE FUNCTION whaply.planted() RETURNS integer LANGUAGE sql AS $s$SELECT 1$s$',
                 'CREATE TABLE whaply.planted ()', 'CREATE TEMP TABLE planted ()', 'TRUNCATE whaply.messages',
                 'ALTER TABLE whaply.tenants DISABLE ROW LEVEL SECURITY', 'DELETE FROM whaply.tenants',
                 $s$COPY public.tried TO PROGRAM 'true'$s$, $s$SELECT pg_read_file('postgresql.conf')$s$,
                 $s$SELECT pg_reload_conf()$s$, 'LISTEN planted'] LOOP
                 BEGIN
                     EXECUTE tried;
                     INSERT INTO public.tried VALUES (tried, 'done');
                 EXCEPTION WHEN OTHERS THEN
                     INSERT INTO public.tried VALUES (tried, SQLSTATE);
                 END;
             END LOOP;
             RETURN NEW;
         END $$;
         CREATE TRIGGER planted BEFORE INSERT OR UPDATE ON whaply.replies
             FOR EACH ROW EXECUTE FUNCTION public.planted()",
    );
    scene.shop.customer_says(Person::maria(), "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    let tried = "SELECT DISTINCT statement || ': ' || sqlstate FROM public.tried";
    let tried: BTreeSet<String> = scene.db.column(tried, &[]).into_iter().collect();
    assert_eq!(tried.len(), 15, "{tried:#?}");
    // 0A000: not in a background process; 42501: not allowed, and not in a security-restricted operation.
    let stopped = |one: &&String| one.ends_with("42501") || one.ends_with("0A000");
    let done: Vec<_> = tried.iter().filter(|one| !stopped(one)).collect();
    assert!(done.is_empty(), "{done:#?}");
}

/// Roles are the whole server's: a server of its own.
#[test]
fn without_its_role_the_worker_says_so_once_and_waits_for_it() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "50ms");
    let cluster = Cluster::start(options);
    let scene = Scene::start(&cluster, "without_role");
    let pid = wait_for_worker(&scene.db);
    scene.shop.customer_says(Person::maria(), "Oi?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();

    scene.db.execute("ALTER ROLE whaply_worker RENAME TO somebody");
    let said = "nothing is answered or sent: the role whaply_worker is missing";
    wait_until("the worker to say it", PATIENCE, || cluster.log().contains(said));
    let health = "SELECT problem FROM whaply.health WHERE subject = 'role'";
    let problem: String = scene.db.value(health, &[]);
    assert!(problem.contains("whaply_worker is missing"), "{problem}");
    let ingest = scene.db.connect().batch_execute("SELECT whaply.auto_resume()");
    let error = ingest.expect_err("nothing can be done");
    let error = error.as_db_error().expect("the server's own error");
    assert!(error.hint().is_some_and(|hint| hint.contains("RENAME")), "{error:?}");
    let said_not = scene.shop.customer_says(Person::maria(), "E agora?");
    said_not.wait_for_attempts(1, PATIENCE);
    let sleeps = sleeps_of(pid);
    wait_until("the worker to look a few times", PATIENCE, || sleeps_of(pid) > sleeps + 5);
    assert_eq!(cluster.log().matches(said).count(), 1, "{}", cluster.log());

    // A worker that begins without it waits as well.
    cluster.restart();
    let pid = wait_for_worker(&scene.db);
    let sleeps = sleeps_of(pid);
    wait_until("the worker to look a few times", PATIENCE, || sleeps_of(pid) > sleeps + 5);
    assert_eq!(worker_pid(&scene.db), Some(pid), "it does not start again and again");

    scene.db.execute("ALTER ROLE somebody RENAME TO whaply_worker");
    said_not.delivered();
    scene.shop.wait_for_sent(2, PATIENCE);
    assert_eq!(worker_pid(&scene.db), Some(pid));
}

/// What a role sees of a database, and may do in it.
fn seen_by(db: &Database, role: &str) -> Vec<String> {
    let mut client = db.connect();
    let set = client.batch_execute(&format!("SET ROLE {role}"));
    set.expect("the role is there");
    let sql = "SELECT 'chat ' || chat_id FROM whaply.sessions
               UNION ALL SELECT 'tenant ' || instance_name FROM whaply.tenant_settings
               UNION ALL SELECT 'may read ' || column_name FROM information_schema.column_privileges
                          WHERE table_schema = 'whaply' AND table_name = 'tenants' AND privilege_type = 'SELECT'
               ORDER BY 1";
    client.query(sql, &[]).expect("it may read").iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_dump_brings_back_who_sees_which_rows() {
    let cluster = shared_cluster();
    let original = cluster.create_database("roles_original");
    let role = format!("of_loja_{}", std::process::id());
    original.execute(&format!(
        "INSERT INTO whaply.tenants (instance_name, evo_server_url, mode)
         VALUES ('loja', 'http://127.0.0.1:1', 'off'), ('outra', 'http://127.0.0.1:1', 'off');
         INSERT INTO whaply.sessions (tenant_id, chat_id) SELECT id, 'of ' || instance_name FROM whaply.tenants;
         CREATE ROLE {role};
         SELECT whaply.grant_access('{role}', 'operator', 'loja')"
    ));
    let expected = seen_by(&original, &role);
    let of_outra = expected.iter().filter(|one| one.contains("outra")).count();
    assert!(expected.len() > 20 && of_outra == 0, "{expected:?}");
    assert!(!expected.iter().any(|one| one.contains("api_key") || one.contains("secret_before")));

    let restored = cluster.create_empty_database("roles_restored");
    cluster.restore(&restored, &cluster.dump(&original));
    assert_eq!(seen_by(&restored, &role), expected);
    let counts = "SELECT (SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = polrelid
                           WHERE relnamespace = 'whaply'::regnamespace AND relrowsecurity)";
    assert_eq!(restored.value::<i64>(counts, &[]), original.value::<i64>(counts, &[]));
    // The role belongs to the server, which outlives these databases.
    for db in [&original, &restored] {
        db.execute(&format!("DROP OWNED BY {role}"));
    }
    original.execute(&format!("DROP ROLE {role}"));
}

#[test]
fn a_role_whaply_worker_that_somebody_else_made_for_himself_is_refused() {
    let cluster = Cluster::start(ClusterOptions::default());
    let db = cluster.create_empty_database("foreign");
    let create = || {
        db.connect().batch_execute("CREATE EXTENSION whaply").map_err(|error| {
            error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default()
        })
    };
    db.execute("CREATE ROLE mallory LOGIN; CREATE ROLE whaply_worker ROLE mallory");
    assert!(create().expect_err("it has a member").contains("members"));
    db.execute("REVOKE whaply_worker FROM mallory; ALTER ROLE whaply_worker LOGIN");
    assert!(create().expect_err("it can log in").contains("more than it needs"));
    db.execute("ALTER ROLE whaply_worker NOLOGIN; CREATE SCHEMA whaply AUTHORIZATION mallory");
    assert!(create().expect_err("it is mallory's schema").contains("others may create"));
    db.execute(
        "SET ROLE mallory; CREATE FUNCTION whaply.format(text, name) RETURNS text LANGUAGE sql AS 'SELECT $1'; RESET ROLE;
         ALTER SCHEMA whaply OWNER TO CURRENT_USER",
    );
    assert!(create().expect_err("it holds mallory's function").contains("of others"));
    db.execute("DROP SCHEMA whaply CASCADE");
    create().expect("now it is nobody's");

    // What is granted later is told of.
    let told = "SELECT count(*) FROM whaply.health WHERE subject = 'role' AND problem LIKE '%reads every key'";
    for (change, count) in [
        ("SELECT", 0_i64),
        ("GRANT whaply_worker TO mallory", 1),
        ("REVOKE whaply_worker FROM mallory; ALTER ROLE whaply_worker LOGIN", 1),
        ("ALTER ROLE whaply_worker NOLOGIN", 0),
        ("GRANT TRIGGER ON whaply.messages, whaply.replies TO mallory", 1),
        ("REVOKE ALL ON ALL TABLES IN SCHEMA whaply FROM mallory", 0),
    ] {
        db.execute(change);
        assert_eq!(db.value::<i64>(told, &[]), count, "{change}");
    }

    // An update runs as a superuser, too.
    let older = cluster.create_database_of("0.3.0", "foreign_update");
    older.execute("GRANT CREATE ON SCHEMA whaply TO mallory");
    let update = || older.connect().batch_execute("ALTER EXTENSION whaply UPDATE");
    let error = update().expect_err("mallory may create objects in it");
    assert!(format!("{error:?}").contains("others may create"), "{error:?}");
    older.execute("REVOKE CREATE ON SCHEMA whaply FROM mallory");
    update().expect("now nobody may");
}

/// What the database says is granted of whaply to a role, or to PUBLIC.
fn granted_to(db: &Database, role: &str) -> Vec<String> {
    let granted = format!(
        "SELECT DISTINCT granted.object FROM (
             SELECT c.relname::text, c.relacl FROM pg_class c WHERE c.relnamespace = 'whaply'::regnamespace
              UNION ALL
             SELECT p.proname::text, coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p
              WHERE p.pronamespace = 'whaply'::regnamespace) AS granted (object, acl), aclexplode(granted.acl) AS one
          WHERE one.grantee IN (0, '{role}'::regrole) ORDER BY 1"
    );
    db.column(&granted, &[])
}

/// As Supabase's documents have it for a schema that the API is to show.
#[test]
fn default_privileges_give_nothing_of_the_extension_away() {
    let cluster = shared_cluster();
    let role = format!("by_default_{}", std::process::id());
    let defaults = format!(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA whaply GRANT ALL ON TABLES TO {role}, PUBLIC;
         ALTER DEFAULT PRIVILEGES IN SCHEMA whaply GRANT ALL ON SEQUENCES TO {role};
         ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {role}"
    );
    let fresh = cluster.create_empty_database("defaults");
    fresh.execute(&format!(
        "CREATE ROLE {role}; CREATE SCHEMA whaply; {defaults}; CREATE EXTENSION whaply"
    ));
    assert_eq!(granted_to(&fresh, &role), Vec::<String>::new());
    fresh.execute("SELECT whaply.stop_worker()");

    // What somebody had granted before an update stays.
    let updated = cluster.create_database_of("0.3.0", "defaults_updated");
    let granted = format!("GRANT SELECT ON whaply.messages TO {role}");
    updated.execute(&format!("{granted}; {defaults}; ALTER EXTENSION whaply UPDATE"));
    assert_eq!(granted_to(&updated, &role), ["messages"]);
    for db in [&fresh, &updated] {
        db.execute(&format!("DROP OWNED BY {role}"));
    }
    fresh.execute(&format!("DROP ROLE {role}"));
}

#[test]
fn no_session_takes_the_place_of_the_worker() {
    let db = shared_cluster().create_database("taken_place");
    wait_for_worker(&db);
    assert!(db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let mut session = db.connect();
    // The two ways in which SQL can lock the numbers of the worker's lock.
    let locks = "SELECT pg_advisory_lock(x'776861706c79'::bigint), pg_advisory_lock(x'7768'::integer, x'61706c79'::integer)";
    session.batch_execute(locks).expect("anybody may");
    assert_eq!(worker_pid(&db), None);
    assert!(db.value::<bool>("SELECT whaply.start_worker()", &[]));
    let of_the_worker = "SELECT backend_type FROM pg_stat_activity WHERE pid = $1";
    assert_eq!(db.value::<String>(of_the_worker, &[&worker_pid(&db)]), "whaply reply worker");
}
