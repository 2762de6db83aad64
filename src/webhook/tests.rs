//! Tests of whole payloads: every fixture, every refusal, and what other versions send.

use super::content::Content;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(fixtures().join("webhooks").join(name)).unwrap()
}

/// What is kept of a payload, as text.
fn raw_text(payload: &Payload) -> String {
    jsonb::tests::read(&payload.raw).to_string()
}

fn expectations() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The classes of `expected.json`.
fn class_of(body: &Body) -> &'static str {
    match body {
        Body::Message(message) => class_of_message(message),
        Body::Receipt(_) => "receipt",
        Body::Change(change) => match change.what {
            ChangeKind::Edited { .. } => "edit",
            ChangeKind::Deleted => "deletion",
            ChangeKind::Nothing => "other",
        },
        Body::Line(_) => "line",
        Body::Qr(_) => "qr",
        Body::Aliases(_) => "aliases",
        Body::History(_) => "history",
        Body::Other => "other",
    }
}

fn class_of_message(message: &Message) -> &'static str {
    match (message.kind, message.jid.kind()) {
        (MessageEvent::Send, _) => "api_send",
        (_, JidKind::Group) => "group",
        (_, JidKind::StatusBroadcast) => "status_broadcast",
        _ if message.from_me => "owner",
        _ if message.content.class == ContentClass::Reaction => "customer_reaction",
        _ => "customer",
    }
}

fn seen(payload: &Payload) -> Value {
    let (content, text, note) = match &payload.body {
        Body::Message(Message { content, .. }) => {
            (Some(content.class.as_str()), content.text.as_deref(), content.note.as_deref())
        }
        Body::Change(Change { what: ChangeKind::Edited { text }, .. }) => {
            (None, text.as_deref(), None)
        }
        _ => (None, None, None),
    };
    json!({
        "event": payload.envelope.event, "class": class_of(&payload.body), "content": content,
        "text": text, "note": note
    })
}

fn body_of(event: &str, data: Value) -> Result<Body, Refusal> {
    let payload = json!({"event": event, "instance": "loja-demo", "data": data});
    read(&payload.to_string()).map(|payload| payload.body)
}

