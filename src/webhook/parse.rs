//! JSON text to a value, lenient where Evolution's Node process is: `JSON.stringify` emits NUL and
//! lone surrogates, which Rust and PostgreSQL refuse. Reads no meaning out of the value.

use std::borrow::Cow;

use serde_json::Value;

use super::{Refusal, value};

/// What stands where a lone surrogate stood, as a JSON escape.
const REPLACEMENT: &str = "\\ufffd";

/// Length of `\uXXXX`.
const ESCAPE: usize = 6;

/// Some programs begin a UTF-8 text with it. JSON knows no such thing.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Parses `text`. Of duplicate keys the last wins; numbers keep their digits.
pub(super) fn parse(text: &str) -> Result<Value, Refusal> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    value::read(&mended(text)).map_err(|error| {
        let reason = error.to_string();
        // The parser has no other way to tell its depth limit from a syntax error.
        if reason.starts_with("recursion limit exceeded") {
            Refusal::TooDeep
        } else {
            Refusal::NotJson { reason }
        }
    })
}

/// `text` without any escape of U+0000, and with `\ufffd` for every lone surrogate: what JSON allows
/// and `jsonb` does not.
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
        let replacement = match escape_at(text, start) {
            Escape::Holdable { length } => {
                next = start + length;
                continue;
            }
            Escape::Nul => "",
            Escape::LoneSurrogate => REPLACEMENT,
        };
        mended.push_str(text.get(copied..start).unwrap_or_default());
        mended.push_str(replacement);
        next = start + ESCAPE;
        copied = next;
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
    Nul,
    LoneSurrogate,
}

fn escape_at(text: &str, start: usize) -> Escape {
    match code_unit_at(text, start) {
        None => Escape::Holdable { length: 2 },
        Some(0) => Escape::Nul,
        Some(0xDC00..=0xDFFF) => Escape::LoneSurrogate,
        Some(0xD800..=0xDBFF) => match code_unit_at(text, start + ESCAPE) {
            Some(0xDC00..=0xDFFF) => Escape::Holdable { length: 2 * ESCAPE },
            _ => Escape::LoneSurrogate,
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
