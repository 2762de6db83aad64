//! A number that is linked from SQL: `connect_instance` makes the instance in Evolution, sets its
//! webhook and shows the QR code, whatever fails on the way. That no key gets out is shown, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use postgres::error::SqlState;
use support::worker::{wait_for_next_worker, wait_for_worker};
use support::{
    Cluster, ClusterOptions, EvolutionOptions, Instance, PATIENCE, Scene, SceneOptions, wait_until,
};

const MARIA: &str = "5511999990001@s.whatsapp.net";
const SHOP: &str = "loja-demo";

/// The server's own setting of Evolution's global key, which the fakes have by default.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        // Always the same file with the same words: nobody removes it.
        let file = std::env::temp_dir().join("whaply-tests-global-key");
        let key = EvolutionOptions::default().global_key;
        if fs::read_to_string(&file).ok().as_ref() != Some(&key) {
            fs::write(&file, key).expect("a file of our own");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("our own");
        }
        let source = format!("file:{}", file.display());
        let options = ClusterOptions::default().in_a_hurry();
        Cluster::start(options.with("whaply.evolution_api_key", &source))
    })
}

/// A tenant of an instance that Evolution does not have yet.
fn unmade(prefix: &str) -> Scene {
    unmade_with(prefix, SceneOptions::default())
}

fn unmade_with(prefix: &str, options: SceneOptions) -> Scene {
    let scene = Scene::start_with(cluster(), prefix, options);
    scene.evolution.delete_instance(SHOP);
    scene.set_tenant("evo_api_key = NULL");
    scene
}

#[track_caller]
fn connect(scene: &Scene) -> i64 {
    let url = scene.relay.url();
    scene.db.value("SELECT whaply.connect_instance($1, $2)", &[&SHOP, &url])
}

#[track_caller]
fn state(scene: &Scene) -> Option<String> {
    scene.db.value("SELECT whaply.instance_state($1)", &[&SHOP])
}

#[track_caller]
fn qr(scene: &Scene) -> Option<String> {
    scene.db.value("SELECT whaply.instance_qr($1)", &[&SHOP])
}

#[track_caller]
fn error(scene: &Scene) -> Option<String> {
    let sql = "SELECT error FROM whaply.instance_requests ORDER BY id DESC LIMIT 1";
    scene.db.value(sql, &[])
}

#[track_caller]
fn wait_for_state(scene: &Scene, wanted: &str) {
    wait_until(&format!("the instance to be {wanted}"), PATIENCE, || match state(scene) {
        Some(state) if state == wanted => Ok(()),
        other => Err(format!("{other:?}: {:?}", error(scene))),
    });
}

#[track_caller]
fn wait_for_error(scene: &Scene, words: &str) {
    wait_until(&format!("an error about {words}"), PATIENCE, || {
        let error = error(scene).unwrap_or_default();
        if error.contains(words) { Ok(()) } else { Err(error) }
    });
}

/// Waits for the instance that the worker makes.
#[track_caller]
fn made(scene: &Scene) -> Instance {
    wait_until("the instance to be made", PATIENCE, || scene.evolution.instance(SHOP))
}

fn token(scene: &Scene) -> Option<String> {
    scene.db.value("SELECT evo_api_key FROM whaply.tenants", &[])
}

fn calls(scene: &Scene, path: &str) -> usize {
    scene.evolution.requests().iter().filter(|request| request.path.contains(path)).count()
}

/// The drawing of what the instance's newest code says.
fn drawing(scene: &Scene, shop: &Instance) -> Option<String> {
    scene.db.value("SELECT whaply.draw_qr($1)", &[&shop.qr()])
}

#[track_caller]
fn wait_for_qr(scene: &Scene, shop: &Instance) {
    wait_until("the newest QR code", PATIENCE, || {
        let shown = qr(scene);
        shown.is_some() && shown == drawing(scene, shop)
    });
}

/// What stands anywhere but in the columns that are for keys.
#[track_caller]
fn assert_kept_secret(scene: &Scene, secrets: &[&str]) {
    let relations = "SELECT c.oid::regclass::text FROM pg_class c
                      WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'v')";
    for relation in scene.db.column::<String>(relations, &[]) {
        let sql = format!(
            "SELECT coalesce(string_agg((to_jsonb(r) - ARRAY['evo_api_key', 'webhook_secret',
                                       'llm_api_key'])::text, ' '), '') FROM {relation} r"
        );
        let rows: String = scene.db.value(&sql, &[]);
        for secret in secrets {
            assert!(!rows.contains(secret), "{secret} stands in {relation}: {rows}");
        }
    }
    let log = cluster().log();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} stands in the server's log");
    }
}

