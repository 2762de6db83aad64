//! What is kept of a payload: its JSON without keys and without file contents, in a form that
//! PostgreSQL's `jsonb` takes. Never changes anything else.

use serde_json::{Map, Value};

use super::jsonb::{Entry, Jsonb, Writer};

/// Keys of Evolution (`apikey`; `api_key` in its error webhook, the global one) and of the
/// WhatsApp account itself, which a `messages.edited` can carry while a phone is being paired; and what
/// links a phone to the account (`qrcode.updated`).
const SECRETS: [&str; 5] = ["apikey", "api_key", "api-key", "appStateSyncKeyShare", "qrcode"];

/// Fields that hold the content of a file.
const FILES: [&str; 4] = ["base64", "jpegThumbnail", "pngThumbnail", "thumbnail"];

/// The URLs of the webhook and of Evolution, which are told with each event. Whoever may read messages may
/// not read what password they hold.
const URLS: [&str; 2] = ["destination", "server_url"];

/// What PostgreSQL's `numeric` holds before and after the point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// `about`: how many bytes it may come to. None: it is larger than any `jsonb`.
pub(super) fn kept(payload: &Value, about: usize) -> Option<Jsonb> {
    let mut writer = Writer::with_capacity(about);
    write(&mut writer, Kept::Whole(payload));
    writer.finish()
}

/// What is kept of a value.
enum Kept<'a> {
    Whole(&'a Value),
    /// In place of a file, or of a URL with a password.
    Instead(String),
}

impl<'a> Kept<'a> {
    fn of_field(name: &str, field: &'a Value) -> Self {
        let instead = if is_among(&FILES, name) {
            length_of_file(field)
        } else if is_among(&URLS, name) {
            field.as_str().and_then(without_password)
        } else {
            None
        };
        instead.map_or(Self::Whole(field), Self::Instead)
    }
}

/// The parser's depth limit bounds the recursion.
fn write(writer: &mut Writer, kept: Kept<'_>) -> Entry {
    let value = match &kept {
        Kept::Instead(text) => return writer.text(text),
        Kept::Whole(value) => value,
    };
    match value {
        Value::Null => Entry::NULL,
        Value::Bool(flag) => Entry::flag(*flag),
        Value::String(text) => writer.text(text),
        Value::Number(number) if fits_numeric(number.as_str()) => writer.number(number.as_str()),
        Value::Number(number) => writer.text(number.as_str()),
        Value::Array(items) => writer.array(items.iter().map(Kept::Whole), write),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !is_among(&SECRETS, name));
            let fields =
                fields.map(|(name, field)| (name.as_str(), Kept::of_field(name, field))).collect();
            writer.object(fields, write)
        }
    }
}

fn is_among(names: &[&str], key: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// What stands in place of a file's content. None when `value` is none, such as a flag.
fn length_of_file(value: &Value) -> Option<String> {
    match value {
        // A stored payload may be read again: what is cut stays as it is.
        Value::String(text) if text.is_empty() || is_cut(text) => None,
        Value::String(text) => Some(format!("[{} characters cut]", text.chars().count())),
        _ => byte_count(value).map(|count| format!("[{count} bytes cut]")),
    }
}

/// A URL without what is before its host and in its query. None when it has neither.
fn without_password(url: &str) -> Option<String> {
    let (before_query, query) =
        url.split_once('?').map_or((url, ""), |(before, _)| (before, "?***"));
    let (scheme, rest) = before_query.split_once("//")?;
    let authority = rest.split(['/', '#']).next().unwrap_or(rest);
    let kept = match authority.rsplit_once('@') {
        Some((user, _)) => rest.strip_prefix(user).map(|host| format!("{scheme}//***{host}"))?,
        None => before_query.to_owned(),
    };
    Some(kept + query).filter(|kept| kept != url)
}

fn is_cut(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(" cut]")
}

/// Bytes come as `{"0": 255, "1": 216}`, as `[255, 216]`, or as Node's Buffer around the latter.
fn byte_count(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) if items.iter().all(Value::is_number) => Some(items.len()),
        Value::Object(fields) if is_index_object(fields) => Some(fields.len()),
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "Buffer") => {
            fields.get("data").and_then(byte_count)
        }
        _ => None,
    }
    .filter(|count| *count > 0)
}

fn is_index_object(fields: &Map<String, Value>) -> bool {
    fields.iter().all(|(key, byte)| key.bytes().all(|c| c.is_ascii_digit()) && byte.is_number())
}

/// Whether `numeric` can hold the JSON number `literal`. It may say no to a zero with a huge
/// exponent, which is then kept as text like any other.
fn fits_numeric(literal: &str) -> bool {
    let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // An exponent beyond 32 bits is out of the question, whatever the mantissa.
    let Ok(exponent) = exponent.parse::<i32>().map(i64::from) else { return false };
    let whole_digits = whole.trim_start_matches('-').len() as i64 + exponent;
    let fraction_digits = fraction.len() as i64 - exponent;
    whole_digits <= MAX_WHOLE_DIGITS && fraction_digits <= MAX_FRACTION_DIGITS
}

#[cfg(test)]
mod tests;
