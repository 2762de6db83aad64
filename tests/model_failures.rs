//! The model fails in every way a provider knows: the customer never sees it, the owner is told.

use std::time::Duration;

use serde_json::json;
use support::{
    Cluster, ClusterOptions, LlmBehaviour, LlmOptions, PATIENCE, Scene, SceneOptions,
    SendBehaviour, shared_cluster, wait_until,
};

const MARIA: &str = "5511999990001";

const RETRY: &str = "SELECT whaply.retry_reply($1)";

fn broken() -> LlmBehaviour {
    LlmBehaviour::Status(500, json!({ "error": { "message": "boom" } }), None)
}

/// A tenant whose key is wrong, so that its first question fails.
fn scene_with_a_wrong_key(prefix: &str, key: &str, options: SceneOptions) -> Scene {
    let right = LlmOptions { api_key: Some("the-right-key".to_owned()), ..LlmOptions::default() };
    let options = SceneOptions { llm: right, ..options }.with("llm_api_key", key);
    Scene::start_with(shared_cluster(), prefix, options)
}

#[test]
fn a_failure_that_passes_costs_one_attempt() {
    let scene = Scene::start(shared_cluster(), "transient");
    let failures = [
        broken(),
        LlmBehaviour::Cut,
        LlmBehaviour::CutMidBody,
        LlmBehaviour::Malformed,
        LlmBehaviour::Empty,
        LlmBehaviour::Overloaded,
    ];
    for failure in failures {
        scene.llm.next(failure.clone());
        let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
        scene.wait_for_action(&question.id, "ai_replied");
        let reply = scene.replies().pop().expect("a reply");
        assert_eq!((reply.attempt, reply.deferrals), (2, 0), "after {failure:?}: {reply:#?}");
        assert_eq!(reply.error, None, "what was overcome is forgotten");
    }
    assert_eq!(scene.shop.sent().len(), 6);
}

#[test]
fn a_call_without_an_end_is_given_up_and_made_again() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.llm_timeout", "2s");
    let cluster = Cluster::start(options);
    let scene = Scene::start(&cluster, "hang");
    scene.llm.next(LlmBehaviour::Hang);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1);
    assert!(scene.reply().attempt > 1);
}

#[test]
fn a_busy_provider_is_asked_later_without_an_attempt() {
    for (prefix, options) in
        [("busy_o", SceneOptions::default()), ("busy_a", SceneOptions::anthropic())]
    {
        let scene = Scene::start_with(shared_cluster(), prefix, options);
        scene.llm.next(LlmBehaviour::RateLimited(Some(1)));
        let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
        scene.wait_for_action(&question.id, "ai_replied");
        let reply = scene.reply();
        assert_eq!((reply.attempt, reply.deferrals), (2, 1), "{reply:#?}");
    }
}

