//! A new library above the tables of the release before: between the package and ALTER EXTENSION UPDATE
//! everything goes on as it did, and the update itself nobody notices. Older tables are in upgrade.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::every_row::versions;
use support::listener::{cluster_with_listener, free_address, message, wait_until_well};
use support::scene::{base_url, columns_of_model, insert_tenant, webhook_of};
use support::worker::wait_for_worker;
use support::{
    Cluster, ClusterOptions, Database, EvolutionOptions, Instance, ModelServer, Person, Said,
    Scene, SceneOptions, wait_until, writers,
};

const LIMIT: Duration = Duration::from_secs(120);

const MARIA: &str = "5511999990001";

const DIFFER: &str =
    "it is served as before, without what is new: run ALTER EXTENSION whaply UPDATE";

/// Of each kind: how many are asked before the update begins, and after it has ended.
const ASKED_BEFORE: usize = 12;
const ASKED_AFTER: usize = 12;

fn database_of_the_release_before(cluster: &Cluster, prefix: &str) -> Database {
    let versions = versions();
    cluster.create_database_of(versions[versions.len() - 2], prefix)
}

fn scene_of_the_release_before(cluster: &Cluster, prefix: &str) -> Scene {
    // A webhook may come while the tables are locked.
    let evolution = EvolutionOptions { retry_scale: 0.1, ..EvolutionOptions::default() };
    let options = SceneOptions { evolution, ..SceneOptions::default() };
    let options = options.with("debounce", "0").with("answers_per_tenant", "0");
    Scene::start_in(database_of_the_release_before(cluster, prefix), options)
}

fn update(db: &Database) {
    db.execute("ALTER EXTENSION whaply UPDATE");
}

#[track_caller]
fn assert_every_view_can_be_read(db: &Database) {
    let views: Vec<String> = db.column(
        "SELECT oid::regclass::text FROM pg_class
          WHERE relnamespace = 'whaply'::regnamespace AND relkind = 'v'",
        &[],
    );
    assert!(views.len() > 5, "{views:?}");
    views.iter().for_each(|view| db.execute(&format!("SELECT * FROM {view}")));
}

#[test]
fn above_the_tables_of_the_release_before_all_works_as_it_did_and_the_log_says_once_what_to_do() {
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let scene = scene_of_the_release_before(&cluster, "before");
    let (db, shop) = (&scene.db, &scene.shop);
    let worker = wait_for_worker(db);
    shop.customer_says(MARIA, "Abrem aos domingos?").delivered();
    wait_until("the answer", LIMIT, || scene.texts_to(MARIA).len() == 1);
    shop.owner_types(MARIA, "Eu mesmo atendo").delivered();
    let says = |sql: &str| db.value::<bool>(&format!("SELECT {sql}"), &[]);
    assert!(says("whaply.resume_session('loja-demo', '5511999990001') IS NOT NULL"));
    assert!(says(
        "whaply.pause_session('loja-demo', '5511999990001', 'by hand', NULL) IS NOT NULL"
    ));
    assert!(says("whaply.resume_sessions('loja-demo', 'by hand') IS NOT NULL"));
    assert!(says(
        "whaply.send_message('loja-demo', '5511999990001', 'Até logo', false) IS NOT NULL"
    ));
    assert!(says("whaply.auto_resume() IS NOT NULL"));
    assert!(says("whaply.archive_messages(7) = 0"));
    assert!(says("whaply.webhook_settings('loja-demo') IS NOT NULL"));
    assert!(says("whaply.adopt_tenants() = 0"));
    assert!(says("whaply.worker_status() ->> 'status' = 'running'"));
    wait_until("what was sent by hand", LIMIT, || scene.texts_to(MARIA).len() == 2);
    scene.wait_until_idle();
    assert_every_view_can_be_read(db);

    update(db);
    shop.customer_says(MARIA, "E aos sábados?").delivered();
    wait_until("the next answer", LIMIT, || scene.texts_to(MARIA).len() == 3);
    assert_every_view_can_be_read(db);
    assert_eq!(wait_for_worker(db), worker, "it is the same process");
    assert_eq!(cluster.log().matches(DIFFER).count(), 1, "{}", cluster.log());
    let differ = "SELECT count(*) FROM whaply.health WHERE subject = 'version'";
    assert_eq!(db.value::<i64>(differ, &[]), 0);
}

