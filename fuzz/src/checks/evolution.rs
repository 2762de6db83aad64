//! What Evolution API answers to each call that whaply makes. Above all: a message counts as sent only if
//! Evolution said so, and no error repeats a key.

use std::sync::LazyLock;
use std::time::Duration;

use super::responses::{assert_is_a_short_line, first};
use crate::evolution::{
    self, Instance, Line, MOST_CALLS, QrCode, SendOutcome, SetUp, Wanted, Webhook,
};
use crate::exchange::{CallError, CallResult, Secret};

const TIMEOUT: Duration = Duration::from_secs(1);

/// Those that a server may repeat.
const SECRETS: [&str; 4] = ["OWN-KEY-0123", "GLOBAL-KEY-45", "HOOK-SECRET-67", "HOOK-JWT-KEY-8"];

pub fn check(input: &[u8]) {
    let (result, _) = first(input);
    check_send_text(&result);
    check_connection_state(&result);
    check_found(&result);
    check_qr_code(&result);
    for has_key in [true, false] {
        check_set_up(input, has_key);
    }
}

fn check_send_text(result: &CallResult) {
    let read = evolution::read_send_text(result.clone());
    assert_eq!(read, evolution::read_send_text(result.clone()), "read twice");
    match read {
        SendOutcome::Sent(sent) => {
            let status = result.as_ref().map(|response| response.status);
            assert!(status.is_ok_and(|status| (200..300).contains(&status)), "{status:?}");
            assert_is_identifier(&sent.message_id);
            sent.jid.iter().for_each(|jid| assert_is_identifier(jid));
        }
        SendOutcome::NotSent(not_sent) => assert_is_a_short_line(&not_sent.message, 500),
        SendOutcome::Uncertain(uncertain) => assert_is_a_short_line(&uncertain.message, 500),
    }
}

fn check_connection_state(result: &CallResult) {
    if let Err(why) = evolution::read_connection_state(result.clone()) {
        assert_is_a_short_line(&why, 400);
    }
}

fn check_found(result: &CallResult) {
    let read = evolution::read_found(result.clone());
    assert_eq!(read, evolution::read_found(result.clone()), "read twice");
    match read {
        Ok(page) => {
            for message in &page.messages {
                assert_is_identifier(&message.id);
            }
        }
        Err(why) => assert_is_a_short_line(&why, 400),
    }
}

fn check_qr_code(result: &CallResult) {
    let body = result.as_ref().map(|response| response.body.as_slice()).unwrap_or_default();
    let value = serde_json::from_slice(body).unwrap_or_default();
    QrCode::read(&value).iter().for_each(check_code);
}

fn check_code(code: &QrCode) {
    for text in std::iter::once(&code.code).chain(&code.pairing_code) {
        let text = text.expose();
        assert!(!text.is_empty() && text.len() <= 1_000 && !text.contains(char::is_control));
    }
}

fn check_set_up(input: &[u8], has_key: bool) {
    static WANTED: LazyLock<[Wanted; 2]> = LazyLock::new(|| [wanted(false), wanted(true)]);
    let (mut rest, mut calls) = (input, 0);
    let set_up = evolution::set_up(&WANTED[usize::from(has_key)], |_| {
        calls += 1;
        if rest.is_empty() {
            return Err(CallError::NotSent("nobody answers".to_owned()));
        }
        let (result, next) = first(rest);
        rest = next;
        result
    });
    assert!(calls <= MOST_CALLS, "{calls} calls");
    let SetUp { token, line } = set_up;
    assert!(token.is_none() || !has_key, "a tenant keeps its key");
    let token = token.as_ref().map(Secret::expose);
    match line {
        Ok(Line::Open) => {}
        Ok(Line::Scan(code)) => check_code(&code),
        Err(trouble) => {
            assert_is_a_short_line(&trouble.message, 700);
            // Of a key that the tenant does not have nobody knows.
            let ours = &SECRETS[usize::from(!has_key)..];
            let token = token.as_ref().filter(|token| is_unlike_words(token));
            for secret in ours.iter().chain(token) {
                assert!(!trouble.message.contains(secret), "{secret} is in: {}", trouble.message);
            }
        }
    }
}

/// A token that the input made up may be anything, as a word of our own.
fn is_unlike_words(token: &str) -> bool {
    token.len() > 8 && token.bytes().all(|byte| byte.is_ascii_digit())
}

fn assert_is_identifier(text: &str) {
    let length = text.chars().count();
    assert!((1..=255).contains(&length) && !text.contains(char::is_control), "{text:?}");
}

fn wanted(has_key: bool) -> Wanted {
    let [own, global, secret, jwt_key] = SECRETS.map(Secret::new);
    let base_url = "http://evolution.example/prefix".parse().expect("a URL");
    let api_key = has_key.then_some(own);
    Wanted {
        instance: Instance { base_url, name: "loja".to_owned(), api_key },
        global_key: Ok(Some(global)),
        webhook: Webhook::new("http://whaply.example/webhook", Some(&secret), Some(&jwt_key)),
        timeout: TIMEOUT,
    }
}
