//! Anthropic's Messages API (`anthropic-version: 2023-06-01`): what it refuses and how it answers.

use serde_json::{Value, json};

use super::{Failure, LlmOptions, LlmRequest, Utterance, is_system, text_of_content, tokens_of};
use crate::http::Answer;
use crate::payload::hex;

/// Anything else is "Extra inputs are not permitted".
const KNOWN_FIELDS: [&str; 14] = [
    "model",
    "messages",
    "max_tokens",
    "system",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "tools",
    "tool_choice",
    "thinking",
    "service_tier",
];

/// Why the real one would not take this call.
pub(super) fn complaint(call: &LlmRequest, options: &LlmOptions) -> Option<Answer> {
    let header = |name: &str| call.headers.get(name).map(String::as_str);
    match (header("x-api-key"), &options.api_key) {
        (None | Some(""), _) => {
            return Some(error(401, "authentication_error", "x-api-key header is required"));
        }
        (Some(key), Some(wanted)) if key != wanted => return Some(fail(Failure::WrongKey)),
        _ => {}
    }
    if header("anthropic-version").is_none() {
        return Some(invalid("anthropic-version: header is required"));
    }
    if !header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Some(invalid("Content-Type must be application/json"));
    }
    complaint_of_fields(&call.body)
        .or_else(|| complaint_of_messages(&call.body))
        .map(|message| invalid(&message))
        .or_else(|| {
            let unknown = !options.models.is_empty()
                && !options.models.iter().any(|model| model == call.model());
            unknown.then(|| error(404, "not_found_error", &format!("model: {}", call.model())))
        })
}

fn complaint_of_fields(body: &Value) -> Option<String> {
    let Some(fields) = body.as_object() else {
        return Some("The request body is not valid JSON".to_owned());
    };
    if let Some(field) = fields.keys().find(|field| !KNOWN_FIELDS.contains(&field.as_str())) {
        return Some(format!("{field}: Extra inputs are not permitted"));
    }
    if let Some(field) = ["model", "max_tokens", "messages"].iter().find(|f| body[**f].is_null()) {
        return Some(format!("{field}: Field required"));
    }
    if !body["model"].is_string() {
        return Some("model: Input should be a valid string".to_owned());
    }
    if body["max_tokens"].as_u64().is_none_or(|limit| limit == 0) {
        return Some("max_tokens: must be greater than or equal to 1".to_owned());
    }
    let empty_block = |block: &Value| block["text"].as_str() == Some("");
    if body["system"].as_array().is_some_and(|blocks| blocks.iter().any(empty_block)) {
        return Some("system: text content blocks must be non-empty".to_owned());
    }
    None
}

/// The real one joins turns of one role nowadays; servers that copy its format refuse them, so this
/// one does.
fn complaint_of_messages(body: &Value) -> Option<String> {
    let Some(messages) = body["messages"].as_array() else {
        return Some("messages: Input should be a valid list".to_owned());
    };
    let roles: Vec<&str> = messages.iter().map(|m| m["role"].as_str().unwrap_or("")).collect();
    if let Some(role) = roles.iter().find(|role| is_system(role)) {
        return Some(format!(
            "messages: Unexpected role \"{role}\". The Messages API accepts a top-level `system` \
             parameter, not \"system\" as an input message role."
        ));
    }
    if let Some(index) = roles.iter().position(|role| !matches!(*role, "user" | "assistant")) {
        return Some(format!("messages.{index}.role: Input should be 'user' or 'assistant'"));
    }
    match roles.first() {
        None => return Some("messages: at least one message is required".to_owned()),
        Some(&"user") => {}
        Some(_) => return Some("messages: first message must use the \"user\" role".to_owned()),
    }
    if let Some(pair) = roles.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(format!(
            "messages: roles must alternate between \"user\" and \"assistant\", but found multiple \
             \"{}\" roles in a row",
            pair[0]
        ));
    }
    let texts: Vec<String> = messages.iter().map(|m| text_of_content(&m["content"])).collect();
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Some(format!("messages.{index}: all messages must have non-empty content"));
    }
    let blank = texts.iter().any(|text| text.trim().is_empty());
    blank.then(|| "messages: text content blocks must contain non-whitespace text".to_owned())
}

pub(super) fn say(call: &LlmRequest, utterance: Utterance) -> Answer {
    let (text, stop_reason) = match utterance {
        Utterance::Text(text) => (Some(text), "end_turn"),
        Utterance::Truncated(text) => (Some(text), "max_tokens"),
        Utterance::Empty => (None, "end_turn"),
        Utterance::Refusal => (None, "refusal"),
    };
    let content: Vec<Value> =
        text.iter().map(|text| json!({ "type": "text", "text": text })).collect();
    Answer::json(
        200,
        &json!({
            "id": format!("msg_01{}", hex(22)),
            "type": "message",
            "role": "assistant",
            "model": call.model(),
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": {
                "input_tokens": tokens_of(&call.body.to_string()),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": tokens_of(text.as_deref().unwrap_or_default()),
                "service_tier": "standard",
            },
        }),
    )
}

pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::RateLimited => error(
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute.",
        ),
        Failure::Overloaded => error(529, "overloaded_error", "Overloaded"),
        Failure::WrongKey => error(401, "authentication_error", "invalid x-api-key"),
        Failure::ContextTooLong => invalid("prompt is too long: 208310 tokens > 200000 maximum"),
    }
}

fn invalid(message: &str) -> Answer {
    error(400, "invalid_request_error", message)
}

fn error(status: u16, kind: &str, message: &str) -> Answer {
    let error = json!({ "type": kind, "message": message });
    let request_id = format!("req_{}", hex(24));
    Answer::json(status, &json!({ "type": "error", "error": error, "request_id": request_id }))
}
