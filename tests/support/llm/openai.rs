//! OpenAI's Chat Completions API: what it refuses and how it answers.

use serde_json::{Value, json};

use super::{Failure, LlmOptions, LlmRequest, Utterance, tokens_of};
use crate::http::Answer;
use crate::payload::hex;

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// Why the real one would not take this call.
pub(super) fn complaint(call: &LlmRequest, options: &LlmOptions) -> Option<Answer> {
    if let Some(wanted) = &options.api_key {
        match call.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            None => {
                let message = "You didn't provide an API key. You need to provide your API key in \
                               an Authorization header using Bearer auth (i.e. Authorization: \
                               Bearer YOUR_KEY).";
                return Some(error(401, message, None, None));
            }
            Some(key) if key != wanted => return Some(fail(call, Failure::WrongKey)),
            Some(_) => {}
        }
    }
    let Some(messages) = call.body["messages"].as_array() else {
        let missing = "Missing required parameter: 'messages'.";
        return Some(error(400, missing, Some("messages"), Some("missing_required_parameter")));
    };
    if !call.body["model"].is_string() {
        return Some(error(400, "you must provide a model parameter", None, None));
    }
    if !options.models.is_empty() && !options.models.iter().any(|model| model == call.model()) {
        let model = call.model();
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        return Some(error(404, &message, None, Some("model_not_found")));
    }
    complaint_of_messages(messages)
}

fn complaint_of_messages(messages: &[Value]) -> Option<Answer> {
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, \
                       but got an empty array instead.";
        return Some(error(400, message, Some("messages"), Some("empty_array")));
    }
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !ROLES.contains(&role) {
            let parameter = format!("messages[{index}].role");
            let text = format!("Invalid value: '{role}'. Supported values are: {ROLES:?}.");
            return Some(error(400, &text, Some(&parameter), Some("invalid_value")));
        }
        let content = &message["content"];
        if !content.is_string() && !content.is_array() {
            let parameter = format!("messages.[{index}].content");
            let text = "Invalid value for 'content': expected a string, got null.";
            return Some(error(400, text, Some(&parameter), None));
        }
    }
    None
}

pub(super) fn say(call: &LlmRequest, utterance: Utterance) -> Answer {
    let (content, refusal, finish_reason) = match utterance {
        Utterance::Text(text) => (Some(text), None, "stop"),
        Utterance::Truncated(text) => (Some(text), None, "length"),
        Utterance::Empty => (Some(String::new()), None, "stop"),
        Utterance::Refusal => (None, Some("I'm sorry, I can't help with that."), "stop"),
    };
    let prompt_tokens = tokens_of(&call.body.to_string());
    let completion_tokens = tokens_of(content.as_deref().unwrap_or_default());
    Answer::json(
        200,
        &json!({
            "id": format!("chatcmpl-{}", hex(29)),
            "object": "chat.completion",
            "created": call.at.timestamp(),
            "model": call.model(),
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": content,
                    "refusal": refusal,
                    "annotations": [],
                },
                "logprobs": null,
                "finish_reason": finish_reason,
            }],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
                "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 0 },
            },
            "service_tier": "default",
            "system_fingerprint": null,
        }),
    )
}

pub(super) fn fail(call: &LlmRequest, failure: Failure) -> Answer {
    match failure {
        Failure::RateLimited => {
            let message = "Rate limit reached for requests per min (RPM): Limit 3, Used 3, \
                           Requested 1. Please try again in 20s.";
            error_of_type("requests", 429, message, None, Some("rate_limit_exceeded"))
        }
        Failure::Overloaded => {
            let message = "The server is currently overloaded with other requests.";
            error_of_type("server_error", 503, message, None, None)
        }
        Failure::WrongKey => {
            // The real one shows the key's ends. Here it is all of it, so that a leak is seen.
            let key = call.headers.get("authorization").map_or("", String::as_str);
            let key = key.trim_start_matches("Bearer ");
            let message = format!(
                "Incorrect API key provided: {key}. You can find your API key at \
                 https://platform.openai.com/account/api-keys."
            );
            error(401, &message, None, Some("invalid_api_key"))
        }
        Failure::ContextTooLong => {
            let message = "This model's maximum context length is 128000 tokens. However, your \
                           messages resulted in 130051 tokens. Please reduce the length of the \
                           messages.";
            error(400, message, Some("messages"), Some("context_length_exceeded"))
        }
    }
}

fn error(status: u16, message: &str, parameter: Option<&str>, code: Option<&str>) -> Answer {
    error_of_type("invalid_request_error", status, message, parameter, code)
}

fn error_of_type(
    kind: &str,
    status: u16,
    message: &str,
    parameter: Option<&str>,
    code: Option<&str>,
) -> Answer {
    let error = json!({ "message": message, "type": kind, "param": parameter, "code": code });
    Answer::json(status, &json!({ "error": error }))
}