#[test]
fn a_number_is_linked_from_nothing_and_its_customers_are_answered() {
    let mut scene = unmade("from_nothing");
    assert_eq!(state(&scene), None);
    connect(&scene);
    let shop = made(&scene);
    wait_for_state(&scene, "scan_qr");
    wait_for_qr(&scene, &shop);
    let code = shop.qr().expect("it is shown");
    shop.is_scanned().delivered();
    assert_eq!(state(&scene).as_deref(), Some("connected"));
    assert_eq!((qr(&scene), error(&scene)), (None, None));
    assert_eq!(token(&scene).as_deref(), Some(shop.token()));
    let row = "SELECT state FROM whaply.instance_requests
                WHERE finished_at IS NOT NULL AND qr IS NULL AND pairing_code IS NULL";
    assert_eq!(scene.db.value::<String>(row, &[]), "connected");

    // What Evolution tells from here on comes by the webhook that was set.
    scene.shop = shop.clone();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1);
    let webhook = shop.webhook().expect("it is set");
    let secret = &webhook.headers[support::scene::SECRET_HEADER];
    assert_kept_secret(&scene, &[shop.token(), scene.evolution.global_key(), secret, &code]);
}

#[test]
fn an_instance_that_is_open_keeps_its_key_and_gets_the_webhook() {
    let scene = Scene::start(cluster(), "kept");
    let before = token(&scene);
    scene.shop.set_webhook(support::Webhook::to("http://127.0.0.1:9/elsewhere"));
    connect(&scene);
    wait_for_state(&scene, "connected");
    assert_eq!(token(&scene), before);
    assert_eq!((calls(&scene, "/create"), calls(&scene, "/instance/connect/")), (0, 0));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_kept_secret(&scene, &[scene.shop.token()]);
}

#[test]
fn a_tenant_without_a_key_gets_that_of_the_instance_that_is_there() {
    let scene = Scene::start(cluster(), "fetched");
    scene.set_tenant("evo_api_key = NULL");
    connect(&scene);
    wait_for_state(&scene, "connected");
    assert_eq!(token(&scene).as_deref(), Some(scene.shop.token()));
    assert_eq!(calls(&scene, "/create"), 0);
}

#[test]
fn a_wrong_key_is_told_at_once_and_never_shown() {
    let global_key = "another-global-key".to_owned();
    let evolution = EvolutionOptions { global_key, ..EvolutionOptions::default() };
    let scene = unmade_with("wrong_key", SceneOptions { evolution, ..SceneOptions::default() });
    connect(&scene);
    wait_for_state(&scene, "failed");
    wait_for_error(&scene, "whaply.evolution_api_key");
    assert_eq!(calls(&scene, "/create"), 1, "it is not tried again");
    let found = "SELECT severity || ': ' || problem FROM whaply.health WHERE subject = 'connect'";
    let found: String = scene.db.value(found, &[]);
    assert!(found.starts_with("critical: connect_instance failed at"), "{found}");
    assert!(found.contains("whaply.evolution_api_key"), "{found}");

    scene.evolution.create_instance(SHOP);
    scene.set_tenant("evo_api_key = 'the-token-of-somebody-else'");
    connect(&scene);
    wait_for_error(&scene, "tenants.evo_api_key");
    assert_eq!(state(&scene).as_deref(), Some("failed"));
    assert_eq!(token(&scene).as_deref(), Some("the-token-of-somebody-else"));
    let used = EvolutionOptions::default().global_key;
    assert_kept_secret(&scene, &[&used, "the-token-of-somebody-else"]);
}

#[test]
fn evolution_may_be_down_for_a_while_but_not_for_ever() {
    let scene = unmade("down");
    scene.evolution.go_down();
    connect(&scene);
    wait_for_error(&scene, "it is tried again");
    assert_eq!(state(&scene).as_deref(), Some("waiting"));
    scene.evolution.come_back();
    wait_for_state(&scene, "scan_qr");
    assert_eq!(error(&scene), None);

    scene.evolution.go_down();
    connect(&scene);
    wait_for_state(&scene, "failed");
    wait_for_error(&scene, "given up after 6 tries");
    assert_eq!(qr(&scene), None);
}

