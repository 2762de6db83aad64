//! The answer both wire formats come to, and the parsing they share. It never alters the words of
//! an answer beyond removing the reasoning in front of it.

use serde_json::Value;

use crate::text::short_line;

/// What a model wrote, ready for the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    /// The model that answered, in the provider's words, on one line of 201 characters at most; empty
    /// if it does not say.
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

/// Room for the longest name and path of a model.
const MOST_OF_A_MODEL: usize = 200;

/// `text` without the reasoning in front of it, however often the model began anew. Reasoning that was
/// cut off leaves nothing: its half must not reach a customer. The first opening mark may be missing,
/// since some chat templates put it into the prompt.
pub(super) fn without_reasoning(text: &str) -> &str {
    let text = text.trim();
    let mut answer = after_marked(text).or_else(|| after_unopened(text)).unwrap_or(text);
    while let Some(after) = after_marked(answer) {
        answer = after;
    }
    answer
}

/// None where the text does not begin with reasoning.
fn after_marked(text: &str) -> Option<&str> {
    REASONING.into_iter().find_map(|(opening, closing)| {
        let inside = text.strip_prefix(opening)?;
        Some(inside.split_once(closing).map_or("", |(_, after)| after.trim()))
    })
}

fn after_unopened(text: &str) -> Option<&str> {
    REASONING.into_iter().find_map(|(opening, closing)| {
        let (before, after) = text.split_once(closing)?;
        (!before.contains(opening)).then(|| after.trim())
    })
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

/// A count that no server would mean is none.
pub(super) fn tokens_at(value: &Value, pointer: &str) -> Option<i32> {
    let count = value.pointer(pointer)?.as_u64()?;
    i32::try_from(count).ok()
}

/// The model that `body` says has answered, as one line that a column takes.
pub(super) fn model_of(body: &Value) -> String {
    short_line(text_at(body, "/model"), MOST_OF_A_MODEL)
}