#[test]
fn a_wrong_key_fails_at_once_and_hands_the_chat_over() {
    let scene = scene_with_a_wrong_key("wrong_key", "wrong", SceneOptions::default());
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert_eq!(reply.attempt, 1, "no other try can help");
    assert!(reply.why().contains("check the tenant's llm_api_key"), "{}", reply.why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    let session = scene.session(MARIA);
    assert_eq!(session.pause_reason.as_deref(), Some("ai_failed"));
    assert!(session.paused_until.is_some(), "it ends by itself, since no person caused it");
    let failed: Vec<i64> = scene.db.column("SELECT id FROM whaply.failed_replies", &[]);
    assert_eq!(failed, [reply.id]);
    let health: i64 =
        scene.db.value("SELECT count(*) FROM whaply.health WHERE subject = 'replies'", &[]);
    assert_eq!(health, 1);

    scene.set_tenant("llm_api_key = 'the-right-key'");
    assert!(scene.db.value::<bool>(RETRY, &[&reply.id]));
    scene.wait_for_action(&question.id, "ai_replied");
    assert!(!scene.session(MARIA).is_paused, "the pause goes with the failure that caused it");
    assert_eq!(scene.shop.sent().len(), 1);
    assert!(!scene.db.value::<bool>(RETRY, &[&reply.id]), "it is sent: nothing to retry");
}

/// Everything a person can read without being shown the tenant's own row.
fn assert_nowhere(scene: &Scene, key: &str) {
    let relations = "SELECT c.relname::text FROM pg_class c
                      WHERE c.relnamespace = 'whaply'::regnamespace AND c.relkind IN ('r', 'v')
                        AND c.relname <> 'tenants'";
    for relation in scene.db.column::<String>(relations, &[]) {
        let sql = format!("SELECT to_jsonb(t)::text FROM whaply.{relation} t");
        for row in scene.db.column::<String>(&sql, &[]) {
            assert!(!row.contains(key), "{relation}: {row}");
        }
    }
    assert!(!shared_cluster().log().contains(key), "the server's log");
}

/// The fake repeats the key it refuses, as the real ones repeat a part of it.
#[test]
fn a_key_that_is_refused_is_repeated_nowhere() {
    for (prefix, options) in
        [("leak_o", SceneOptions::default()), ("leak_a", SceneOptions::anthropic())]
    {
        let key = format!("sk-secret-of-{prefix}");
        let scene = scene_with_a_wrong_key(prefix, &key, options);
        scene.shop.customer_says(MARIA, "Are you open?").delivered();
        scene.wait_for_reply("failed");
        assert_nowhere(&scene, &key);
    }
}

/// OpenRouter reports the errors of its upstreams with status 200.
#[test]
fn a_key_in_an_error_of_status_200_is_repeated_nowhere() {
    let key = "sk-secret-in-a-good-status";
    let options = SceneOptions::default().with("llm_api_key", key);
    let scene = Scene::start_with(shared_cluster(), "leak_200", options);
    let error = json!({ "error": { "code": 401, "message": format!("Invalid key {key}") } });
    scene.llm.next(LlmBehaviour::Status(200, error, None));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("Invalid key"), "{}", reply.why());
    assert_nowhere(&scene, key);
}

#[test]
fn the_fifth_failure_is_the_last_and_a_retry_starts_anew() {
    let scene = Scene::start(shared_cluster(), "five");
    (0..5).for_each(|_| scene.llm.next(broken()));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert_eq!((reply.attempt, scene.llm.requests().len()), (5, 5));
    assert!(reply.why().contains("boom"), "{}", reply.why());
    let since = "SELECT whaply.retry_replies('loja-demo', now() - interval '1 hour')";
    assert_eq!(scene.db.value::<i64>(since, &[]), 1);
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.reply().attempt, 1);
}

#[test]
fn a_server_that_is_down_fails_the_reply_and_a_retry_finds_it_up() {
    let scene = Scene::start(shared_cluster(), "down");
    scene.llm.go_down();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert_eq!(reply.attempt, 5);
    assert!(reply.why().contains("was not reached"), "{}", reply.why());
    scene.llm.come_back();
    assert!(scene.db.value::<bool>(RETRY, &[&reply.id]));
    scene.wait_for_action(&question.id, "ai_replied");
}

/// Here nothing was claimed yet when the reply failed.
#[test]
fn a_setting_that_is_wrong_fails_the_reply_and_a_retry_answers_once_it_is_right() {
    let scene = Scene::start(shared_cluster(), "setting");
    scene.set_tenant("llm_base_url = 'http://127.0.0.1:eighty/v1'");
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("llm_base_url is no URL"), "{}", reply.why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    scene.set_tenant(&format!("llm_base_url = '{}/v1'", scene.llm.url()));
    assert!(scene.db.value::<bool>(RETRY, &[&reply.id]));
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Are you open?"]);
}