#[test]
fn a_worker_that_ends_in_the_middle_leaves_the_request_to_the_next_one() {
    let scene = unmade("worker_ends");
    let pid = wait_for_worker(&scene.db);
    let gate = scene.evolution.hold("/webhook/set/");
    connect(&scene);
    gate.wait_until_reached(PATIENCE);
    assert_eq!(state(&scene).as_deref(), Some("working"));
    assert_eq!(token(&scene), None, "the instance is made, and nobody has noted its key");
    assert!(scene.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&pid]));
    wait_for_next_worker(&scene.db, pid);
    gate.release();
    wait_for_state(&scene, "scan_qr");
    let shop = made(&scene);
    assert_eq!(token(&scene).as_deref(), Some(shop.token()));
    assert_eq!(calls(&scene, "/create"), 1);
    shop.is_scanned().delivered();
    assert_eq!(state(&scene).as_deref(), Some("connected"));
}

#[test]
fn the_newest_code_is_shown_whether_its_webhook_comes_or_not() {
    let scene = unmade("newest_code");
    connect(&scene);
    wait_for_state(&scene, "scan_qr");
    let shop = made(&scene);
    shop.shows_another_qr().delivered();
    wait_for_qr(&scene, &shop);
    let asked = calls(&scene, "/instance/connect/");
    shop.makes_another_qr();
    wait_for_qr(&scene, &shop);
    assert!(calls(&scene, "/instance/connect/") > asked, "it was asked for");
    wait_for_error(&scene, "can Evolution reach webhook_url");

    // Nor does the webhook tell that it was scanned.
    shop.set_connection("open");
    wait_for_state(&scene, "connected");
    assert_eq!(qr(&scene), None);
}

#[test]
fn codes_that_nobody_scans_run_out_and_connecting_again_shows_another() {
    let scene = unmade("run_out");
    connect(&scene);
    wait_for_state(&scene, "scan_qr");
    let shop = made(&scene);
    shop.runs_out_of_codes().delivered();
    wait_for_state(&scene, "failed");
    assert_eq!(qr(&scene), None);
    wait_for_error(&scene, "call connect_instance again");
    connect(&scene);
    wait_for_state(&scene, "scan_qr");
    wait_for_qr(&scene, &shop);
}

#[test]
fn a_second_request_takes_the_place_of_the_first_after_its_calls_have_ended() {
    let scene = unmade("superseded");
    let gate = scene.evolution.hold("/webhook/set/");
    let elsewhere = "http://127.0.0.1:9/elsewhere";
    let first: i64 = scene.db.value("SELECT whaply.connect_instance($1, $2)", &[&SHOP, &elsewhere]);
    gate.wait_until_reached(PATIENCE);
    let second = connect(&scene);
    let states = "SELECT id, state FROM whaply.instance_requests ORDER BY id";
    let rows = scene.db.rows(states, &[]);
    let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(first, "superseded".to_owned()), (second, "waiting".to_owned())]);
    gate.release();
    wait_for_state(&scene, "scan_qr");
    let shop = made(&scene);
    assert_eq!(shop.webhook().expect("it is set").url, scene.relay.url());
    assert_eq!(token(&scene).as_deref(), Some(shop.token()));
    assert_eq!(calls(&scene, "/create"), 1);
}

#[test]
fn what_cannot_be_meant_is_refused_without_repeating_the_url() {
    let scene = Scene::start(cluster(), "refused");
    let refused = |instance: &str, url: &str| {
        let sql = "SELECT whaply.connect_instance($1, $2)";
        let error = scene.db.connect().query(sql, &[&instance, &url]).expect_err("it is refused");
        let error = error.as_db_error().expect("the server's own error").clone();
        assert!(!error.message().contains("secret"), "{error:?}");
        error.code().clone()
    };
    assert_eq!(refused("nobody", "https://db.example.com"), SqlState::from_code("P0002"));
    for url in ["ftp://user:secret@host/", "secret", "https://", ""] {
        assert_eq!(refused(SHOP, url), SqlState::INVALID_PARAMETER_VALUE, "{url}");
    }
    scene.set_tenant("home = 'elsewhere'");
    let copied = refused(SHOP, "https://db.example.com");
    assert_eq!(copied, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_eq!(calls(&scene, "/"), 0, "nobody was called");
}
