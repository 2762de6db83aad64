//! Reads what the listener answered, strictly: one answer after the other, each with the status, the
//! headers and the JSON that the manual names.

use serde_json::Value;

/// Those that the listener gives, and hyper's own for what is no HTTP or has too long a head.
const STATUSES: [u16; 11] = [100, 200, 400, 401, 403, 404, 405, 414, 429, 431, 503];

struct Answer<'a> {
    status: u16,
    headers: Vec<(String, &'a str)>,
    body: &'a str,
}

impl Answer<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }
}

/// How many posts were taken. No refusal tells the secret.
pub fn check(heard: &[u8], secret: &str) -> usize {
    let mut rest = std::str::from_utf8(heard).expect("answers are UTF-8");
    let (mut taken, mut is_last) = (0, false);
    while !rest.is_empty() {
        assert!(!is_last, "nothing follows an answer with which the connection ends: {rest}");
        let answer;
        (answer, rest) = next(rest);
        check_one(&answer, secret);
        taken += usize::from(answer.status == 200 && answer.body.starts_with(r#"{"action""#));
        is_last = answer.header("connection").is_some_and(|value| value == "close");
    }
    taken
}

fn next(text: &str) -> (Answer<'_>, &str) {
    let (head, rest) = text.split_once("\r\n\r\n").expect("a head ends with an empty line");
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let version = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
    let status = version.and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {first}"));
    let headers = lines.map(|line| line.split_once(": ").expect("a header")).collect::<Vec<_>>();
    let headers: Vec<_> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let mut answer = Answer { status, headers, body: "" };
    let length = answer.header("content-length").map_or(0, |text| text.parse().expect("a length"));
    // The answer to a HEAD has the length of a body, and none.
    if rest.starts_with("HTTP/1.") || rest.is_empty() {
        return (answer, rest);
    }
    let (body, rest) = rest.split_at_checked(length).expect("as long as it says");
    answer.body = body;
    (answer, rest)
}

fn check_one(answer: &Answer<'_>, secret: &str) {
    let Answer { status, body, .. } = answer;
    assert!(STATUSES.contains(status), "{status}");
    assert!(!body.contains("an internal error"), "a bug: {body}");
    // Those without a body are hyper's own, or answer a HEAD.
    let is_json = answer.header("content-type") == Some("application/json");
    if !is_json || body.is_empty() {
        return;
    }
    let told: Value = serde_json::from_str(body).expect("JSON");
    assert!(told.is_object());
    match status {
        200 => {}
        429 | 503 => {
            let has_date = answer.header("retry-after").is_some();
            assert!(has_date || told["status"] == "unavailable", "it may go well later: {body}");
            assert!(!body.contains(secret));
        }
        _ => {
            assert!(told["error"].is_string() && told["message"].is_string(), "{body}");
            assert!(!body.contains(secret));
            assert!(answer.header("retry-after").is_none(), "it fails for ever: {body}");
        }
    }
}
