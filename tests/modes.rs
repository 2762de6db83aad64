//! The modes of a tenant, and the walls between tenants.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use support::scene::{insert_tenant, webhook_of};
use support::{
    Cluster, ClusterOptions, EvolutionOptions, FakeLlm, Gate, LlmBehaviour, LlmOptions,
    ModelServer, PATIENCE, Person, Scene, SceneOptions, SendBehaviour, shared_cluster,
};

const MARIA: &str = "5511999990001";

#[test]
fn mode_off_stores_and_says_nothing() {
    let options = SceneOptions::default().with("mode", "off");
    let scene = Scene::start_with(shared_cluster(), "off", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.set_tenant("mode = 'on'");
    scene.somebody_else_is_answered();
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_mode"));
    assert_eq!(scene.message(&question.id).text.as_deref(), Some("Are you open?"));
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
}

#[test]
fn mode_off_during_generation_keeps_the_answer_back() {
    let scene = Scene::start(shared_cluster(), "off_late");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.set_tenant("mode = 'off'");
    generating.release();
    scene.wait_for_reply("cancelled");
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_mode"));
    assert_eq!(scene.shop.sent().len(), 0);
}

#[test]
fn mode_draft_keeps_the_answer_for_a_person_to_read() {
    let options = SceneOptions::default().with("mode", "draft");
    let scene = Scene::start_with(shared_cluster(), "draft", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "drafted");
    let reply = scene.reply();
    assert_eq!(reply.state, "drafted");
    assert_eq!(reply.text.as_deref(), Some("Answer 1 to: Are you open?"));
    assert_eq!(scene.deliveries().len(), 0);
    assert_eq!(scene.shop.sent().len(), 0);
    let next = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&next.id, "drafted");
}

#[test]
fn mode_test_answers_the_chats_of_the_list_under_any_of_their_names() {
    let options =
        SceneOptions::default().with("mode", "test").with("test_chats", "{+55 (11) 99999-0001}");
    let scene = Scene::start_with(shared_cluster(), "test", options);
    let stranger = scene.shop.customer_says("5511999990002", "Are you open?").delivered();
    let maria = Person::with_phone(MARIA).and_lid("100000000000001").by_lid();
    let question = scene.shop.customer_says(&maria, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.action(&stranger.id).as_deref(), Some("ignored_mode"));
    assert_eq!(scene.shop.sent().len(), 1);
    // By her LID alone she is known by now.
    let again = scene.shop.customer_says(maria.without_alternative(), "And Sunday?").delivered();
    scene.wait_for_action(&again.id, "ai_replied");
}

/// It was on the list when its question came.
#[test]
fn a_chat_taken_from_the_list_gets_no_answer_that_was_under_way() {
    let options =
        SceneOptions::default().with("mode", "test").with("test_chats", "{5511999990001}");
    let scene = Scene::start_with(shared_cluster(), "unlisted", options);
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.set_tenant("test_chats = '{5511999999999}'");
    generating.release();
    let reply = scene.wait_for_reply("cancelled");
    assert!(reply.why().contains("test_chats"), "{}", reply.why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_mode"));
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
}

#[test]
fn a_chat_taken_from_the_list_between_two_parts_gets_no_second_one() {
    let options =
        SceneOptions::default().with("mode", "test").with("test_chats", "{5511999990001}");
    let scene = Scene::start_with(shared_cluster(), "unlisted_part", options);
    let part = |word: &str| vec![word; 600].join(" ");
    scene.llm.next(LlmBehaviour::Answer([part("one"), part("two")].join("\n\n")));
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(MARIA, "Tell me all").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.set_tenant("test_chats = '{5511999999999}'");
    sending.release();
    scene.wait_for_reply("cancelled");
    assert_eq!(scene.delivery_states(), ["sent", "cancelled"]);
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [part("one")]);
}

