//! Tests of the encoding traps.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn nul_goes_and_lone_surrogates_become_the_replacement_character() {
    for (text, read) in [
        (r#""a\u0000b""#, "ab"),
        (r#""\u0000\u0000""#, ""),
        (r#""\ud83d\u0000\ude00""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#""\uDE00""#, "\u{fffd}"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud83d\u0000""#, "\u{fffd}"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
    ] {
        assert_eq!(parse(text), Ok(json!(read)), "{text}");
    }
}

#[test]
fn a_whole_pair_and_an_escaped_backslash_stay() {
    for (text, read) in [
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\\u0000""#, r"\u0000"),
        (r#""\\ud83d""#, r"\ud83d"),
        (r#""\\\\u0000""#, r"\\u0000"),
        (r#""\u0001\u00e9""#, "\u{1}é"),
    ] {
        assert!(matches!(mended(text), Cow::Borrowed(_)), "{text}");
        assert_eq!(parse(text), Ok(json!(read)), "{text}");
    }
    assert_eq!(parse(r#""\\\u0000""#), Ok(json!("\\")));
}

#[test]
fn keys_are_mended_too() {
    assert_eq!(parse(r#"{"a\u0000": 1, "\udead": 2}"#), Ok(json!({"a": 1, "\u{fffd}": 2})));
    // Which makes duplicates of some.
    assert_eq!(parse(r#"{"a": 1, "a\u0000": 2}"#), Ok(json!({"a": 2})));
}

#[test]
fn a_byte_order_mark_at_the_start_is_no_part_of_the_text() {
    assert_eq!(parse("\u{feff}{}"), Ok(json!({})));
    assert_eq!(parse("\"\u{feff}\""), Ok(json!("\u{feff}")));
    assert!(parse("\u{feff}\u{feff}{}").is_err());
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    assert_eq!(parse(r#"{"a": 1, "b": 2, "a": 3}"#), Ok(json!({"a": 3, "b": 2})));
}

#[test]
fn numbers_keep_their_digits() {
    for number in ["1e400", "12345678901234567890123456789", "-0.10"] {
        assert_eq!(parse(number).unwrap().to_string(), number.replace("1e400", "1e+400"));
    }
}

#[test]
fn nesting_is_read_to_127_levels_and_refused_beyond() {
    let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse(&nested(127)).is_ok());
    assert_eq!(parse(&nested(128)), Err(Refusal::TooDeep));
    assert_eq!(parse(&"[".repeat(1_000_000)), Err(Refusal::TooDeep));
}

#[test]
fn broken_json_is_refused_without_its_content() {
    for text in
        ["", "{", "\"\\u12\"", "\"\\é\"", "\"\\u00é0\"", "\"\\u+123\"", "\"a\0\"", "\\", "{} {}"]
    {
        match parse(text) {
            Err(Refusal::NotJson { reason }) => assert!(!reason.contains('é'), "{reason}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_code_units_is_read_as_javascript_means_it(
        units: Vec<u16>,
        surrogates in prop::collection::vec(0xD7FE_u16..0xE002, 0..20),
    ) {
        for units in [units, surrogates] {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let meant = String::from_utf16_lossy(&units).replace('\0', "");
            prop_assert_eq!(parse(&format!("\"{escaped}\"")), Ok(Value::String(meant)));
        }
    }

    #[test]
    fn any_text_survives_but_for_its_nuls(text: String) {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(parse(&written), Ok(Value::String(text.replace('\0', ""))));
    }

    #[test]
    fn nothing_makes_the_mender_panic(text in r#"([\\u0d8e"é]|\\u[dD][89c-f]0|\PC){0,40}"#) {
        let once = mended(&text);
        prop_assert_eq!(&mended(&once), &once);
    }
}
