//! Proves the throw-away cluster and the relay with PostgreSQL alone: whaply is not installed here.

use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Cluster, ClusterOptions, Database, EvolutionOptions, FakeEvolution, Relay, StopMode, Webhook,
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(10);

fn cluster() -> &'static Cluster {
    static PLAIN: OnceLock<Cluster> = OnceLock::new();
    PLAIN.get_or_init(|| Cluster::start(ClusterOptions::without_preload()))
}

/// What stands in for `whaply.webhook`: it keeps the body, or raises what the body asks for.
const WEBHOOK: &str = "
    CREATE SCHEMA whaply;
    CREATE TABLE taken (body json, headers json);
    CREATE FUNCTION whaply.webhook(json) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        -- As text, since ->> would refuse a body with a NUL in it.
        IF $1::text LIKE '{\"raise\"%' THEN
            RAISE EXCEPTION 'as ordered' USING ERRCODE = $1->>'raise', HINT = 'do not ask for it';
        END IF;
        INSERT INTO taken VALUES ($1, current_setting('request.headers')::json);
        RETURN '{\"action\": \"taken\"}';
    END $$";

fn database_with_webhook(cluster: &Cluster) -> Database {
    let database = cluster.create_empty_database("relay");
    database.execute(WEBHOOK);
    database
}

fn post(relay: &Relay, body: &str) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let client = config.timeout_global(Some(LIMIT)).build().new_agent();
    let mut answer = client.post(relay.url()).send(body).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body");
    (answer.status().as_u16(), serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn a_webhook_goes_through_the_relay_unchanged() {
    let database = database_with_webhook(cluster());
    let relay = Relay::start(&database);
    let evolution = FakeEvolution::start(EvolutionOptions::default());
    let shop = evolution.create_instance("loja-demo");
    shop.set_webhook(Webhook::to(relay.url()).with_header("X-Whaply-Secret", "s"));
    let said = shop.customer_says("5511999990001", "nul \u{0} e 1e400").delivered();
    assert_eq!(said.answer().json(), json!({ "action": "taken" }));
    let secret = "SELECT headers->>'x-whaply-secret' FROM taken";
    assert_eq!(database.value::<String>(secret, &[]), "s");
    let body: String = database.value("SELECT body::text FROM taken", &[]);
    assert!(body.contains("nul \\u0000 e 1e400"), "{body}");
}

#[test]
fn an_sqlstate_becomes_the_status_that_postgrest_makes_of_it() {
    let database = database_with_webhook(cluster());
    let relay = Relay::start(&database);
    let expected = [
        ("PT401", 401),
        ("PT503", 503),
        ("22023", 400),
        ("P0001", 400),
        ("P0002", 500),
        ("42501", 401),
        ("23505", 409),
        ("40001", 500),
        ("53300", 503),
    ];
    for (code, status) in expected {
        let (answered, body) = post(&relay, &json!({ "raise": code }).to_string());
        assert_eq!((answered, &body["code"]), (status, &json!(code)));
        assert_eq!(body["hint"], "do not ask for it");
    }
    assert_eq!(post(&relay, "not json").0, 400);
}

#[test]
fn the_relay_survives_a_restart_and_a_kill_of_the_server() {
    let cluster = Cluster::start(ClusterOptions::without_preload());
    let database = database_with_webhook(&cluster);
    let relay = Relay::start(&database);
    assert_eq!(post(&relay, "{}").0, 200);
    cluster.restart();
    assert_eq!(post(&relay, "{}").0, 200);
    cluster.kill_postmaster();
    assert_eq!(post(&relay, "{}").0, 503);
    cluster.restart();
    wait_until("the relay to work again", LIMIT, || {
        let (status, body) = post(&relay, "{}");
        if status == 200 { Ok(()) } else { Err(body.to_string()) }
    });
    assert!(cluster.log().contains("was interrupted"), "it recovered from a crash");
}

#[test]
fn a_dump_can_be_restored() {
    let database = cluster().create_empty_database("dumped");
    database.execute("CREATE TABLE notes AS SELECT 'it''s here' AS note");
    let copy = cluster().create_empty_database("restored");
    cluster().restore(&copy, &cluster().dump(&database));
    assert_eq!(copy.value::<String>("SELECT note FROM notes", &[]), "it's here");
}

#[test]
fn a_setting_is_there_for_the_next_session() {
    let database = cluster().create_empty_database("settings");
    cluster().set("application_name", "it's set");
    cluster().set("log_min_duration_statement", "5s");
    let shown: String = database.value("SHOW log_min_duration_statement", &[]);
    assert_eq!(shown, "5s");
}

#[test]
fn nothing_is_left_of_a_dropped_cluster() {
    let cluster = Cluster::start(ClusterOptions::without_preload());
    let directory: String =
        cluster.connect("postgres").query_one("SHOW data_directory", &[]).expect("a row").get(0);
    let port = cluster.port();
    cluster.stop(StopMode::Fast);
    cluster.restart();
    drop(cluster);
    assert!(!std::path::Path::new(&directory).exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