/// The same customer writes to two businesses: neither knows of the other.
#[test]
fn two_tenants_never_mix() {
    let options = SceneOptions::default()
        .with("system_prompt", "You sell shoes.")
        .with("llm_api_key", "key-of-the-shoes");
    let scene = Scene::start_with(shared_cluster(), "tenants", options);
    let bakery = scene.evolution.create_instance("padaria");
    let columns = [
        ("instance_name", "padaria"),
        ("evo_server_url", &scene.evolution.url()),
        ("evo_api_key", bakery.token()),
        ("llm_provider", "openai"),
        ("llm_base_url", &format!("{}/v1", scene.llm.url())),
        ("llm_api_key", "key-of-the-bread"),
        ("system_prompt", "You sell bread."),
        ("debounce", "200 ms"),
    ];
    let columns = columns.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bakery_id = insert_tenant(&scene.db, &columns);
    bakery.set_webhook(webhook_of(&scene.db, bakery_id, &scene.relay.url()));

    scene.shop.customer_says(MARIA, "Shoes?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    bakery.customer_says(MARIA, "Bread?").delivered();
    bakery.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Shoes?"]);
    assert_eq!(bakery.sent_texts(), ["Answer 2 to: Bread?"]);
    let requests = scene.llm.requests();
    for (request, (goods, key)) in requests.iter().zip([("shoes", "shoes"), ("bread", "bread")]) {
        assert!(request.system_text().starts_with(&format!("You sell {goods}.")));
        assert_eq!(request.headers["authorization"], format!("Bearer key-of-the-{key}"));
        assert_eq!(request.turns().len(), 1, "no history of the other's chat");
    }

    bakery.owner_types(MARIA, "I take over").delivered();
    let sql = "SELECT is_paused FROM whaply.sessions ORDER BY tenant_id";
    assert_eq!(scene.db.column::<bool>(sql, &[]), [false, true]);
    let question = scene.shop.customer_says(MARIA, "In size 40?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
}

/// The secret of one tenant opens no other tenant's webhook.
#[test]
fn a_tenant_cannot_post_in_the_name_of_another() {
    let scene = Scene::start(shared_cluster(), "secrets");
    let bakery = scene.evolution.create_instance("padaria");
    let columns = [("instance_name", "padaria"), ("evo_server_url", &scene.evolution.url())];
    let columns = columns.map(|(name, value)| (name.to_owned(), value.to_owned()));
    insert_tenant(&scene.db, &columns);
    bakery.set_webhook(webhook_of(&scene.db, scene.tenant_id, &scene.relay.url()));
    let answer = bakery.customer_says(MARIA, "Bread?").answer();
    assert_eq!(answer.status, Some(401), "{answer:#?}");
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM whaply.messages", &[]), 0);
}

/// Evolution can be set up to put the instance's token into every webhook.
#[test]
fn the_key_that_an_envelope_carries_is_not_kept() {
    let evolution = EvolutionOptions { expose_token: true, ..EvolutionOptions::default() };
    let options = SceneOptions { evolution, ..SceneOptions::default() };
    let scene = Scene::start_with(shared_cluster(), "envelope", options);
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let raw: Vec<String> =
        scene.db.column("SELECT coalesce(raw::text, '') FROM whaply.messages", &[]);
    assert_eq!(raw.len(), 2);
    assert!(!raw.iter().any(|raw| raw.contains(scene.shop.token())), "{raw:#?}");
}

#[test]
fn a_tenant_with_a_server_of_its_own_never_gets_the_key_of_the_settings() {
    let operators = FakeLlm::start();
    let mut key = tempfile::NamedTempFile::new().expect("a file");
    key.write_all(b"key-of-the-operator\n").expect("a line");
    // The server runs as somebody else where the tests run as root.
    key.as_file().set_permissions(PermissionsExt::from_mode(0o644)).expect("my own file");
    let cluster = Cluster::start(
        ClusterOptions::default()
            .in_a_hurry()
            .with("whaply.openai_api_key", &format!("file:{}", key.path().display()))
            .with("whaply.openai_base_url", &format!("{}/v1", operators.url()))
            .with("whaply.openai_model", "model-of-the-operator"),
    );
    let options = SceneOptions::default().model(ModelServer::OfSettings);
    let scene = Scene::start_with(&cluster, "keys", options);
    scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    let request = operators.requests().remove(0);
    assert_eq!(request.headers["authorization"], "Bearer key-of-the-operator");
    assert_eq!(request.model(), "model-of-the-operator");

    let own_server = format!("llm_base_url = '{}/v1'", scene.llm.url());
    scene.set_tenant(&own_server);
    scene.shop.customer_says(MARIA, "Hi again").delivered();
    scene.shop.wait_for_sent(2, PATIENCE);
    let request = scene.llm.requests().remove(0);
    assert_eq!(request.headers.get("authorization"), None, "it brings its own key or none");
}

#[test]
fn anthropics_wire_format_is_spoken() {
    let options = SceneOptions { llm: only("key-of-the-tenant"), ..SceneOptions::anthropic() };
    let scene = Scene::start_with(shared_cluster(), "anthropic", options.with("max_tokens", "77"));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let request = scene.llm.requests().remove(0);
    assert_eq!((request.path.as_str(), request.model()), ("/v1/messages", "fake-model"));
    assert_eq!(request.headers["x-api-key"], "key-of-the-tenant");
    assert_eq!(request.body["max_tokens"], 77);
    assert_eq!(scene.reply().provider.as_deref(), Some("anthropic"));
}

#[test]
fn openais_wire_format_is_spoken() {
    let options = SceneOptions { llm: only("key-of-the-tenant"), ..SceneOptions::default() };
    let scene = Scene::start_with(shared_cluster(), "openai", options.with("max_tokens", "77"));
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let request = scene.llm.requests().remove(0);
    assert_eq!((request.path.as_str(), request.model()), ("/v1/chat/completions", "fake-model"));
    assert_eq!(request.headers["authorization"], "Bearer key-of-the-tenant");
    assert_eq!(request.body["max_tokens"], 77);
    assert_eq!(request.body["messages"][0]["role"], "system");
}

fn only(key: &str) -> LlmOptions {
    LlmOptions { api_key: Some(key.to_owned()), models: vec!["fake-model".to_owned()] }
}
