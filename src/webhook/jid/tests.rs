//! Tests of JIDs and phone numbers.

use super::*;

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

#[test]
fn equal_people_have_equal_jids() {
    for (written, normal) in [
        ("5511999990001@s.whatsapp.net", "5511999990001@s.whatsapp.net"),
        ("5511999990001:12@s.whatsapp.net", "5511999990001@s.whatsapp.net"),
        ("5511999990001_1:12@s.whatsapp.net", "5511999990001@s.whatsapp.net"),
        ("5511999990001@c.us", "5511999990001@s.whatsapp.net"),
        ("5511999990001@hosted", "5511999990001@s.whatsapp.net"),
        ("5511999990001@S.WhatsApp.net", "5511999990001@s.whatsapp.net"),
        (" 5511999990001 ", "5511999990001@s.whatsapp.net"),
        ("5511999990001:3", "5511999990001@s.whatsapp.net"),
        ("+55 11 99999-0001", "5511999990001@s.whatsapp.net"),
        ("100000000000001:3@lid", "100000000000001@lid"),
        ("100000000000001@hosted.lid", "100000000000001@lid"),
        ("120363000000000001", "120363000000000001@g.us"),
        ("5511999990001-1600000000", "5511999990001-1600000000@g.us"),
        ("somebody", "somebody"),
    ] {
        assert_eq!(jid(written).as_str(), normal, "{written}");
    }
}

#[test]
fn nothing_and_too_much_are_no_jid() {
    assert_eq!(Jid::new(""), None);
    assert_eq!(Jid::new("  "), None);
    assert_eq!(Jid::new(&"1".repeat(256)), None);
    assert_eq!(Jid::new(&format!("{}@c.us", "1".repeat(250))), None);
    assert_eq!(jid(&format!("{}@g.us", "1".repeat(250))).as_str().len(), 255);
}

#[test]
fn the_server_tells_the_kind() {
    for (text, kind) in [
        ("5511999990001@s.whatsapp.net", JidKind::Person),
        ("100000000000001@lid", JidKind::Lid),
        ("120363000000000001@g.us", JidKind::Group),
        ("status@broadcast", JidKind::StatusBroadcast),
        ("1600000000@broadcast", JidKind::Broadcast),
        ("120363000000000001@newsletter", JidKind::Newsletter),
        ("867051314767696@bot", JidKind::Bot),
        ("13135550002@s.whatsapp.net", JidKind::Bot),
        ("13135550002@c.us", JidKind::Bot),
        ("0@s.whatsapp.net", JidKind::Notice),
        ("@s.whatsapp.net", JidKind::Other),
        ("5511999990001@call", JidKind::Other),
        ("somebody", JidKind::Other),
    ] {
        assert_eq!(jid(text).kind(), kind, "{text}");
    }
}

#[test]
fn a_person_may_type_a_chat_in_any_writing() {
    for (written, normal) in [
        ("+55 (11) 99999-0001", "5511999990001@s.whatsapp.net"),
        ("0055 11 99999.0001", "5511999990001@s.whatsapp.net"),
        ("\u{202a}+55\u{a0}11\u{a0}99999\u{2011}0001\u{202c}", "5511999990001@s.whatsapp.net"),
        ("5511999990001", "5511999990001@s.whatsapp.net"),
        ("100000000000001@lid", "100000000000001@lid"),
        ("5511999990001-1600000000@g.us", "5511999990001-1600000000@g.us"),
        ("status@broadcast", "status@broadcast"),
    ] {
        assert_eq!(Jid::from_any_writing(written), Some(jid(normal)), "{written}");
    }
}

#[test]
fn what_names_no_chat_is_no_writing_of_one() {
    for written in [
        "",
        "Maria",
        "maria@example.com",
        "12345",
        "011 99999-0001",
        "+55 11 99999-0001 ext. 2",
        "1234567890123456",
        "maria@s.whatsapp.net",
        "@g.us",
        "a b@g.us",
    ] {
        assert_eq!(Jid::from_any_writing(written), None, "{written}");
    }
}

#[test]
fn one_phone_is_known_under_two_numbers_in_three_countries() {
    for (one, other) in [
        ("5531999990001", "553199990001"),
        ("5215512345678", "525512345678"),
        ("5491123456789", "541123456789"),
    ] {
        let (one, other) = (jid(one), jid(other));
        assert_eq!(one.phone_variants(), [one.clone(), other.clone()]);
        assert_eq!(other.phone_variants(), [other.clone(), one.clone()]);
        assert!(one.is_same_phone(&other) && other.is_same_phone(&one));
    }
}

#[test]
fn a_landline_a_group_and_other_countries_have_one_number() {
    for text in [
        "553133334444@s.whatsapp.net",
        "5531933334444@s.whatsapp.net",
        "4915112345678@s.whatsapp.net",
        "5531999990001@lid",
        "5531999990001@g.us",
        "55é31999990001@s.whatsapp.net",
    ] {
        assert_eq!(jid(text).phone_variants(), [jid(text)], "{text}");
    }
}
