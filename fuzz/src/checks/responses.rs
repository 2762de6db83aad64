//! Answers of HTTP servers as an input has them: the first line is `STATUS [RETRY_AFTER]`, the rest is the
//! body; `refused`, `broken` and the like in place of a status mean that there is no answer. Several are
//! separated by a line `---`.

use std::time::Duration;

use crate::exchange::{CallError, CallResult, HttpResponse};
use crate::text::short_line;

const SEPARATOR: &[u8] = b"\n---\n";

/// The first answer, and what follows its separator.
pub fn first(input: &[u8]) -> (CallResult, &[u8]) {
    let at = input.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    let (answer, rest) = match at {
        Some(at) => (&input[..at], &input[at + SEPARATOR.len()..]),
        None => (input, &input[input.len()..]),
    };
    (one(answer), rest)
}

fn one(input: &[u8]) -> CallResult {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let status = match words.next() {
        Some("refused") => return Err(CallError::NotSent(why(body))),
        Some("broken") => return Err(CallError::Unknown(why(body))),
        Some("withheld") => return Err(CallError::Withheld(why(body))),
        Some("forbidden") => return Err(CallError::Forbidden(why(body))),
        Some(word) => word.parse().ok().filter(|status| (100..1000).contains(status)),
        None => None,
    };
    let retry_after = words.next().and_then(|word| word.parse().ok()).map(Duration::from_secs);
    Ok(HttpResponse { status: status.unwrap_or(200), retry_after, body: body.to_vec() })
}

/// As the network tells it.
fn why(words: &[u8]) -> String {
    short_line(&String::from_utf8_lossy(words), 300)
}

/// A line for a column that people read.
pub fn assert_is_a_short_line(line: &str, most: usize) {
    assert!(line.chars().count() <= most, "{} characters: {line}", line.chars().count());
    assert!(!line.contains(char::is_control), "{line:?}");
}
