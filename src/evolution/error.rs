//! What the error bodies of Evolution say: `{"status", "error", "response": {"message"}}`, where the
//! shape of `message` tells how far the request came. It judges no status; the callers do.

use serde_json::Value;

use crate::exchange::CallResult;
use crate::text::short_line;

/// The `message` of an error body, by its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorBody {
    /// `[{"exists": false, …}]`: WhatsApp does not know the number.
    NotOnWhatsApp,
    /// `[["…"]]`: the request does not fit Evolution's schema.
    Invalid(String),
    /// `["…"]`: thrown on purpose, or caught and thrown again.
    Thrown(String),
    /// `"…"`: an exception that nobody caught, or a missing key.
    Uncaught(String),
    /// No body of Evolution's: a proxy in front of it, or another server.
    Foreign(String),
}

impl ErrorBody {
    pub(super) fn read(body: &[u8]) -> Self {
        let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
        match parsed.pointer("/response/message") {
            Some(Value::String(words)) => Self::Uncaught(words.clone()),
            Some(Value::Array(items)) => Self::of_items(items),
            _ => Self::Foreign(String::from_utf8_lossy(body).into_owned()),
        }
    }

    fn of_items(items: &[Value]) -> Self {
        match items.first() {
            Some(Value::Object(number)) if number.get("exists") == Some(&Value::Bool(false)) => {
                Self::NotOnWhatsApp
            }
            Some(Value::Array(nested)) => Self::Invalid(joined(nested)),
            _ => Self::Thrown(joined(items)),
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::NotOnWhatsApp => "the number is not on WhatsApp",
            Self::Invalid(words)
            | Self::Thrown(words)
            | Self::Uncaught(words)
            | Self::Foreign(words) => words,
        }
    }
}

fn joined(items: &[Value]) -> String {
    let words = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    items.iter().map(words).collect::<Vec<_>>().join(", ")
}

/// The JSON of a successful call that changes nothing in Evolution, or one line on why there is
/// none. `call` names it in that line.
pub(super) fn read_query(call: &str, result: CallResult) -> Result<Value, String> {
    let response = result.map_err(|error| {
        short_line(&format!("{call} failed: {}", error.message()), MOST_CHARACTERS)
    })?;
    if (300..400).contains(&response.status) {
        return Err(answered(call, response.status, REDIRECTS));
    }
    if !(200..300).contains(&response.status) {
        return Err(answered(call, response.status, ErrorBody::read(&response.body).words()));
    }
    serde_json::from_slice(&response.body).map_err(|_| {
        answered(call, response.status, "but no JSON: does evo_server_url lead to Evolution?")
    })
}

pub(super) fn answered(call: &str, status: u16, words: &str) -> String {
    short_line(&format!("{call} answered {status}: {words}"), MOST_CHARACTERS)
}

/// It is not followed: where it leads to is not what the tenant's row says.
pub(super) const REDIRECTS: &str = "evo_server_url redirects; enter the final URL";

/// A body may be a whole HTML page.
pub(super) const MOST_CHARACTERS: usize = 300;
