//! How much one tenant may have at the model at once, and that neither this nor a broken model costs
//! any other tenant anything. What a failure costs the tenant itself is elsewhere.

use support::scene::webhook_of;
use support::{
    Cluster, ClusterOptions, FakeLlm, Instance, LlmBehaviour, LlmOptions, PATIENCE, Person, Scene,
    SceneOptions, SendBehaviour, shared_cluster, wait_until,
};

/// A second tenant of the scene, with the same model and settings but for the limit.
fn neighbour_of(scene: &Scene) -> Instance {
    let shop = scene.evolution.create_instance("outra-loja");
    let sql = "INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key,
                      llm_provider, llm_base_url, llm_model, llm_api_key, debounce)
               SELECT $1, evo_server_url, $2, llm_provider, llm_base_url, llm_model, llm_api_key,
                      debounce
                 FROM whaply.tenants RETURNING id";
    let tenant_id: i32 = scene.db.value(sql, &[&shop.name(), &shop.token()]);
    shop.set_webhook(webhook_of(&scene.db, tenant_id, &scene.relay.url()));
    shop
}

#[test]
fn max_in_flight_holds_back_the_tenants_next_call_and_no_other_tenants() {
    let options = SceneOptions::default().with("max_in_flight", "1");
    let scene = Scene::start_with(shared_cluster(), "in_flight", options);
    let neighbour = neighbour_of(&scene);
    let gate = scene.llm.hold();
    scene.shop.customer_says("5511999990001", "Sou a primeira?").delivered();
    gate.wait_until_reached(PATIENCE);
    let second = scene.shop.customer_says("5511999990002", "Sou o segundo?").delivered();

    // The neighbour's comes later and is due later: when it is answered, the second was passed over.
    neighbour.customer_says("5511999990003", "Sou de outra loja?").delivered();
    neighbour.wait_for_sent(1, PATIENCE);
    assert_eq!(questions_at_the_model(&scene), ["Sou a primeira?", "Sou de outra loja?"]);
    assert_eq!(scene.action(&second.id).as_deref(), Some("ai_queued"));

    gate.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&second.id).as_deref(), Some("ai_replied"));
    let asked = questions_at_the_model(&scene);
    assert_eq!(asked, ["Sou a primeira?", "Sou de outra loja?", "Sou o segundo?"]);
}

fn questions_at_the_model(scene: &Scene) -> Vec<String> {
    scene.llm.requests().iter().map(|request| request.last_user_text()).collect()
}

/// More than a tenant may have at the model at once (`whaply.max_in_flight`).
const MANY_CHATS: usize = 40;
const MAX_IN_FLIGHT: usize = 32;

#[track_caller]
fn many_customers_ask(shop: &Instance) {
    for number in 0..MANY_CHATS {
        let customer = Person::with_phone(&format!("55119999800{number:02}"));
        shop.customer_says(&customer, "Tem alguém?").delivered();
    }
}

/// It accepts every call, and never answers.
#[test]
fn a_tenant_whose_model_server_is_dead_delays_no_other() {
    let scene = Scene::start(shared_cluster(), "dead_server");
    let neighbour = neighbour_of(&scene);
    let dead = FakeLlm::start();
    dead.decide(|_| LlmBehaviour::Hang);
    scene.set_tenant(&format!("llm_base_url = '{}/v1'", dead.url()));
    many_customers_ask(&scene.shop);
    dead.wait_for_requests(MAX_IN_FLIGHT, PATIENCE);
    for number in 1..=3 {
        neighbour.customer_says("5511999990003", "Sou de outra loja?").delivered();
        neighbour.wait_for_sent(number, PATIENCE);
    }
    assert_eq!(scene.shop.sent().len(), 0);
    assert_eq!(dead.requests().len(), MAX_IN_FLIGHT, "no call has ended, so no other began");
}

/// Its Evolution takes every call and never ends one. Without a limit it would have every thread.
#[test]
fn a_tenant_whose_evolution_is_dead_delays_no_other() {
    const MOST_SENDS: usize = 4;
    let options = ClusterOptions::default().with("whaply.worker_threads", "16");
    let cluster = Cluster::start(options.with("whaply.send_timeout", "5min"));
    let options = SceneOptions::default().with("max_in_flight", &MOST_SENDS.to_string());
    let scene = Scene::start_with(&cluster, "dead_evolution", options);
    let neighbour = neighbour_of(&scene);
    scene.shop.decide_sends(|_| SendBehaviour::Hang);
    many_customers_ask(&scene.shop);
    let answered = "SELECT count(*) FROM whaply.replies WHERE state = 'sending'";
    wait_until("every answer to be written", PATIENCE, || {
        scene.db.value::<i64>(answered, &[]) == MANY_CHATS as i64
    });
    for number in 1..=3 {
        neighbour.customer_says("5511999990003", "Sou de outra loja?").delivered();
        neighbour.wait_for_sent(number, PATIENCE);
    }
    assert_eq!(scene.shop.send_calls().len(), MOST_SENDS, "no call has ended, so no other began");
    assert_eq!(scene.shop.sent().len(), 0);
}

#[test]
fn a_tenant_whose_key_is_wrong_delays_no_other() {
    let llm = LlmOptions { api_key: Some("key-of-the-tenant".to_owned()), ..LlmOptions::default() };
    let scene = Scene::start_with(
        shared_cluster(),
        "wrong_key",
        SceneOptions { llm, ..SceneOptions::default() },
    );
    let neighbour = neighbour_of(&scene);
    scene.set_tenant("llm_api_key = 'a-wrong-key'");
    many_customers_ask(&scene.shop);
    neighbour.customer_says("5511999990003", "Sou de outra loja?").delivered();
    neighbour.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 0);
    let failed = "SELECT count(*) FROM whaply.replies WHERE state = 'failed' AND attempt = 1";
    assert_eq!(scene.db.value::<i64>(failed, &[]), MANY_CHATS as i64, "each was tried once");
    neighbour.customer_says("5511999990003", "Ainda?").delivered();
    neighbour.wait_for_sent(2, PATIENCE);
}
