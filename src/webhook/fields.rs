//! Reads single fields leniently: the same field comes as a number, a text or a 64-bit pair,
//! depending on the event and on the channel. Never fails; what cannot be read is absent.

use serde_json::{Number, Value};

use super::{Refusal, phone};

/// `varchar(255)`: instance names, ids and JIDs.
pub(super) const MAX_IDENTIFIER: usize = 255;

static NULL: Value = Value::Null;

/// The field, or null where `value` is no object or has no such field.
pub(super) fn at<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&NULL)
}

/// A text that says something.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    at(value, key).as_str().filter(|text| !text.trim().is_empty())
}

/// `data` of an event about one thing: other versions wrap it in an array of one. An array of
/// several is none of them.
pub(super) fn single(data: &Value) -> &Value {
    match data.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        Some(_) => &NULL,
        None => data,
    }
}

/// An id or JID as text, or in digits as a number. Absent when missing or blank, refused when no column
/// can hold it.
pub(super) fn identifier(
    value: &Value,
    key: &str,
    field: &'static str,
) -> Result<Option<String>, Refusal> {
    let found = match at(value, key) {
        Value::String(text) if !text.trim().is_empty() => text.clone(),
        // Any other number has more than one writing: what is kept of 1e2 is 100.
        Value::Number(number) if phone::is_digits(number.as_str()) => number.to_string(),
        _ => return Ok(None),
    };
    if is_longer(&found, MAX_IDENTIFIER) {
        return Err(Refusal::TooLong { field, limit: MAX_IDENTIFIER });
    }
    Ok(Some(found))
}

/// A whole number written as a number, as a text, or as the `{low, high}` pair that Evolution
/// makes of a 64-bit integer.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => whole(number),
        Value::String(text) => text.trim().parse().ok(),
        Value::Object(_) => {
            let low = at(value, "low").as_i64()?;
            let high = at(value, "high").as_i64()?;
            // `low` is the lower half whatever its sign; `high` is cut to the upper half.
            Some((high << 32) | (low & 0xFFFF_FFFF))
        }
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        // Any float beyond this is no time, length or count.
        let float = number.as_f64().filter(|float| float.abs() < 9.0e15)?;
        Some(float as i64)
    })
}

/// A flag written as a boolean, as text or as a number.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        other => integer(other) == Some(1),
    }
}

pub(super) fn is_longer(text: &str, characters: usize) -> bool {
    // Most have fewer bytes than that: nothing is to be counted.
    text.len() > characters && text.chars().nth(characters).is_some()
}
