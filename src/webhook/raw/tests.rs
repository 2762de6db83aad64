//! Tests of what is kept of a payload.

use proptest::prelude::*;
use serde_json::json;

use super::super::jsonb::tests::read;
use super::*;

fn kept(payload: Value) -> Value {
    read(&super::kept(&payload, 0).unwrap())
}

#[test]
fn keys_are_left_out_wherever_they_stand() {
    let payload = json!({
        "apikey": "k", "APIKEY": "k", "data": {"api_key": "k", "list": [{"apiKey": "k", "a": 1}]},
        "appStateSyncKeyShare": {"keys": ["k"]}, "text": "apikey"
    });
    assert_eq!(kept(payload), json!({"data": {"list": [{"a": 1}]}, "text": "apikey"}));
}

#[test]
fn urls_of_the_webhook_and_of_evolution_are_kept_without_a_password() {
    for (url, expected) in [
        ("https://bot.example.com/hook", "https://bot.example.com/hook"),
        ("https://me:pa@ss@bot.example.com/hook@1", "https://***@bot.example.com/hook@1"),
        ("https://bot.example.com?token=secret#top", "https://bot.example.com?***"),
        ("https://me@bot.example.com/#/?a", "https://***@bot.example.com/#/?***"),
        ("no url", "no url"),
    ] {
        let payload = json!({"destination": url, "SERVER_URL": url, "text": url});
        let expected = json!({"destination": expected, "SERVER_URL": expected, "text": url});
        assert_eq!(kept(payload), expected);
        assert_eq!(kept(expected.clone()), expected, "read again");
    }
}

#[test]
fn files_are_cut_to_their_length_in_every_form() {
    let payload = json!({
        "base64": "RkFLRé",
        "jpegThumbnail": {"0": 255, "1": 216, "2": 255},
        "quotedMessage": {"imageMessage": {
            "caption": "azul", "PNGThumbnail": [1, 2], "base64": "xx",
            "thumbnail": {"type": "Buffer", "data": [1, 2, 3, 4]}
        }},
        "thumbnailUrl": "https://example.com/t", "mediaKey": {"0": 1}
    });
    assert_eq!(
        kept(payload),
        json!({
            "base64": "[6 characters cut]",
            "jpegThumbnail": "[3 bytes cut]",
            "quotedMessage": {"imageMessage": {
                "caption": "azul", "PNGThumbnail": "[2 bytes cut]", "base64": "[2 characters cut]",
                "thumbnail": "[4 bytes cut]"
            }},
            "thumbnailUrl": "https://example.com/t", "mediaKey": {"0": 1}
        })
    );
}

#[test]
fn what_only_has_the_name_of_a_file_stays() {
    let payload = json!({
        "base64": true, "thumbnail": null, "jpegThumbnail": {}, "pngThumbnail": "",
        "list": [{"thumbnail": {"url": "https://example.com/t", "apikey": "k"}}]
    });
    assert_eq!(
        kept(payload),
        json!({
            "base64": true, "thumbnail": null, "jpegThumbnail": {}, "pngThumbnail": "",
            "list": [{"thumbnail": {"url": "https://example.com/t"}}]
        })
    );
}

#[test]
fn numbers_that_numeric_cannot_hold_become_text() {
    let whole = |digits: usize| "9".repeat(digits);
    let fraction = |digits: usize| format!("0.{}", "9".repeat(digits));
    for (literal, fits) in [
        ("0".to_owned(), true),
        ("1e400".to_owned(), true),
        ("1E+131071".to_owned(), true),
        ("1e131072".to_owned(), false),
        ("-1e131071".to_owned(), true),
        ("1e-16383".to_owned(), true),
        ("1e-16384".to_owned(), false),
        ("1.5e-16383".to_owned(), false),
        ("1e99999999999999999999".to_owned(), false),
        ("1e-99999999999999999999".to_owned(), false),
        (whole(131_072), true),
        (whole(131_073), false),
        (fraction(16_383), true),
        (fraction(16_384), false),
    ] {
        assert_eq!(fits_numeric(&literal), fits, "{:.30}", literal);
        let payload: Value = serde_json::from_str(&format!("[{literal}]")).unwrap();
        assert_eq!(kept(payload)[0].is_string(), !fits, "{:.30}", literal);
    }
}

/// JSON in which secrets and files may stand anywhere; both say `hidden`.
fn any_payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!("hidden")), Just(json!(7)), Just(json!(null))];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let key = prop_oneof!["apikey", "Api_Key", "base64", "jpegThumbnail", "[a-c]"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn hides(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(key, field)| {
            !is_among(&SECRETS, key)
                && hides(field)
                && !(is_among(&FILES, key) && field == "hidden")
        }),
        Value::Array(items) => items.iter().all(hides),
        _ => true,
    }
}

proptest! {
    #[test]
    fn no_key_and_no_file_is_kept(payload in any_payload()) {
        prop_assert!(hides(&kept(json!([payload]))));
    }
}
