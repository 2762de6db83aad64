//! What each provider is sent, and how a chat becomes a dialogue it accepts.

use crate::llm::*;

fn model(provider: Provider, base_url: &str) -> Model {
    Model {
        provider,
        base_url: Url::parse(base_url).unwrap(),
        name: "some-model".into(),
        max_tokens: 512,
        api_key: Some(Secret::new("key-of-the-tenant")),
    }
}

fn turn(speaker: Speaker, text: &str) -> Turn {
    Turn { speaker, text: text.into() }
}

fn prompt(turns: Vec<Turn>) -> Prompt {
    Prompt { system: "You sell shoes.".into(), turns }
}

fn asked(provider: Provider, base_url: &str, turns: Vec<Turn>) -> (HttpRequest, Value) {
    let request = request(&model(provider, base_url), &prompt(turns), Duration::from_secs(60));
    let body = serde_json::from_str(&request.body).unwrap();
    (request, body)
}

fn question() -> Vec<Turn> {
    vec![turn(Speaker::Customer, "Do you have size 40?")]
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose())
}

/// The (role, content) pairs of a request.
fn roles(turns: Vec<Turn>) -> Vec<(String, String)> {
    let (_, body) = asked(Provider::Anthropic, "https://api.anthropic.com", turns);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (text(&message["role"]), text(&message["content"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(role, text)| ((*role).into(), (*text).into())).collect()
}

#[test]
fn a_provider_is_read_in_any_case_and_written_in_one() {
    assert_eq!("Anthropic".parse(), Ok(Provider::Anthropic));
    assert_eq!("OPENAI".parse(), Ok(Provider::OpenAi));
    assert_eq!("gemini".parse::<Provider>(), Err(UnknownProvider("gemini".into())));
    for provider in Provider::ALL {
        assert_eq!(provider.as_str().parse(), Ok(provider));
        assert!(Url::parse(provider.default_base_url()).is_ok());
    }
}

#[test]
fn anthropic_gets_key_version_system_and_limit() {
    let (request, body) = asked(Provider::Anthropic, "https://api.anthropic.com", question());
    assert_eq!(request.url.as_str(), "https://api.anthropic.com/v1/messages");
    assert_eq!(header(&request, "x-api-key"), Some("key-of-the-tenant"));
    assert_eq!(header(&request, "anthropic-version"), Some("2023-06-01"));
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!(
        body,
        serde_json::json!({
            "model": "some-model",
            "max_tokens": 512,
            "system": "You sell shoes.",
            "messages": [{ "role": "user", "content": "Do you have size 40?" }]
        })
    );
}

#[test]
fn anthropic_base_may_already_hold_the_version() {
    for base in ["http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"] {
        let (request, _) = asked(Provider::Anthropic, base, question());
        assert_eq!(request.url.as_str(), "http://127.0.0.1:8080/v1/messages");
    }
}

#[test]
fn openai_gets_bearer_key_and_system_message_first() {
    let (request, body) = asked(Provider::OpenAi, "https://gw.example/x/v1?tag=1", question());
    assert_eq!(request.url.as_str(), "https://gw.example/x/v1/chat/completions?tag=1");
    assert_eq!(header(&request, "authorization"), Some("Bearer key-of-the-tenant"));
    assert_eq!(body["messages"][0]["role"], "system");
    assert_eq!(body["messages"][1]["content"], "Do you have size 40?");
}

#[test]
fn only_openai_and_azure_are_told_max_completion_tokens() {
    for (base, name) in [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://shop.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://notapi.openai.com/v1", "max_tokens"),
        ("https://api.groq.com/openai/v1", "max_tokens"),
        ("http://127.0.0.1:8080/v1", "max_tokens"),
    ] {
        let (_, body) = asked(Provider::OpenAi, base, question());
        let limits: Vec<_> =
            body.as_object().unwrap().keys().filter(|key| key.contains("tokens")).collect();
        assert_eq!(limits, [name], "{base}");
    }
}

#[test]
fn without_a_key_no_key_header_is_sent() {
    for provider in Provider::ALL {
        let model = Model { api_key: None, ..model(provider, "http://127.0.0.1:8080/v1") };
        let request = request(&model, &prompt(question()), Duration::from_secs(1));
        assert_eq!(header(&request, "authorization"), None);
        assert_eq!(header(&request, "x-api-key"), None);
    }
}

#[test]
fn a_blank_system_text_is_left_out() {
    let prompt = Prompt { system: " \n".into(), turns: question() };
    for provider in Provider::ALL {
        let model = model(provider, provider.default_base_url());
        let request = request(&model, &prompt, Duration::from_secs(1));
        assert!(!request.body.contains("system"), "{}", request.body);
    }
}

#[test]
fn lines_of_one_speaker_become_one_turn() {
    use Speaker::{Business, Customer};
    let turns = vec![
        turn(Customer, "Hi"),
        turn(Customer, "are you open?"),
        turn(Business, "Yes."),
        turn(Business, "  "),
        turn(Business, "Until six."),
        turn(Customer, "Great"),
    ];
    let expected =
        [("user", "Hi\nare you open?"), ("assistant", "Yes.\nUntil six."), ("user", "Great")];
    assert_eq!(roles(turns), pairs(&expected));
}

#[test]
fn a_dialogue_opens_and_closes_with_the_customer() {
    let turns = vec![
        turn(Speaker::Business, "Your order is ready."),
        turn(Speaker::Customer, "Where?"),
        turn(Speaker::Business, "One moment."),
    ];
    let expected = [
        ("user", "[conversation started by the business]"),
        ("assistant", "Your order is ready."),
        ("user", "Where?"),
        ("assistant", "One moment."),
        ("user", "[please answer the customer's last message]"),
    ];
    assert_eq!(roles(turns), pairs(&expected));
}

#[test]
fn an_empty_history_still_makes_a_request() {
    for turns in [vec![], vec![turn(Speaker::Customer, " ")]] {
        assert_eq!(roles(turns), pairs(&[("user", "[the customer's message has no text]")]));
    }
}
