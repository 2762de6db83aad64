//! A dump of a running database, restored elsewhere: every row comes back, and the copy stays silent
//! until it is told that it is the one. Two assistants in one chat would be worse than none.

use support::copies::{answer_for_a_tenant_of_its_own, served_elsewhere};
use support::every_row::{assert_same_contents, contents};
use support::scene::webhook_of;
use support::worker::wait_for_worker;
use support::{
    Cluster, ClusterOptions, Database, Gate, PATIENCE, Relay, Scene, SendBehaviour, StopMode,
    wait_until,
};

const ANSWERED: &str = "5511999990001";
const PAUSED: &str = "5511999990002";
const SENDING: &str = "5511999990003";
const GENERATING: &str = "5511999990004";
const WAITING: &str = "5511999990005";
const TOO_OLD: &str = "5511999990006";
const ASKED_IN_THE_COPY: &str = "5511999990007";

/// The calls that the test holds must not time out, nor anything run by the clock.
fn patient_cluster() -> Cluster {
    let options = ClusterOptions::default().in_a_hurry();
    let options = options.with("whaply.llm_timeout", "10min").with("whaply.send_timeout", "10min");
    Cluster::start(options.with("whaply.maintenance_interval", "0"))
}

/// A chat in every state that a dump can find it in.
fn play_until_everything_is_open(scene: &Scene) {
    let shop = &scene.shop;
    let said = shop.customer_says(ANSWERED, "Abrem aos domingos?").delivered();
    shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    shop.customer_edits(&said, "Abrem no domingo?").delivered();
    shop.owner_types(PAUSED, "Eu mesmo atendo").delivered();

    let sending = Gate::closed();
    shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    shop.customer_says(SENDING, "Entregam?").delivered();
    sending.wait_until_reached(PATIENCE);
    shop.wait_for_echo(&shop.sent()[1].id, PATIENCE);
    let generating = scene.llm.hold();
    shop.customer_says(GENERATING, "Qual o preço?").delivered();
    generating.wait_until_reached(PATIENCE);

    scene.db.execute("UPDATE whaply.tenants SET debounce = '1 hour', debounce_max = '1 hour'");
    shop.customer_says(WAITING, "Tem alguém?").delivered();
    shop.customer_says(TOO_OLD, "Alô?").delivered();
    scene.db.execute(
        "INSERT INTO whaply.refused_webhooks (reason, refused) VALUES ('unknown_instance', 3);
         INSERT INTO whaply.connect_requests (tenant_id, webhook_url, state, finished_at)
         SELECT id, 'http://127.0.0.1:1/webhook', 'connected', now() FROM whaply.tenants;
         SELECT whaply.grant_access('pg_monitor', 'operator', 'loja-demo') -- a role of every server",
    );
    scene.db.execute(&format!(
        "UPDATE whaply.replies SET created_at = now() - interval '2 hours'
          WHERE chat_id LIKE '{TOO_OLD}%'"
    ));
}

fn states(db: &Database) -> Vec<String> {
    let sql = "SELECT split_part(chat_id, '@', 1) || ' ' || state FROM whaply.replies ORDER BY id";
    db.column(sql, &[])
}

#[test]
fn a_restored_dump_is_complete_and_silent_until_it_is_adopted() {
    let source = patient_cluster();
    let scene = Scene::start(&source, "source");
    play_until_everything_is_open(&scene);
    let dump = source.dump(&scene.db);

    let elsewhere = patient_cluster();
    let copy = elsewhere.create_empty_database("copy");
    elsewhere.restore(&copy, &dump);
    wait_for_worker(&copy);
    let (original, copied) = (contents(&scene.db), contents(&copy));
    assert_same_contents(&copied, &original);
    assert_eq!(copied.len(), 18, "ten tables, eight sequences");
    let empty = copied.iter().filter(|(_, rows)| rows.is_empty()).map(|(name, _)| name.as_str());
    assert_eq!(empty.collect::<Vec<_>>(), ["whaply.chat_aliases"], "the test plays the others");

    // The shop's webhooks come here from now on.
    let relay = Relay::start(&copy);
    copy.execute("UPDATE whaply.tenants SET debounce = '0', debounce_max = '0'");
    scene.shop.set_webhook(webhook_of(&copy, scene.tenant_id, &relay.url()));
    let calls = (scene.llm.requests().len(), scene.shop.sent().len());
    let asked = scene.shop.customer_says(ASKED_IN_THE_COPY, "E aqui, tem alguém?").delivered();
    assert_eq!(asked.answer().json()["action"], "ai_queued");
    answer_for_a_tenant_of_its_own(&scene, &copy, &relay);
    assert_eq!((scene.llm.requests().len(), scene.shop.sent().len()), (calls.0 + 1, calls.1));
    assert_eq!(served_elsewhere(&copy), ["loja-demo"]);
    assert!(copy.value::<bool>("SELECT whaply.wait_until_idle('60 s')", &[]));

    source.stop(StopMode::Fast);
    copy.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    assert_eq!(copy.value::<i64>("SELECT whaply.adopt_tenants()", &[]), 1);
    assert_adopted(&scene, &copy);
    assert_eq!(copy.value::<i64>("SELECT whaply.adopt_tenants()", &[]), 0);
}

/// What was open is finished, and nobody gets a message twice.
fn assert_adopted(scene: &Scene, copy: &Database) {
    let finished = "SELECT bool_and(state IN ('sent', 'failed')) FROM whaply.replies";
    wait_until("the copy to finish what was open", PATIENCE, || {
        if copy.value::<bool>(finished, &[]) { Ok(()) } else { Err(format!("{:?}", states(copy))) }
    });
    let mut answered: Vec<String> =
        scene.shop.sent().iter().map(|sent| sent.number[..ANSWERED.len()].to_owned()).collect();
    answered.sort();
    assert_eq!(answered, [ANSWERED, SENDING, GENERATING, WAITING, ASKED_IN_THE_COPY]);
    let failed: Vec<String> = copy.column(
        "SELECT split_part(m.chat_id, '@', 1) FROM whaply.messages m
           JOIN whaply.processed_events e USING (tenant_id, message_id)
          WHERE e.action_taken = 'ai_failed'",
        &[],
    );
    assert_eq!(failed, [TOO_OLD]);
    let questions = "SELECT count(*) FROM whaply.processed_events WHERE action_taken = 'ai_queued'";
    assert_eq!(copy.value::<i64>(questions, &[]), 0);
    assert_eq!(served_elsewhere(copy), Vec::<String>::new());
}
