//! What the status and the error body of a provider mean. The rules hold for both wire formats,
//! since a server that copies one of them seldom copies its errors.

use serde_json::Value;

use super::FailureClass;
use super::answer::text_at;

/// An error body, whoever wrote it.
pub(super) struct Complaint {
    /// `error.code`, `error.type` and `error.param`, in lower case.
    labels: Vec<String>,
    /// `error.code` where it is a number: llama.cpp, vLLM, OpenRouter.
    code: Option<u16>,
    pub(super) words: String,
}

/// A request that no context window or body limit takes.
const TOO_LONG_LABELS: [&str; 3] =
    ["context_length_exceeded", "exceed_context_size_error", "request_too_large"];
const TOO_LONG_WORDS: [&str; 6] = [
    "prompt is too long",
    "exceed context limit",
    "exceeds the available context size",
    "context size has been exceeded",
    "maximum context length",
    "context window",
];

const REFUSED_LABELS: [&str; 2] = ["content_filter", "content_policy_violation"];
/// Anthropic, Azure, OpenRouter's moderation (a 403).
const REFUSED_WORDS: [&str; 3] =
    ["content filtering policy", "content management policy", "input was flagged"];

/// A 429 of OpenAI that no waiting ends.
const SPENT_ACCOUNT: &str = "insufficient_quota";
/// Anthropic, whose `overloaded_error` is a 529 by itself but a 500 or 200 through gateways.
const FULL_LABELS: [&str; 2] = ["overloaded_error", "rate_limit_error"];

/// `model` and the two limits are values of OpenAI's `param`.
const SETTINGS_LABELS: [&str; 11] = [
    "authentication_error",
    "billing_error",
    SPENT_ACCOUNT,
    "invalid_api_key",
    "model",
    "model_not_found",
    "max_completion_tokens",
    "max_tokens",
    "not_found_error",
    "permission_error",
    "unsupported_parameter",
];
/// Anthropic, Google and others tell these only in words, with status 400.
const SETTINGS_WORDS: [&str; 4] =
    ["credit balance", "api key not valid", "max_tokens", "prefilling assistant"];
const UNKNOWN_MODEL_WORDS: [&str; 5] =
    ["not found", "not exist", "not a valid model", "invalid model", "unknown model"];

impl Complaint {
    /// Reads Anthropic's and OpenAI's `{"error":{…}}`, Ollama's `{"error":"…"}`, vLLM's bare
    /// `{"message":…}`, FastAPI's `{"detail":…}` and Google's list of one; anything else is quoted.
    pub(super) fn read(body: &[u8]) -> Self {
        let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
        let first = parsed.get(0).unwrap_or(&parsed);
        match first.get("error").filter(|error| !error.is_null()).or_else(|| first.get("detail")) {
            Some(error) => Self::from_error(error),
            None if first.is_object() => Self::from_error(first),
            None => Self {
                labels: Vec::new(),
                code: None,
                words: String::from_utf8_lossy(body).into_owned(),
            },
        }
    }

    pub(super) fn from_error(error: &Value) -> Self {
        let label = |pointer| text_at(error, pointer).to_ascii_lowercase();
        let words = match error {
            Value::String(words) => words.clone(),
            _ => text_at(error, "/message").to_owned(),
        };
        Self {
            labels: vec![label("/code"), label("/type"), label("/param")],
            code: error.get("code").and_then(Value::as_u64).and_then(|code| code.try_into().ok()),
            words: if words.is_empty() { error.to_string() } else { words },
        }
    }

    /// The status to judge by: within a 2xx the error's own code, or that of an unnamed fault.
    pub(super) fn status_behind(&self, status: u16) -> u16 {
        match self.code {
            _ if !(200..300).contains(&status) => status,
            Some(code) if (400..600).contains(&code) => code,
            _ => 500,
        }
    }

    /// Words outrank the status where providers disagree about it: a prompt that is too long
    /// comes as 400, 413 or 500, spent credit as 400, 402 or 429. Of a 429 only the label is
    /// read: its words advise to lower max_tokens.
    pub(super) fn class(&self, status: u16, has_retry_after: bool) -> FailureClass {
        if status == 429 {
            let account_is_spent = self.is_about(&[SPENT_ACCOUNT], &[]);
            return if account_is_spent {
                FailureClass::Configuration
            } else {
                FailureClass::Deferred
            };
        }
        if self.is_about(&TOO_LONG_LABELS, &TOO_LONG_WORDS) || status == 413 {
            FailureClass::ContextTooLong
        } else if self.is_about(&REFUSED_LABELS, &REFUSED_WORDS) {
            FailureClass::Refused
        } else if status < 500 && self.blames_settings(status) {
            FailureClass::Configuration
        } else {
            self.class_by_status(status, has_retry_after)
        }
    }

    fn blames_settings(&self, status: u16) -> bool {
        matches!(status, 300..=399 | 401..=405)
            || self.is_about(&SETTINGS_LABELS, &SETTINGS_WORDS)
            || (self.says(&["model"]) && self.says(&UNKNOWN_MODEL_WORDS))
    }

    fn class_by_status(&self, status: u16, has_retry_after: bool) -> FailureClass {
        match status {
            529 => FailureClass::Deferred,
            503 if has_retry_after => FailureClass::Deferred,
            _ if self.is_about(&FULL_LABELS, &[]) => FailureClass::Deferred,
            // The server gave up waiting, or asks for the same request once more.
            408 | 409 | 425 => FailureClass::Transient,
            400..=499 => FailureClass::Rejected,
            _ => FailureClass::Transient,
        }
    }

    fn is_about(&self, labels: &[&str], words: &[&str]) -> bool {
        self.labels.iter().any(|label| labels.contains(&label.as_str())) || self.says(words)
    }

    fn says(&self, phrases: &[&str]) -> bool {
        let words = self.words.to_lowercase();
        phrases.iter().any(|phrase| words.contains(phrase))
    }
}
