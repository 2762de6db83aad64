//! A streaming standby: its worker and its listener sleep, everything can be read, and who would write is
//! told where to. Promoted, it is the one that speaks, without a word from anybody.

use std::time::Duration;

use serde_json::Value;
use support::copies::served_elsewhere;
use support::listener::{
    cluster_with_listener, free_address, message, wait_until_closed, wait_until_well,
};
use support::scene::webhook_of;
use support::worker::wait_for_worker;
use support::{
    Cluster, ClusterOptions, EvolutionOptions, Relay, Scene, SceneOptions, StopMode, wait_until,
};

const LIMIT: Duration = Duration::from_secs(120);

const ANSWERED: &str = "5511999990001";
const WAITING: &str = "5511999990002";
const ASKED_AT_THE_STANDBY: &str = "5511999990003";

#[test]
fn a_standby_sleeps_and_can_be_read_and_once_promoted_it_answers_what_is_open_by_itself() {
    let (here, there) = (free_address(), free_address());
    let primary = cluster_with_listener(here, ClusterOptions::default());
    let evolution = EvolutionOptions { retry_scale: 0.1, ..EvolutionOptions::default() };
    let options = SceneOptions { evolution, ..SceneOptions::default() };
    let scene = Scene::start_with(&primary, "primary", options);
    scene.shop.customer_says(ANSWERED, "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, LIMIT);
    scene.wait_until_idle();
    scene.db.execute("UPDATE whaply.tenants SET debounce = '1 hour', debounce_max = '1 hour'");
    let asked = scene.shop.customer_says(WAITING, "Tem alguém?").delivered();

    let options = ClusterOptions::default().in_a_hurry();
    let standby = Cluster::standby_of(&primary, &options.with("whaply.listen", &there.to_string()));
    let db = standby.existing_database(scene.db.name());
    let followed = "SELECT count(*) = 1 FROM whaply.messages WHERE message_id = $1";
    wait_until("the standby to follow", LIMIT, || db.value::<bool>(followed, &[&asked.id]));

    let views: Vec<String> = db.column(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'whaply'::regnamespace AND relkind = 'v'",
        &[],
    );
    views.iter().for_each(|view| db.execute(&format!("SELECT * FROM {view}")));
    let worker: Value = db.value("SELECT whaply.worker_status()", &[]);
    assert!(worker["pid"].is_null(), "{worker}");
    wait_until_closed(there);
    let processes = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'whaply%'";
    assert_eq!(db.value::<i64>(processes, &[]), 0, "all of whaply sleeps");
    let found: Vec<String> = db.column("SELECT severity || ' ' || subject FROM whaply.health", &[]);
    assert_eq!(found, ["info listener"]);

    let payload = message("loja-demo", "ON-A-STANDBY", "Oi");
    let refused = db.connect().query_one("SELECT whaply.ingest($1)", &[&payload]);
    let refused = refused.expect_err("it cannot write");
    let refused = refused.as_db_error().expect("an answer of the server");
    assert_eq!(refused.code().code(), "25006");
    assert!(refused.message().contains("this server is a standby"), "{refused:?}");
    assert_eq!(refused.hint(), Some("Send webhooks to the primary."));
    // Evolution repeats what is answered with 503.
    let relay = Relay::start(&db);
    scene.shop.set_webhook(webhook_of(&db, scene.tenant_id, &relay.url()));
    let said = scene.shop.customer_says(ASKED_AT_THE_STANDBY, "E agora?");
    let first = said.wait_for_attempts(1, LIMIT).remove(0);
    assert_eq!(first.status, Some(503), "{first:?}");

    primary.stop(StopMode::Fast);
    let calls = (scene.llm.requests().len(), scene.shop.sent().len());
    assert_eq!(calls, (1, 1), "nobody has spoken meanwhile");
    assert!(db.value::<bool>("SELECT pg_promote()", &[]));
    said.delivered();
    wait_for_worker(&db);
    wait_until_well(there);
    assert_eq!(served_elsewhere(&db), Vec::<String>::new(), "it is no copy");
    db.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    wait_until("both answers", LIMIT, || {
        [WAITING, ASKED_AT_THE_STANDBY].iter().all(|chat| scene.texts_to(chat).len() == 1)
    });
    assert_eq!(scene.texts_to(ANSWERED).len(), 1);
}