/// What the roles were granted by hand is all there is: `grant_access` came later.
#[test]
fn roles_above_the_tables_of_the_release_before_may_what_they_were_granted() {
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let db = database_of_the_release_before(&cluster, "roles");
    db.execute(
        "INSERT INTO whaply.tenants (instance_name, evo_server_url, mode) VALUES ('loja', 'http://127.0.0.1:1', 'off');
         CREATE ROLE poster; CREATE ROLE helper; CREATE ROLE nobody;
         GRANT USAGE ON SCHEMA whaply TO poster, helper, nobody;
         GRANT EXECUTE ON FUNCTION whaply.ingest(jsonb) TO poster;
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA whaply TO helper;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA whaply TO helper;
         GRANT EXECUTE ON FUNCTION whaply.pause_session(text, text, text, interval) TO helper",
    );
    let as_role = |role: &str, sql: &str| {
        let mut client = db.connect();
        client.batch_execute(&format!("SET ROLE {role}")).expect("the role is there");
        client.batch_execute(sql).map_err(|error| error.as_db_error().map(|it| it.code().clone()))
    };
    let post = |id: &str| {
        let payload = message("loja", id, "Oi").to_string().replace('\'', "''");
        format!("SELECT whaply.ingest('{payload}')")
    };
    let pause = "SELECT whaply.pause_session('loja', '5511999990001', 'by hand', NULL)";
    assert_eq!(as_role("poster", &post("FIRST")), Ok(()));
    assert_eq!(as_role("helper", pause), Ok(()));
    for refused in [as_role("nobody", &post("SECOND")), as_role("nobody", pause)] {
        assert_eq!(refused.expect_err("nothing was granted").expect("an answer").code(), "42501");
    }
    let stored = "SELECT count(*) FROM whaply.messages";
    assert_eq!(db.value::<i64>(stored, &[]), 1);
    update(&db);
    assert_eq!(as_role("poster", &post("THIRD")), Ok(()));
    assert_eq!(db.value::<i64>(stored, &[]), 2);
}

/// A second shop of the same database, whose webhook is the listener.
fn shop_at_the_listener(scene: &Scene, url: &str) -> Instance {
    let shop = scene.evolution.create_instance("loja-do-listener");
    let model = ModelServer::At {
        url: base_url("openai", &scene.llm.url()),
        model: "fake-model".to_owned(),
        key: Some("key-of-the-other".to_owned()),
    };
    let mut columns = columns_of_model("openai", &model);
    let line = [
        ("instance_name", shop.name().to_owned()),
        ("evo_server_url", scene.evolution.url()),
        ("evo_api_key", shop.token().to_owned()),
        ("debounce", "0".to_owned()),
        ("answers_per_tenant", "0".to_owned()),
    ];
    columns.extend(line.map(|(name, value)| (name.to_owned(), value)));
    let tenant_id = insert_tenant(&scene.db, &columns);
    shop.set_webhook(webhook_of(&scene.db, tenant_id, url));
    shop
}

/// One way by which customers' messages come in; each says one thing, and its name is its number.
struct Door<'a> {
    name: &'a str,
    /// Comes back when the message was taken, or refused for good.
    say: &'a (dyn Fn(&Person) + Sync),
    taken: AtomicUsize,
}

