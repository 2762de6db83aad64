//! Tests of key, time and context of a message, beyond what the fixtures show.

use serde_json::json;

use super::*;

fn envelope(own_jid: &str) -> Envelope {
    Envelope {
        event: "messages.upsert".to_owned(),
        instance: "loja-demo".to_owned(),
        own_jid: Jid::new(own_jid),
    }
}

fn read(data: Value) -> Message {
    let envelope = envelope("5511988880000:3@s.whatsapp.net");
    Message::read(MessageEvent::Upsert, &envelope, &data).unwrap()
}

fn alt(key: Value) -> Option<String> {
    read(json!({ "key": key })).alt.map(|alt| alt.to_string())
}

#[test]
fn the_other_jid_is_the_other_kind_of_the_same_person() {
    let phone = "5511999990001@s.whatsapp.net";
    let lid = "100000000000001@lid";
    for (jid, other, alternative) in
        [(phone, lid, Some(lid)), (lid, phone, Some(phone)), (lid, lid, None)]
    {
        for name in ["remoteJidAlt", "senderPn", "senderLid"] {
            let key = json!({"id": "A", "remoteJid": jid, name: other});
            assert_eq!(alt(key).as_deref(), alternative, "{name}");
        }
    }
}

#[test]
fn the_own_number_is_never_the_other_jid_of_a_customer() {
    for own in ["5511988880000@s.whatsapp.net", "551188880000@s.whatsapp.net"] {
        assert_eq!(alt(json!({"id": "A", "remoteJid": "1@lid", "remoteJidAlt": own})), None);
    }
}

#[test]
fn groups_and_stories_have_no_other_jid() {
    for jid in ["120363000000000001@g.us", "status@broadcast"] {
        let key = json!({"id": "A", "remoteJid": jid, "remoteJidAlt": "1@lid"});
        assert_eq!(alt(key), None);
    }
}

#[test]
fn a_time_is_read_in_every_form() {
    for (value, time) in [
        (json!(1_761_055_199), Some(1_761_055_199)),
        (json!("1761055199"), Some(1_761_055_199)),
        (json!(1_761_055_199.7), Some(1_761_055_199)),
        (json!({"low": 1_761_055_199, "high": 0, "unsigned": true}), Some(1_761_055_199)),
        (json!({"low": -2_147_483_648_i64, "high": 0}), Some(2_147_483_648)),
        (json!({"low": 118_607_763, "high": 410}), Some(1_761_055_199)),
        (json!(1_761_055_199_000_i64), Some(1_761_055_199)),
        (json!(0), None),
        (json!(-5), None),
        (json!(null), None),
        (json!("soon"), None),
        (json!(i64::MAX), None),
        (serde_json::from_str("1e400").unwrap(), None),
    ] {
        let message = json!({"key": {"id": "A", "remoteJid": "1@lid"}, "messageTimestamp": value});
        assert_eq!(read(message).sent_at, time, "{value}");
    }
}

#[test]
fn the_number_in_a_wamid_outranks_the_chat_that_the_key_names() {
    let customer = "wamid.HBgNNTUxNjk5MjMxODIyMhUC";
    for (id, named, chat) in [
        (customer, "5511999990001@s.whatsapp.net", "5516992318222@s.whatsapp.net"),
        (customer, "551692318222@s.whatsapp.net", "551692318222@s.whatsapp.net"),
        (customer, "100000000000001@lid", "100000000000001@lid"),
        ("wamid.FAKEOUT", "5511999990001@s.whatsapp.net", "5511999990001@s.whatsapp.net"),
    ] {
        let message = read(json!({"key": {"id": id, "remoteJid": named}}));
        assert_eq!(message.jid.as_str(), chat, "{named}");
    }
}

#[test]
fn a_wamid_tells_the_number_of_the_customer() {
    for (id, number) in [
        ("wamid.HBgNNTUxMTk5OTk5MDAwMRUCABIYFDNB4811DA4EC1F68008", Some("5511999990001")),
        ("wamid.HBgLNjAxNzM1MjYyMzMVAgASGBQz", Some("60173526233")),
        ("wamid.HBgNNTUxNjk5MjMxODIyMhUC", Some("5516992318222")),
        ("wamid.HBgNNTUxNjk5MjMxODIyMg", Some("5516992318222")),
        ("wamid.HBgNNTUx", None),
        ("wamid.FAKEOUT", None),
        ("wamid.", None),
        ("wamid.é", None),
        ("HBgNNTUxMTk5OTk5MDAwMRUC", None),
    ] {
        assert_eq!(number_in_wamid(id).as_deref(), number, "{id}");
    }
}

#[test]
fn quote_and_mentions_are_found_wherever_they_stand() {
    let context =
        json!({"stanzaId": "Q", "mentionedJid": ["5511988880000:1@s.whatsapp.net", 7, ""]});
    let text = json!({"extendedTextMessage": {"text": "oi", "contextInfo": context}});
    for data in [
        json!({"contextInfo": context, "message": {"conversation": "oi"}}),
        json!({"contextInfo": {"mentionedJid": []}, "message": {"contextInfo": context}}),
        json!({"contextInfo": null, "message": text}),
        json!({"message": {"ephemeralMessage": {"message": text}}}),
    ] {
        let mut data = data;
        data["key"] = json!({"id": "A", "remoteJid": "1@lid"});
        let message = read(data);
        assert_eq!(message.quoted_id.as_deref(), Some("Q"));
        assert_eq!(message.mentions, [Jid::new("5511988880000@s.whatsapp.net").unwrap()]);
    }
}

#[test]
fn an_empty_participant_is_no_author() {
    let message = read(json!({"key": {"id": "A", "remoteJid": "1@lid", "participant": ""}}));
    assert_eq!(message.author, None);
    assert_eq!(message.message_type, "unknown");
    assert!(!message.has_addressing_mode);
}

#[test]
fn names_and_types_are_cut_and_an_id_may_be_a_number() {
    let message = read(json!({
        "key": {"id": 42, "remoteJid": "5511999990001", "fromMe": "true"},
        "pushName": format!("Maria\n{}", "é".repeat(300)), "messageType": "é".repeat(60)
    }));
    assert_eq!(message.id, "42");
    assert_eq!(message.jid.as_str(), "5511999990001@s.whatsapp.net");
    assert!(message.from_me);
    assert_eq!(message.push_name, Some(format!("Maria {}", "é".repeat(249))));
    assert_eq!(message.message_type, "é".repeat(50));
    for id in [json!(1e2), json!(-42), json!(0.5), json!(true)] {
        let data = json!({"key": {"id": id, "remoteJid": "1@lid"}});
        let read = Message::read(MessageEvent::Upsert, &envelope(""), &data);
        assert!(matches!(read, Err(Refusal::NoMessageId { .. })), "{data}");
    }
}

#[test]
fn what_goes_through_the_api_is_ours_whatever_the_key_says() {
    let data = json!({"key": {"id": "A", "remoteJid": "1@lid", "fromMe": false}});
    let message = Message::read(MessageEvent::Send, &envelope(""), &data).unwrap();
    assert!(message.from_me);
}
