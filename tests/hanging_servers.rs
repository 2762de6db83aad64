//! Servers that take every call and end none, a model's and two gateways at once: their tenants wait,
//! and everybody else is answered. How much one tenant may have in flight is tested in `limits`.

use support::backlog::customers_have_asked;
use support::scene::insert_tenant;
use support::{
    Cluster, ClusterOptions, EvolutionOptions, FakeEvolution, FakeLlm, LlmBehaviour, PATIENCE,
    Scene, SceneOptions, SendBehaviour, wait_until,
};

/// Few enough that any one of the servers would take them all.
const THREADS: usize = 32;

/// What each of the hanging tenants may have in flight: no limit of its own holds it back.
const MAX_IN_FLIGHT: &str = "100";
const CHATS: i32 = 60;

/// A tenant with these servers, whose customers have all asked.
fn tenant_with_questions(scene: &Scene, name: &str, evolution: &FakeEvolution, llm: &FakeLlm) {
    let shop = evolution.create_instance(name);
    shop.decide_sends(|_| SendBehaviour::Hang);
    let columns = [
        ("instance_name", name),
        ("evo_server_url", &evolution.url()),
        ("evo_api_key", shop.token()),
        ("llm_provider", "openai"),
        ("llm_base_url", &format!("{}/v1", llm.url())),
        ("max_in_flight", MAX_IN_FLIGHT),
        ("answers_per_tenant", "0"),
    ];
    let columns = columns.map(|(column, value)| (column.to_owned(), value.to_owned()));
    let id = insert_tenant(&scene.db, &columns);
    customers_have_asked(&scene.db, id, CHATS);
}

#[test]
fn three_servers_that_hang_delay_nobody_but_their_own_tenants() {
    let options = ClusterOptions::default()
        .with("whaply.worker_threads", &THREADS.to_string())
        .with("whaply.poll_interval", "100ms")
        .with("whaply.send_timeout", "5min")
        .with("whaply.llm_timeout", "5min");
    let cluster = Cluster::start(options);
    let scene = Scene::start_with(&cluster, "hanging", SceneOptions::default());
    let dead_model = FakeLlm::start();
    dead_model.decide(|_| LlmBehaviour::Hang);
    let dead = [(); 2].map(|()| FakeEvolution::start(EvolutionOptions::default()));
    tenant_with_questions(&scene, "model-hangs", &scene.evolution, &dead_model);
    tenant_with_questions(&scene, "first-gateway-hangs", &dead[0], &scene.llm);
    tenant_with_questions(&scene, "second-gateway-hangs", &dead[1], &scene.llm);

    dead_model.wait_for_requests(1, PATIENCE);
    for gateway in &dead {
        gateway.wait_for_request("sendText", PATIENCE);
    }
    let generated = "SELECT count(*) FROM whaply.replies WHERE state = 'sending'";
    wait_until("every answer that can be generated", PATIENCE, || {
        scene.db.value::<i64>(generated, &[]) == i64::from(2 * CHATS)
    });
    for number in 1..=3 {
        scene.shop.customer_says("5511999990003", "Vocês atendem?").delivered();
        scene.shop.wait_for_sent(number, PATIENCE);
    }
    let held = [dead_model.requests().len(), dead[0].requests().len(), dead[1].requests().len()];
    assert!(held.iter().all(|calls| *calls <= THREADS / 2), "{held:?}");
    assert!(held.iter().sum::<usize>() < THREADS, "{held:?}");
}