impl Door<'_> {
    /// Lets customers speak one after the other until told to stop.
    fn keep_busy(&self, of_the_door: usize, is_over: &AtomicBool) {
        for number in 0..10_000 {
            (self.say)(&Person::with_phone(&format!("55119{of_the_door}{number:07}")));
            self.taken.fetch_add(1, Ordering::Relaxed);
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

#[track_caller]
fn ask_by_sql(scene: &Scene, who: &Person) {
    let line = scene.shop.line();
    let content = serde_json::json!({ "conversation": "Tem pão?" });
    let id = format!("SQL-{}", who.jid());
    let data = line.customer_message(who, &id, content, "conversation", chrono::Utc::now());
    let payload = line.envelope("messages.upsert", data, "http://sql");
    let answer: Value = scene.db.value("SELECT whaply.ingest($1)", &[&payload]);
    assert_eq!(answer["action"], "ai_queued");
}

#[test]
fn while_the_update_runs_under_load_nothing_is_refused_lost_or_doubled_and_all_are_answered() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let scene = scene_of_the_release_before(&cluster, "under_load");
    let other = shop_at_the_listener(&scene, &format!("http://{address}/webhook"));
    wait_for_worker(&scene.db);
    wait_until_well(address);

    let take = |said: Said| {
        let refused = said.answer();
        assert!(refused.is_success(), "{refused:#?}");
        let refused = said.attempts().into_iter().filter_map(|attempt| attempt.status);
        let refused: Vec<u16> = refused.filter(|status| (400..500).contains(status)).collect();
        assert_eq!(refused, Vec::<u16>::new(), "Evolution repeats no message that is refused so");
    };
    let through_webhook = |who: &Person| take(scene.shop.customer_says(who.clone(), "Tem bolo?"));
    let through_listener = |who: &Person| take(other.customer_says(who.clone(), "Tem torta?"));
    let through_sql = |who: &Person| ask_by_sql(&scene, who);
    let door = |name, say| Door { name, say, taken: AtomicUsize::new(0) };
    let doors: [Door<'_>; 3] = [
        door("webhook(json)", &through_webhook),
        door("the listener", &through_listener),
        door("SQL", &through_sql),
    ];
    let is_over = AtomicBool::new(false);
    let until_each_has_taken = |more: usize| {
        let before: Vec<usize> =
            doors.iter().map(|door| door.taken.load(Ordering::Relaxed)).collect();
        for (door, before) in doors.iter().zip(before) {
            wait_until(door.name, LIMIT, || door.taken.load(Ordering::Relaxed) >= before + more);
        }
    };
    thread::scope(|scope| {
        for (number, door) in doors.iter().enumerate() {
            let is_over = &is_over;
            scope.spawn(move || door.keep_busy(number, is_over));
        }
        until_each_has_taken(ASKED_BEFORE);
        update(&scene.db);
        until_each_has_taken(ASKED_AFTER);
        is_over.store(true, Ordering::Relaxed);
    });
    let asked: usize = doors.iter().map(|door| door.taken.load(Ordering::Relaxed)).sum();
    assert_all_answered_once(&scene, &other, asked);
    wait_until_well(address);

    // From now on it is the role of the new version that writes, everywhere.
    writers::watch(&scene.db);
    through_webhook(&Person::with_phone("5511999999998"));
    through_listener(&Person::with_phone("5511999999997"));
    assert_all_answered_once(&scene, &other, asked + 2);
    assert_eq!(writers::roles_of_processes(&scene.db), ["whaply_worker"]);
}

#[track_caller]
fn assert_all_answered_once(scene: &Scene, other: &Instance, asked: usize) {
    wait_until("all answers", LIMIT, || {
        let sent = scene.shop.sent().len() + other.sent().len();
        if sent >= asked { Ok(()) } else { Err(format!("{sent} of {asked}")) }
    });
    scene.wait_until_idle();
    let mut numbers: Vec<String> =
        scene.shop.sent().into_iter().chain(other.sent()).map(|sent| sent.number).collect();
    assert_eq!(numbers.len(), asked);
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), asked, "each customer has one answer");
    let stored = "SELECT count(*) FROM whaply.messages WHERE sender = 'customer'";
    assert_eq!(scene.db.value::<i64>(stored, &[]), asked as i64);
    let replies = "SELECT count(*) FROM whaply.replies WHERE state = 'sent'";
    assert_eq!(scene.db.value::<i64>(replies, &[]), asked as i64);
}