#[test]
fn a_fallback_text_is_all_the_customer_sees_of_a_failure() {
    let options = SceneOptions::default()
        .with("on_failure", "fallback")
        .with("fallback_text", "One moment, please.");
    let scene = Scene::start_with(shared_cluster(), "fallback", options);
    scene.llm.next(LlmBehaviour::Refuse);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["One moment, please."]);
    assert_eq!(scene.deliveries()[0].kind, "fallback");
    assert_eq!((scene.reply().state.as_str(), scene.reply().attempt), ("failed", 1));
    assert!(scene.reply().why().contains("refused"), "{}", scene.reply().why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn both_sends_the_fallback_text_and_hands_the_chat_over() {
    let options =
        SceneOptions::default().with("on_failure", "both").with("fallback_text", "One moment.");
    let scene = Scene::start_with(shared_cluster(), "both", options);
    scene.llm.next(LlmBehaviour::Refuse);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
}

#[test]
fn a_takeover_keeps_the_fallback_text_back() {
    let patient = ClusterOptions::default().with("whaply.retry_delay", "10min");
    let cluster = Cluster::start(patient);
    let options =
        SceneOptions::default().with("on_failure", "both").with("fallback_text", "One moment.");
    let scene = Scene::start_with(&cluster, "fallback_takeover", options);
    scene.llm.next(LlmBehaviour::Refuse);
    scene.shop.next_send(SendBehaviour::ConnectionClosed500);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_delivery("a failed try", |delivery| delivery.error.is_some());
    scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    assert_eq!(scene.delivery_states(), ["cancelled"]);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("human_takeover"));
}

#[test]
fn without_a_consequence_the_next_question_is_simply_answered() {
    let options = SceneOptions::default().with("on_failure", "none");
    let scene = Scene::start_with(shared_cluster(), "none", options);
    scene.llm.next(LlmBehaviour::Refuse);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_reply("failed");
    assert!(!scene.session(MARIA).is_paused);
    let next = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&next.id, "ai_replied");
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: Are you open?\nHello?"]);
}

/// A failed reply that has not read the customer's last question is followed by one that does.
#[test]
fn a_question_that_came_during_a_failure_gets_its_own_reply() {
    let options = SceneOptions::default().with("on_failure", "none");
    let scene = Scene::start_with(shared_cluster(), "next_one", options);
    let generating = scene.llm.hold_then(LlmBehaviour::Refuse);
    let first = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    let second = scene.shop.customer_says(MARIA, "Hello?").delivered();
    generating.release();
    scene.wait_for_action(&second.id, "ai_replied");
    assert_eq!(scene.action(&first.id).as_deref(), Some("ai_failed"));
    assert_eq!(scene.replies().len(), 2);
}

#[test]
fn an_answer_cut_off_by_the_limit_is_sent_and_noted() {
    let scene = Scene::start(shared_cluster(), "truncated");
    scene.llm.next(LlmBehaviour::Truncated("We open at".to_owned()));
    let question = scene.shop.customer_says(MARIA, "When?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent_texts(), ["We open at"]);
    assert!(scene.reply().why().contains("max_tokens"), "{}", scene.reply().why());
}

#[test]
fn a_history_that_is_too_long_is_shortened_once() {
    let scene = Scene::start(shared_cluster(), "too_long");
    for question in ["one", "two", "three"] {
        let said = scene.shop.customer_says(MARIA, question).delivered();
        scene.wait_for_action(&said.id, "ai_replied");
    }
    scene.llm.next(LlmBehaviour::ContextTooLong);
    let question = scene.shop.customer_says(MARIA, "four").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let lengths: Vec<usize> =
        scene.llm.requests().iter().skip(3).map(|request| request.turns().len()).collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths[1] < lengths[0], "{lengths:?}");
    assert_eq!(scene.llm.requests()[4].last_user_text(), "four");
    assert_eq!(scene.replies()[3].attempt, 1, "both are one attempt");

    (0..2).for_each(|_| scene.llm.next(LlmBehaviour::ContextTooLong));
    scene.shop.customer_says(MARIA, "five").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("history_limit"), "{}", reply.why());
}

#[test]
fn an_answer_that_comes_too_late_for_its_expiry_is_given_up() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "expiry", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.db.execute(
        "UPDATE whaply.replies SET due_at = now(), created_at = created_at - interval '1 day'",
    );
    wait_until("the reply to fail", Duration::from_secs(60), || scene.reply().state == "failed");
    assert!(scene.reply().why().contains("reply_expiry"), "{}", scene.reply().why());
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_failed"));
    assert_eq!(scene.llm.requests().len(), 0);
}
