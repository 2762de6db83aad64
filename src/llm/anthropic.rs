//! The Anthropic Messages API (version 2023-06-01), also served by llama.cpp. No tools, no
//! streaming, no prefill.

use serde_json::{Map, Value, json};
use url::Url;

use super::answer::{Answer, model_of, text_at, text_of, tokens_at, without_reasoning};
use super::{Failure, FailureClass, Model, Prompt, Provider, dialogue, endpoint};
use crate::exchange::Secret;

const VERSION: &str = "2023-06-01";

pub(super) fn request(model: &Model, prompt: &Prompt) -> (Url, Vec<(&'static str, Secret)>, Value) {
    let mut headers = vec![("anthropic-version", Secret::new(VERSION))];
    if let Some(key) = &model.api_key {
        headers.push(("x-api-key", key.clone()));
    }
    (messages_url(&model.base_url), headers, body(model, prompt))
}

/// A base that ends in /v1 is accepted too: people copy it from OpenAI-compatible servers.
fn messages_url(base: &Url) -> Url {
    let has_version = base.path().trim_end_matches('/').ends_with("/v1");
    endpoint(base, if has_version { &["messages"] } else { &["v1", "messages"] })
}

fn body(model: &Model, prompt: &Prompt) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(model.name));
    body.insert("max_tokens".into(), json!(model.max_tokens));
    // An empty system text is refused.
    if !prompt.system.trim().is_empty() {
        body.insert("system".into(), json!(prompt.system));
    }
    body.insert("messages".into(), dialogue::messages(&prompt.turns).into());
    Value::Object(body)
}

/// Reads a body of status 200. Thinking blocks come before the text and are left out.
pub(super) fn read(body: &Value) -> Result<Answer, Failure> {
    let content = body
        .get("content")
        .filter(|content| content.is_array())
        .ok_or_else(|| Failure::malformed(Provider::Anthropic))?;
    let text = without_reasoning(&text_of(content)).to_owned();
    let stop_reason = text_at(body, "/stop_reason");
    match stop_reason {
        "refusal" => return Err(Failure::refused(Provider::Anthropic, "stop_reason refusal")),
        "model_context_window_exceeded" if text.is_empty() => {
            let what = "anthropic filled the context window before its first word";
            return Err(Failure::new(FailureClass::ContextTooLong, what));
        }
        _ => {}
    }
    Ok(Answer {
        text,
        model: model_of(body),
        input_tokens: input_tokens(body),
        output_tokens: tokens_at(body, "/usage/output_tokens"),
        cut_by_limit: matches!(stop_reason, "max_tokens" | "model_context_window_exceeded"),
    })
}

/// What came from a cache is not in `input_tokens`, though the model read it.
fn input_tokens(body: &Value) -> Option<i32> {
    let counts = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    counts
        .iter()
        .filter_map(|count| tokens_at(body, &format!("/usage/{count}")))
        .reduce(i32::saturating_add)
}
