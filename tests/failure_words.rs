//! Every way in which a model fails, in both wire formats: each has its class and its words in
//! `replies.error`, and the customer sees none of it. What follows a failure is in model_failures.

use std::sync::OnceLock;

use serde_json::json;
use support::rows::Reply;
use support::{
    Cluster, ClusterOptions, LlmBehaviour, LlmOptions, PATIENCE, Person, Scene, SceneOptions,
    shared_cluster, wait_until,
};

/// A server whose worker waits minutes before it asks again: time to read the words.
fn patient_cluster() -> &'static Cluster {
    static PATIENT: OnceLock<Cluster> = OnceLock::new();
    PATIENT.get_or_init(|| {
        let options = ClusterOptions::default().with("whaply.retry_delay", "10min");
        Cluster::start(options.with("whaply.llm_timeout", "5s"))
    })
}

/// What a failure does to its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Asked again; it was an attempt.
    Retried,
    /// Asked again; it was none.
    Deferred,
    /// Not asked again.
    Final,
}

struct Case {
    /// Also the question, by which the model knows how to fail.
    name: &'static str,
    behaviour: LlmBehaviour,
    rule: Rule,
    words: &'static [&'static str],
}

fn case(
    name: &'static str,
    behaviour: LlmBehaviour,
    rule: Rule,
    words: &'static [&'static str],
) -> Case {
    Case { name, behaviour, rule, words }
}

/// The failures that look the same in both formats.
fn cases() -> Vec<Case> {
    use LlmBehaviour::{
        ContextTooLong, Cut, CutMidBody, Empty, Hang, Malformed, RateLimited, Refuse, Status,
        WrongKey,
    };
    let boom = || json!({ "error": { "message": "boom" } });
    vec![
        case(
            "wrong key",
            WrongKey,
            Rule::Final,
            &["answered 401", "check the tenant's llm_api_key"],
        ),
        case("too long", ContextTooLong, Rule::Final, &["answered 400", "lower history_limit"]),
        case("refused", Refuse, Rule::Final, &["refused to answer", "a person should answer"]),
        case("bad request", Status(400, boom(), None), Rule::Final, &["400: boom", "retry_reply"]),
        case("busy", RateLimited(None), Rule::Deferred, &["answered 429", "asked again later"]),
        case("busy for a while", RateLimited(Some(90)), Rule::Deferred, &["answered 429"]),
        case("down for a while", Status(503, boom(), Some(90)), Rule::Deferred, &["503: boom"]),
        case("broken", Status(500, boom(), None), Rule::Retried, &["500: boom", "asked again"]),
        case("bad gateway", Status(502, boom(), None), Rule::Retried, &["502: boom"]),
        case("slow", Hang, Rule::Retried, &["did not answer", "asked again"]),
        case("cut", Cut, Rule::Retried, &["did not answer"]),
        case("cut in the middle", CutMidBody, Rule::Retried, &["did not answer"]),
        case("malformed", Malformed, Rule::Retried, &["in a format that is not its own"]),
        case("empty", Empty, Rule::Retried, &["empty answer from"]),
    ]
}

/// Compares what each of the failures comes to. Those that are no attempts keep the tenant's whole
/// account waiting: each has a tenant of its own, and the others are asked for at once.
fn every_failure_has_its_words(prefix: &str, options: &SceneOptions, own: Vec<Case>) {
    let all = cases().into_iter().chain(own);
    let (deferred, others): (Vec<_>, Vec<_>) = all.partition(|case| case.rule == Rule::Deferred);
    let scenes = deferred.into_iter().map(|case| vec![case]).chain([others]);
    for (number, cases) in scenes.enumerate() {
        let prefix = format!("{prefix}_{number}");
        let scene = Scene::start_with(patient_cluster(), &prefix, options.clone());
        each_has_its_words(&scene, &cases);
    }
}

