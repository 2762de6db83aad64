//! The OpenAI Chat Completions API, as OpenAI and every compatible server speak it. No tools, no
//! streaming, one choice.

use serde_json::{Map, Value, json};
use url::Url;

use super::answer::{Answer, model_of, text_at, text_of, tokens_at, without_reasoning};
use super::{Failure, Model, Prompt, Provider, dialogue, endpoint};
use crate::exchange::Secret;

/// Hosts whose newer models refuse `max_tokens`. Every other server is told `max_tokens`: the new
/// name is unknown to many, and an unknown name is ignored there, so that an answer has no bound.
const HOSTS_WITH_COMPLETION_TOKENS: [&str; 2] = ["api.openai.com", "openai.azure.com"];

pub(super) fn request(model: &Model, prompt: &Prompt) -> (Url, Vec<(&'static str, Secret)>, Value) {
    let authorization = |key: &Secret| Secret::new(format!("Bearer {}", key.expose()));
    let headers = model.api_key.iter().map(|key| ("authorization", authorization(key))).collect();
    (endpoint(&model.base_url, &["chat", "completions"]), headers, body(model, prompt))
}

fn body(model: &Model, prompt: &Prompt) -> Value {
    let mut messages = dialogue::messages(&prompt.turns);
    if !prompt.system.trim().is_empty() {
        messages.insert(0, json!({ "role": "system", "content": prompt.system }));
    }
    let mut body = Map::new();
    body.insert("model".into(), json!(model.name));
    body.insert("messages".into(), messages.into());
    body.insert(limit_name(&model.base_url).into(), json!(model.max_tokens));
    Value::Object(body)
}

/// Regional hosts (`eu.api.openai.com`) and Azure resources are subdomains.
fn limit_name(base: &Url) -> &'static str {
    let host = base.host_str().unwrap_or_default();
    let wants_new_name = HOSTS_WITH_COMPLETION_TOKENS.iter().any(|known| {
        host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if wants_new_name { "max_completion_tokens" } else { "max_tokens" }
}

/// Reads a body of status 200.
pub(super) fn read(body: &Value) -> Result<Answer, Failure> {
    let choice = body.pointer("/choices/0").ok_or_else(|| Failure::malformed(Provider::OpenAi))?;
    if let Some(error) = choice.get("error").filter(|error| !error.is_null()) {
        return Err(Failure::reported_in_answer(Provider::OpenAi, error));
    }
    let refusal = text_at(choice, "/message/refusal");
    let finish_reason = text_at(choice, "/finish_reason");
    if !refusal.is_empty() || finish_reason == "content_filter" {
        let what = if refusal.is_empty() { "finish_reason content_filter" } else { refusal };
        return Err(Failure::refused(Provider::OpenAi, what));
    }
    let content =
        choice.pointer("/message/content").ok_or_else(|| Failure::malformed(Provider::OpenAi))?;
    Ok(Answer {
        text: without_reasoning(&text_of(content)).to_owned(),
        model: model_of(body),
        input_tokens: tokens_at(body, "/usage/prompt_tokens"),
        output_tokens: tokens_at(body, "/usage/completion_tokens"),
        cut_by_limit: finish_reason == "length",
    })
}