fn message_in(name: &str) -> Message {
    match read(&fixture(name)).unwrap().body {
        Body::Message(message) => message,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_fixture_is_read_as_expected() {
    for (name, expected) in expectations() {
        let payload = read(&fixture(&name)).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(seen(&payload), expected, "{name}");
        assert_eq!(payload.envelope.instance, "loja-demo", "{name}");
        assert!(!raw_text(&payload).contains("apikey"), "{name}");
    }
}

#[test]
fn no_fixture_is_without_expectation() {
    let expectations = expectations();
    for file in std::fs::read_dir(fixtures().join("webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(expectations.contains_key(&name), "{name}");
    }
}

#[test]
fn a_stored_raw_is_read_like_the_payload_it_came_from() {
    // A code to scan is not kept.
    let kept = expectations().into_iter().filter(|(_, expected)| expected["class"] != "qr");
    for (name, expected) in kept {
        let payload = read(&fixture(&name)).unwrap();
        assert_eq!(read(&raw_text(&payload)).as_ref(), Ok(&payload), "{name}");
        let raw = jsonb::tests::read(&payload.raw);
        if expected["content"].is_string() {
            let content = content_of(&raw["data"]);
            assert_eq!(
                json!([content.text, content.note]),
                json!([expected["text"], expected["note"]])
            );
        }
    }
}

#[test]
fn a_customer_message_is_read_in_full() {
    let message = message_in("messages.upsert.reply_quoted.json");
    assert_eq!(message.kind, MessageEvent::Upsert);
    assert_eq!(message.jid.as_str(), "5511999990001@s.whatsapp.net");
    assert_eq!(message.alt, Jid::new("100000000000001@lid"));
    assert_eq!((message.from_me, message.author), (false, None));
    assert_eq!(message.push_name.as_deref(), Some("Maria Silva"));
    assert_eq!(message.status, Some(Status::DeliveryAck));
    assert_eq!(message.sent_at, Some(1_761_055_199));
    assert_eq!(message.quoted_id.as_deref(), Some("3EB002CC331F727EC48827"));
    assert!(message.has_addressing_mode && message.mentions.is_empty());
}

#[test]
fn the_channels_differ_where_their_fixtures_say_so() {
    let cloud = message_in("cloud.messages.upsert.text.json");
    assert_eq!(cloud.cloud_number.as_deref(), Some("5511999990001"));
    let evolution = message_in("evolution.send.message.text.json");
    assert_eq!(evolution.jid.as_str(), "5511999990001@s.whatsapp.net");
    assert!(!evolution.has_addressing_mode && evolution.status.is_none());
    let group = message_in("messages.upsert.from_me_phone_group.json");
    assert_eq!((group.author, group.alt), (Jid::new("5511988880000@s.whatsapp.net"), None));
}

#[test]
fn files_of_a_fixture_are_cut_from_raw() {
    let raw = read(&fixture("messages.upsert.image_base64.json")).unwrap().raw;
    let message = &jsonb::tests::read(&raw)["data"]["message"];
    assert_eq!(message["base64"], "[24 characters cut]");
    assert_eq!(message["imageMessage"]["jpegThumbnail"], "[4 bytes cut]");
    assert_eq!(message["imageMessage"]["mediaKey"]["0"], 41);
}

#[test]
fn the_states_of_the_line_are_told_apart() {
    for (name, state) in [
        ("connection.update.json", LineState::Open),
        ("connection.update.connecting.json", LineState::Connecting),
        ("connection.update.close.json", LineState::Close),
        ("connection.update.refused.json", LineState::Refused),
        ("status.instance.closed.json", LineState::Close),
        ("logout.instance.json", LineState::Close),
    ] {
        assert_eq!(read(&fixture(name)).unwrap().body, Body::Line(state), "{name}");
        assert_eq!(LineState::parse(state.as_str()), Some(state));
    }
    assert_eq!(body_of("connection.update", json!({"state": "odd"})), Ok(Body::Other));
}

#[test]
fn a_group_change_names_a_lid_and_its_phone() {
    let body = read(&fixture("group-participants.update.json")).unwrap().body;
    let lid = Jid::new("100000000000001@lid").unwrap();
    let phone = Jid::new("5511999990001@s.whatsapp.net").unwrap();
    assert_eq!(body, Body::Aliases(vec![(lid, phone)]));
    let half =
        json!({"participantsData": [{"jid": "1@lid"}, null, {"phoneNumber": "5511999990001"}]});
    assert_eq!(body_of("group-participants.update", half), Ok(Body::Aliases(vec![])));
}

#[test]
fn a_receipt_carries_id_status_and_whose_message_it_was() {
    let name = "messages.update.customer_message_read_by_owner.json";
    let Body::Receipt(receipt) = read(&fixture(name)).unwrap().body else { panic!("{name}") };
    assert_eq!(receipt.id, "AC5B697E750360A4B9489839922E75E4");
    assert_eq!((receipt.status, receipt.from_me), (Some(Status::Read), false));
    assert_eq!(receipt.jid, Jid::new("5511999990001@s.whatsapp.net"));
    assert_eq!(body_of("messages.update", json!({"status": "READ"})), Ok(Body::Other));
}

fn change(event: &str, data: Value) -> Change {
    match body_of(event, data) {
        Ok(Body::Change(change)) => change,
        other => panic!("{event}: {other:?}"),
    }
}

#[test]
fn edits_and_deletions_are_read_from_texts_and_numbers() {
    let key = json!({"id": "A"});
    let edit = json!({"key": key, "type": "MESSAGE_EDIT", "timestampMs": "1761055199500",
        "editedMessage": {"imageMessage": {"caption": "azul"}}});
    let edit = change("messages.edited", edit);
    assert_eq!((edit.id.as_str(), edit.at_ms), ("A", Some(1_761_055_199_500)));
    assert_eq!(edit.what, ChangeKind::Edited { text: Some("azul".to_owned()) });
    for kind in [json!("REVOKE"), json!(0)] {
        let revoke = json!({"key": key, "type": kind});
        assert_eq!(change("messages.edited", revoke.clone()).what, ChangeKind::Deleted);
        assert_eq!(change("send.message.update", revoke).what, ChangeKind::Deleted);
    }
    let other = json!({"key": key, "type": "EPHEMERAL_SETTING"});
    assert_eq!(change("messages.edited", other).what, ChangeKind::Nothing);
    assert_eq!(body_of("send.message.update", json!({})), Ok(Body::Other));
}

#[test]
fn a_deletion_through_the_api_names_the_message_in_its_key() {
    let data = json!({"id": "row in the database", "key": {"id": "A"}, "status": "DELETED"});
    assert_eq!(change("messages.delete", data).id, "A");
    assert_eq!(change("messages.delete", json!({"id": "A", "fromMe": true})).id, "A");
}

#[test]
fn an_array_of_one_message_is_that_message() {
    let message =
        json!({"key": {"id": "A", "remoteJid": "1@lid"}, "message": {"conversation": "oi"}});
    let body = body_of("messages.upsert", json!([message]));
    assert!(matches!(
        body,
        Ok(Body::Message(Message { content: Content { text: Some(_), .. }, .. }))
    ));
    for several in [json!([]), json!([message, message])] {
        assert!(matches!(body_of("messages.upsert", several), Err(Refusal::NoMessageId { .. })));
    }
}

#[test]
fn unknown_events_and_events_without_data_are_no_error() {
    for event in ["call", "presence.update", "something.new", "remove.instance", "messages.update"]
    {
        for data in [json!(null), json!([]), json!("x"), json!({"id": 1})] {
            assert_eq!(body_of(event, data), Ok(Body::Other), "{event}");
        }
    }
    let without_data = json!({"event": "something.new", "instance": "loja-demo"});
    assert_eq!(read(&without_data.to_string()).unwrap().body, Body::Other);
}

#[test]
fn what_is_no_webhook_is_refused() {
    let refusal = |text: &str| read(text).unwrap_err();
    assert!(matches!(refusal("{"), Refusal::NotJson { .. }));
    assert_eq!(refusal(&"[".repeat(200)), Refusal::TooDeep);
    for text in ["[]", "null", "7", "\"{}\""] {
        assert_eq!(refusal(text), Refusal::NotAnObject);
    }
    for event in [json!(null), json!(""), json!(" "), json!(7)] {
        let payload = json!({"event": event, "instance": "loja-demo"});
        assert_eq!(refusal(&payload.to_string()), Refusal::NoEvent);
    }
    for instance in [json!(null), json!(""), json!({})] {
        let payload = json!({"event": "messages.upsert", "instance": instance});
        assert_eq!(refusal(&payload.to_string()), Refusal::NoInstance);
    }
    let long = json!({"event": "messages.upsert", "instance": "é".repeat(256)});
    assert_eq!(refusal(&long.to_string()), Refusal::TooLong { field: "instance", limit: 255 });
}

#[test]
fn a_message_without_id_is_refused() {
    for event in ["messages.upsert", "send.message", "messages.edited", "messages.delete"] {
        for data in [json!(null), json!({}), json!({"key": {"id": ""}}), json!({"key": "A"})] {
            let expected = Refusal::NoMessageId { event: event.to_owned() };
            assert_eq!(body_of(event, data), Err(expected), "{event}");
        }
    }
}

#[test]
fn a_message_without_chat_is_refused() {
    for event in ["messages.upsert", "send.message"] {
        let data = json!({"key": {"id": "A", "remoteJid": ""}});
        assert_eq!(body_of(event, data), Err(Refusal::NoChat { event: event.to_owned() }));
    }
}

#[test]
fn an_identifier_over_255_characters_is_refused_wherever_it_stands() {
    let long = "é".repeat(256);
    let full = "é".repeat(255);
    let message = |name: &str, text: &str| {
        let mut key = json!({"id": "A", "remoteJid": "1@lid"});
        key[name] = json!(text);
        body_of("messages.upsert", json!({ "key": key }))
    };
    for (name, field) in [
        ("id", "key.id"),
        ("remoteJid", "key.remoteJid"),
        ("remoteJidAlt", "key.remoteJidAlt"),
        ("participant", "key.participant"),
    ] {
        assert_eq!(message(name, &long), Err(Refusal::TooLong { field, limit: 255 }), "{name}");
        assert!(message(name, &full).is_ok(), "{name}");
    }
    for (event, data, field) in [
        ("messages.edited", json!({"key": {"id": long}}), "key.id"),
        ("messages.delete", json!({"id": long}), "key.id"),
        ("messages.update", json!({"keyId": long}), "keyId"),
    ] {
        assert_eq!(body_of(event, data), Err(Refusal::TooLong { field, limit: 255 }), "{event}");
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let event = || "messages.upsert".to_owned();
    for refusal in [
        Refusal::NotJson { reason: "EOF".to_owned() },
        Refusal::NotAnObject,
        Refusal::TooDeep,
        Refusal::NoEvent,
        Refusal::NoInstance,
        Refusal::NoMessageId { event: event() },
        Refusal::NoChat { event: event() },
        Refusal::TooLong { field: "key.id", limit: 255 },
    ] {
        assert!(refusal.hint().ends_with('.') && !refusal.to_string().ends_with('.'));
    }
}

#[test]
fn nul_lone_surrogates_and_huge_numbers_pass_through_a_whole_payload() {
    let text = r#"{"event": "messages.upsert", "instance": "loja\u0000", "apikey\u0000": "secret",
        "data": {"key": {"id": "A\u0000", "remoteJid": "1@lid", "fromMe": false},
        "message": {"conversation": "oi\u0000 \ud83d \\u0000"}, "pushName": "M\u0000",
        "big": 1e400, "bigger": 1e999999}}"#;
    let payload = read(text).unwrap();
    let Body::Message(message) = &payload.body else { panic!("{:?}", payload.body) };
    assert_eq!(payload.envelope.instance, "loja");
    assert_eq!(message.id, "A");
    assert_eq!(message.push_name.as_deref(), Some("M"));
    assert_eq!(message.content.text.as_deref(), Some("oi \u{fffd} \\u0000"));
    let raw = raw_text(&payload);
    assert!(raw.contains(r#""bigger":"1e+999999""#), "{raw}");
    assert!(raw.contains(&format!(r#""big":1{}"#, "0".repeat(400))), "{raw}");
    assert!(!raw.contains("secret") && !raw.contains('\0'));
}

proptest! {
    #[test]
    fn no_field_of_any_type_makes_reading_panic(
        file in any::<prop::sample::Index>(),
        path in any::<prop::sample::Index>(),
        odd in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!("")), Just(json!("@")),
            Just(json!(-1)), Just(json!({"low": i64::MIN, "high": i64::MAX})), Just(json!([[{}]])),
            Just(serde_json::from_str("1e400").unwrap()), Just(json!("é\u{fffd}:_@lid")),
        ],
    ) {
        let names: Vec<String> = expectations().keys().cloned().collect();
        let text = fixture(&names[file.index(names.len())]);
        let mut payload: Value = serde_json::from_str(&text).unwrap();
        let mut paths = Vec::new();
        pointers(&payload, String::new(), &mut paths);
        *payload.pointer_mut(&paths[path.index(paths.len())]).unwrap() = odd;
        if let Ok(read) = read(&payload.to_string()) {
            prop_assert!(jsonb::tests::read(&read.raw).is_object());
        }
    }
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    if let Value::Object(fields) = value {
        for (key, field) in fields {
            pointers(field, format!("{at}/{key}"), found);
        }
    }
    found.push(at);
}

#[test]
fn a_code_to_scan_is_read_and_neither_kept_nor_shown() {
    let payload = read(&fixture("qrcode.updated.json")).unwrap();
    let Body::Qr(QrUpdate::Code(qr)) = &payload.body else { panic!("{:?}", payload.body) };
    assert_eq!((qr.code.expose(), &qr.pairing_code), ("2@FAKEQRDATA,abc,def", &None));
    for text in [raw_text(&payload), format!("{payload:?}")] {
        assert!(!text.contains("FAKEQRDATA") && !text.contains("RkFLRS1RUg"), "{text}");
    }
    let body = |data: &str| {
        read(&format!(r#"{{"event":"qrcode.updated","instance":"a","data":{data}}}"#)).unwrap().body
    };
    let limit = r#"{"message":"QR code limit reached, please login again","statusCode":500}"#;
    assert_eq!(body(limit), Body::Qr(QrUpdate::LimitReached));
    for data in ["null", "{}", r#"{"qrcode":{"code":""}}"#, r#"{"qrcode":null}"#] {
        assert_eq!(body(data), Body::Other, "{data}");
    }
}
