//! A model provider asks to wait: every reply on the same account waits, and nobody else's.

use support::scene::{insert_tenant, webhook_of};
use support::{Instance, LlmBehaviour, PATIENCE, Scene, shared_cluster, wait_until};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";

/// Longer than any test: what waits for it is not asked before its end.
const FOR_LONG: u64 = 300;

/// Another tenant of the same database, with this key at the same model server.
fn neighbour(scene: &Scene, key: &str) -> Instance {
    let neighbour = scene.evolution.create_instance("padaria");
    let columns = [
        ("instance_name", "padaria"),
        ("evo_server_url", &scene.evolution.url()),
        ("evo_api_key", neighbour.token()),
        ("llm_provider", "openai"),
        ("llm_base_url", &format!("{}/v1", scene.llm.url())),
        ("llm_api_key", key),
        ("debounce", "50 ms"),
    ];
    let columns = columns.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let id = insert_tenant(&scene.db, &columns);
    neighbour.set_webhook(webhook_of(&scene.db, id, &scene.relay.url()));
    neighbour
}

/// Maria's question is put off by the provider.
#[track_caller]
fn put_off(scene: &Scene, seconds: u64) {
    scene.llm.next(LlmBehaviour::RateLimited(Some(seconds)));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    wait_until("the reply to be put off", PATIENCE, || {
        let reply = scene.replies().remove(0);
        (reply.deferrals == 1).then_some(()).ok_or_else(|| format!("{reply:#?}"))
    });
}

#[test]
fn a_provider_that_asks_to_wait_is_not_asked_for_another_chat_meanwhile() {
    let scene = Scene::start(shared_cluster(), "cool");
    let neighbour = neighbour(&scene, "another-key");
    put_off(&scene, FOR_LONG);
    let waiting = scene.shop.customer_says(JOAO, "And you?").delivered();
    // The neighbour asks after João, and is answered before him.
    neighbour.customer_says(MARIA, "Bread?").delivered();
    neighbour.wait_for_sent(1, PATIENCE);
    let due =
        "SELECT due_at < clock_timestamp() FROM whaply.replies WHERE chat_id LIKE '5511999990002%'";
    wait_until("João's reply to be due", PATIENCE, || scene.db.value::<bool>(due, &[]));
    neighbour.customer_says(JOAO, "Cake?").delivered();
    neighbour.wait_for_sent(2, PATIENCE);
    let reply = scene.replies().into_iter().find(|reply| reply.chat_id.starts_with(JOAO));
    let reply = reply.expect("João's reply waits");
    assert_eq!((reply.state.as_str(), reply.attempt, reply.deferrals), ("waiting", 0, 0));
    assert_eq!(scene.action(&waiting.id).as_deref(), Some("ai_queued"));
    let of_the_shop = scene.llm.requests().into_iter();
    let of_the_shop =
        of_the_shop.filter(|call| call.headers["authorization"] == "Bearer key-of-the-tenant");
    assert_eq!(of_the_shop.count(), 1, "the provider was left in peace");
    let log = shared_cluster().log();
    assert!(!log.contains("key-of-the-tenant") && !log.contains("another-key"));
}

#[test]
fn a_tenant_with_the_same_account_waits_too_and_both_are_answered_when_it_is_over() {
    let scene = Scene::start(shared_cluster(), "cool_shared");
    let neighbour = neighbour(&scene, "key-of-the-tenant");
    put_off(&scene, 1);
    neighbour.customer_says(JOAO, "Bread?").delivered();
    neighbour.wait_for_sent(1, PATIENCE);
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    let calls = scene.llm.requests();
    let waited = calls[1].at - calls[0].at;
    assert!(waited >= chrono::Duration::seconds(1), "asked again after {waited}");
    let costs = "SELECT attempt || '/' || deferrals FROM whaply.replies ORDER BY id";
    assert_eq!(scene.db.column::<String>(costs, &[]), ["2/1", "1/0"]);
}

#[test]
fn a_tenant_that_gets_another_key_need_not_wait() {
    let scene = Scene::start(shared_cluster(), "cool_new_key");
    put_off(&scene, FOR_LONG);
    let waiting = scene.shop.customer_says(JOAO, "And you?").delivered();
    scene.set_tenant("llm_api_key = 'another-key'");
    scene.wait_for_action(&waiting.id, "ai_replied");
}
