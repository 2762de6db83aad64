//! The answer both wire formats come to, and the parsing they share. It never alters the words of
//! an answer beyond removing the reasoning in front of it.

use serde_json::Value;

/// What a model wrote, ready for the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    /// The model that answered, in the provider's words; empty if it does not say.
    pub model: String,
    pub input_tokens: Option<i32>,
    pub output_tokens: Option<i32>,
    /// The text ends where `max_tokens` or the context did, not where the model meant to.
    pub cut_by_limit: bool,
}

/// How open models mark their reasoning when the server does not take it out: DeepSeek and Qwen,
/// some fine-tunes of both, Magistral.
const REASONING: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")];

/// `text` without the reasoning in front of it. Reasoning that was cut off leaves nothing: its
/// half must not reach a customer. The opening mark may be missing, since some chat templates put
/// it into the prompt.
pub(super) fn without_reasoning(text: &str) -> &str {
    let text = text.trim();
    for (opening, closing) in REASONING {
        let inside = text.strip_prefix(opening);
        if let Some((before, after)) = inside.unwrap_or(text).split_once(closing)
            && (inside.is_some() || !before.contains(opening))
        {
            return after.trim();
        }
        if inside.is_some() {
            return "";
        }
    }
    text
}

/// The text of a `content` that is a string or a list of typed parts. Parts of any other type,
/// such as `thinking`, are left out.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter(|part| text_at(part, "/type") == "text")
            .map(|part| text_at(part, "/text"))
            .collect(),
        _ => String::new(),
    }
}

/// The string at a JSON pointer, or "".
pub(super) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn tokens_at(value: &Value, pointer: &str) -> Option<i32> {
    value.pointer(pointer)?.as_i64().and_then(|count| i32::try_from(count).ok())
}