#[track_caller]
fn each_has_its_words(scene: &Scene, cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        scene.llm.when(&format!("({})", case.name), case.behaviour.clone());
        scene.shop.customer_says(customer(number), &format!("({})", case.name)).delivered();
    }
    for (number, case) in cases.iter().enumerate() {
        let reply = failed_reply(scene, &customer(number));
        for words in case.words {
            assert!(reply.why().contains(words), "{}: {}", case.name, reply.why());
        }
        let state = if case.rule == Rule::Final { "failed" } else { "waiting" };
        let deferrals = i32::from(case.rule == Rule::Deferred);
        let came_to = (reply.state.as_str(), reply.attempt, reply.deferrals);
        assert_eq!(came_to, (state, 1, deferrals), "{}: {reply:#?}", case.name);
    }
    assert_eq!(scene.shop.sent().len(), 0, "the customer sees none of it");
    assert_eq!(scene.deliveries().len(), 0);
}

fn customer(number: usize) -> Person {
    Person::with_phone(&format!("55119999900{number:02}"))
}

/// The reply in this chat, once something has failed.
fn failed_reply(scene: &Scene, who: &Person) -> Reply {
    wait_until("a failure", PATIENCE, || {
        let hers = scene.replies().into_iter().find(|reply| reply.chat_id == who.jid());
        hers.clone().filter(|reply| reply.error.is_some()).ok_or_else(|| format!("{hers:#?}"))
    })
}

#[test]
fn every_failure_of_anthropics_has_its_words() {
    let overloaded =
        case("overloaded", LlmBehaviour::Overloaded, Rule::Deferred, &["answered 529"]);
    every_failure_has_its_words("words_a", &SceneOptions::anthropic(), vec![overloaded]);
}

#[test]
fn every_failure_of_openais_has_its_words() {
    let overloaded = case("overloaded", LlmBehaviour::Overloaded, Rule::Retried, &["answered 503"]);
    let spent = json!({ "error": {
        "message": "You exceeded your current quota", "type": "insufficient_quota",
        "param": null, "code": "insufficient_quota",
    } });
    let spent = case(
        "spent",
        LlmBehaviour::Status(429, spent, None),
        Rule::Final,
        &["exceeded your current quota", "check the tenant's llm_api_key"],
    );
    every_failure_has_its_words("words_o", &SceneOptions::default(), vec![overloaded, spent]);
}

#[test]
fn an_unknown_model_fails_at_once_in_both_formats() {
    let formats = [("model_o", SceneOptions::default()), ("model_a", SceneOptions::anthropic())];
    for (prefix, options) in formats {
        let only = LlmOptions { models: vec!["another-model".to_owned()], ..LlmOptions::default() };
        let options = SceneOptions { llm: only, ..options };
        let scene = Scene::start_with(shared_cluster(), prefix, options);
        scene.shop.customer_says(customer(1), "Are you open?").delivered();
        let reply = scene.wait_for_reply("failed");
        assert_eq!(reply.attempt, 1);
        for words in ["answered 404", "fake-model", "llm_model"] {
            assert!(reply.why().contains(words), "{}", reply.why());
        }
        assert_eq!(scene.shop.sent().len(), 0);
    }
}

#[test]
fn of_an_answer_of_100_000_characters_five_parts_are_sent_and_the_reply_says_what_is_missing() {
    let formats = [("huge_o", SceneOptions::default()), ("huge_a", SceneOptions::anthropic())];
    for (prefix, options) in formats {
        let scene = Scene::start_with(shared_cluster(), prefix, options);
        // Without a space or a line's end at which it would be easy to cut.
        scene.llm.next(LlmBehaviour::Answer("é".repeat(100_000)));
        let question = scene.shop.customer_says(customer(1), "Tell me all").delivered();
        scene.wait_for_action(&question.id, "ai_replied");
        let lengths: Vec<usize> =
            scene.shop.sent_texts().iter().map(|text| text.chars().count()).collect();
        assert_eq!(lengths, [4_000; 5]);
        assert!(scene.reply().why().contains("80000 characters"), "{}", scene.reply().why());
        let next = scene.shop.customer_says(customer(1), "Thanks").delivered();
        scene.wait_for_action(&next.id, "ai_replied");
    }
}
