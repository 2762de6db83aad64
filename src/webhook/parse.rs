//! JSON text to a value, lenient where Evolution's Node process is: `JSON.stringify` emits NUL and
//! lone surrogates, which Rust and PostgreSQL refuse. Reads no meaning out of the value.

use std::borrow::Cow;

use serde_json::Value;

use super::Refusal;

/// What stands where a NUL or a lone surrogate stood, as a JSON escape.
const REPLACEMENT: &str = "\\ufffd";

/// Length of `\uXXXX`.
const ESCAPE: usize = 6;

/// Parses `text`. Of duplicate keys the last wins; numbers keep their digits.
pub(super) fn parse(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(&mended(text)).map_err(|error| {
        let reason = error.to_string();
        // The parser has no other way to tell its depth limit from a syntax error.
        if reason.starts_with("recursion limit exceeded") {
            Refusal::TooDeep
        } else {
            Refusal::NotJson { reason }
        }
    })
}

/// `text` with every escape of U+0000 or of a lone surrogate replaced by `\ufffd`.
///
/// It looks at backslashes only and not at quotes: outside of a string a backslash is a syntax
/// error with or without the change.
pub(super) fn mended(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let mut copied = 0;
    let mut next = 0;
    // `get` is None in the middle of a character, which only an escape unknown to JSON leads to.
    while let Some(offset) = text.get(next..).and_then(|rest| rest.find('\\')) {
        let start = next + offset;
        match escape_at(text, start) {
            Escape::Holdable { length } => next = start + length,
            Escape::Unholdable => {
                next = start + ESCAPE;
                mended.push_str(text.get(copied..start).unwrap_or_default());
                mended.push_str(REPLACEMENT);
                copied = next;
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(mended)
}

enum Escape {
    /// `length` bytes that stay: `\n`, `\\`, `\u00e9`, a pair of surrogates, or an error that is
    /// the parser's to report.
    Holdable {
        length: usize,
    },
    Unholdable,
}

fn escape_at(text: &str, start: usize) -> Escape {
    match code_unit_at(text, start) {
        None => Escape::Holdable { length: 2 },
        Some(0 | 0xDC00..=0xDFFF) => Escape::Unholdable,
        Some(0xD800..=0xDBFF) => match code_unit_at(text, start + ESCAPE) {
            Some(0xDC00..=0xDFFF) => Escape::Holdable { length: 2 * ESCAPE },
            _ => Escape::Unholdable,
        },
        Some(_) => Escape::Holdable { length: ESCAPE },
    }
}

fn code_unit_at(text: &str, start: usize) -> Option<u16> {
    let digits = text.get(start..start + ESCAPE)?.strip_prefix("\\u")?;
    // `from_str_radix` would take a sign.
    if digits.starts_with('+') {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
