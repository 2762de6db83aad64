//! The body of a webhook: what is read of it fits its columns, and what is kept of it is a `jsonb` without
//! any secret.

use serde_json::{Number, Value};

use crate::jsonb;
use crate::webhook::{self, Body, Change, ChangeKind, Jid, Message, Payload, Refusal};

/// `varchar(255)`.
const MAX_IDENTIFIER: usize = 255;

/// Names under which Evolution tells keys, and what links a phone to the account.
const SECRETS: [&str; 5] = ["apikey", "api_key", "api-key", "appstatesynckeyshare", "qrcode"];

/// Names under which it tells the content of a file.
const FILES: [&str; 4] = ["base64", "jpegthumbnail", "pngthumbnail", "thumbnail"];

pub fn check(input: &[u8]) {
    // As the listener does.
    check_text(&String::from_utf8_lossy(input));
}

pub(super) fn check_text(text: &str) {
    let read = webhook::read(text);
    assert_eq!(read, webhook::read(text), "read twice");
    match read {
        Err(refusal) => check_refusal(&refusal),
        Ok(payload) => {
            check_texts(&payload);
            check_raw(&payload);
        }
    }
}

fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.hint().is_empty());
    // It stands in an answer and in the log.
    assert!(refusal.to_string().chars().count() < 400, "{refusal}");
}

fn check_texts(payload: &Payload) {
    let Payload { envelope, body, .. } = payload;
    assert!(envelope.event.chars().count() <= 100);
    assert_is_identifier(&envelope.instance);
    assert!(!envelope.event.contains('\0'));
    envelope.own_jid.iter().for_each(check_jid);
    match body {
        Body::Message(message) => check_message(message),
        Body::History(messages) => {
            messages.iter().for_each(check_message);
            assert!(messages.iter().all(|message| message.from_me));
        }
        Body::Receipt(receipt) => {
            assert_is_identifier(&receipt.id);
            receipt.jid.iter().for_each(check_jid);
        }
        Body::Change(change) => check_change(change),
        Body::Aliases(pairs) => pairs.iter().for_each(|(lid, phone)| {
            check_jid(lid);
            check_jid(phone);
            assert_ne!(lid, phone);
        }),
        Body::Qr(_) | Body::Line(_) | Body::Other => {}
    }
}

fn check_message(message: &Message) {
    assert_is_identifier(&message.id);
    check_jid(&message.jid);
    message.alt.iter().chain(&message.author).chain(&message.mentions).for_each(check_jid);
    assert_ne!(message.alt.as_ref(), Some(&message.jid));
    message.quoted_id.iter().for_each(|id| assert_is_identifier(id));
    assert!(message.message_type.chars().count() <= 50);
    // PostgreSQL's timestamps end in the year 294276; `to_timestamp` is asked for these.
    assert!(message.sent_at.is_none_or(|at| (1..=100_000_000_000).contains(&at)));
    if let Some(name) = &message.push_name {
        assert!(name.chars().count() <= 255 && !name.contains(char::is_control), "{name:?}");
    }
    let content = &message.content;
    if let Some(note) = &content.note {
        assert!(note.starts_with('[') && note.ends_with(']'), "{note}");
        assert!(!note.contains(char::is_control), "one line: {note:?}");
        assert_eq!(note.matches(['[', ']']).count(), 2, "nobody forges a note: {note}");
        assert!(note.chars().count() < 5_000, "{} characters", note.chars().count());
    }
    let texts = [Some(&message.message_type), content.text.as_ref(), content.note.as_ref()];
    assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
    assert!(content.text.as_ref().is_none_or(|text| !text.trim().is_empty()));
}

fn check_change(change: &Change) {
    assert_is_identifier(&change.id);
    if let ChangeKind::Edited { text: Some(text) } = &change.what {
        assert!(!text.contains('\0') && !text.trim().is_empty());
    }
}

fn assert_is_identifier(text: &str) {
    assert!(!text.trim().is_empty() && !text.contains('\0'));
    assert!(text.chars().count() <= MAX_IDENTIFIER, "{} characters", text.chars().count());
}

/// See `checks::addresses`.
pub(super) fn check_jid(jid: &Jid) {
    assert!(!jid.as_str().is_empty() && !jid.as_str().contains('\0'));
    for jid in jid.phone_variants() {
        assert!(jid.as_str().chars().count() <= MAX_IDENTIFIER, "{jid}");
    }
}

fn check_raw(payload: &Payload) {
    let kept = jsonb::read(payload.raw.as_bytes());
    assert!(kept.is_object());
    assert_holds_no_secret(&kept);
    // What is stored may be read again.
    let text = kept.to_string();
    match webhook::read(&text) {
        Ok(again) if !has_number_for_file(&kept) => {
            assert_eq!(again.raw, payload.raw, "{kept}");
            let names = |one: &Payload| (one.envelope.event.clone(), one.envelope.instance.clone());
            assert_eq!(names(&again), names(payload), "{kept}");
        }
        Ok(_) => {}
        // A number with an exponent is no id; kept without one it is a long one.
        Err(refusal) => assert!(
            matches!(refusal, Refusal::TooLong { .. }) && has_long_number(&text),
            "{refusal}: {kept}"
        ),
    }
}

/// Where a file belongs, a number that `numeric` does not hold: kept as a text it looks like a file.
fn has_number_for_file(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            let is_file_name = FILES.contains(&name.to_ascii_lowercase().as_str());
            is_file_name && field.as_str().is_some_and(is_number) || has_number_for_file(field)
        }),
        Value::Array(items) => items.iter().any(has_number_for_file),
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<Number>().is_ok()
}

fn has_long_number(text: &str) -> bool {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.map(str::len).max().is_some_and(|longest| longest > MAX_IDENTIFIER)
}

fn assert_holds_no_secret(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.to_ascii_lowercase();
                assert!(!SECRETS.contains(&name.as_str()), "{name}");
                assert!(!FILES.contains(&name.as_str()) || !is_file(field), "{name}: {field}");
                assert_holds_no_secret(field);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_holds_no_secret),
        _ => {}
    }
}

/// Whether it is the content of a file.
fn is_file(field: &Value) -> bool {
    match field {
        Value::String(text) if text.starts_with('[') => !text.ends_with(" cut]"),
        Value::String(text) => !text.is_empty() && !is_number(text),
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_number),
        _ => false,
    }
}
