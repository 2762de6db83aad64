//! Reads what the writer wrote, as PostgreSQL would, and says where it is not what was meant.

use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::*;

/// The JSON that the bytes are.
pub fn read(jsonb: &Jsonb) -> Value {
    container(&jsonb.0, 0)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn container(bytes: &[u8], start: usize) -> Value {
    let start = start.next_multiple_of(ALIGNMENT);
    let (header, entries) = (word(bytes, start), start + 4);
    let count = (header & LENGTH) as usize;
    let is_object = header & OBJECT != 0;
    assert_eq!(is_object, header & ARRAY == 0);
    let children = if is_object { 2 * count } else { count };
    let values = entries + 4 * children;
    let mut end = 0;
    let mut found: Vec<Value> = Vec::new();
    for child in 0..children {
        let entry = word(bytes, entries + 4 * child);
        let length = (entry & LENGTH) as usize;
        let begin = end;
        assert_eq!(entry & HAS_END != 0, child % STRIDE == 0);
        end = if child % STRIDE == 0 { length } else { begin + length };
        found.push(value(bytes, entry & KIND, values + begin, values + end));
    }
    if !is_object {
        return Value::Array(found);
    }
    let fields = found.split_off(count);
    let names = found.into_iter().map(|name| name.as_str().unwrap().to_owned());
    let names: Vec<String> = names.collect();
    assert!(names.is_sorted_by_key(|name| (name.len(), name.clone())));
    Value::Object(names.into_iter().zip(fields).collect::<Map<_, _>>())
}

fn value(bytes: &[u8], kind: u32, begin: usize, end: usize) -> Value {
    match kind {
        TEXT => json!(std::str::from_utf8(&bytes[begin..end]).unwrap()),
        NUMBER => Value::Number(number(&bytes[begin.next_multiple_of(ALIGNMENT)..end])),
        CONTAINER => container(bytes, begin),
        _ => {
            assert_eq!(begin, end);
            match kind {
                NULL => Value::Null,
                TRUE => json!(true),
                FALSE => json!(false),
                other => panic!("{other:x}"),
            }
        }
    }
}

/// All the digits of a `numeric`.
fn number(bytes: &[u8]) -> Number {
    let length = if cfg!(target_endian = "little") { word(bytes, 0) >> 2 } else { word(bytes, 0) };
    assert_eq!(length as usize, bytes.len());
    let words: Vec<u16> =
        bytes[4..].chunks(2).map(|two| u16::from_ne_bytes(two.try_into().unwrap())).collect();
    let (is_negative, scale, weight, digits) = match words[0] & 0xC000 {
        0x8000 => {
            let weight = i32::from(words[0] & 0x3F) - i32::from(words[0] & 0x40);
            (words[0] & 0x2000 != 0, words[0] >> 7 & 0x3F, weight, &words[1..])
        }
        sign => (sign != 0, words[0] & 0x3FFF, i32::from(words[1].cast_signed()), &words[2..]),
    };
    let digit = |power: i32| {
        let place = usize::try_from(weight - power).ok();
        format!("{:04}", place.and_then(|place| digits.get(place)).unwrap_or(&0))
    };
    let whole: String = (0..=weight.max(0)).rev().map(digit).collect();
    let scale = usize::from(scale);
    let behind: i32 = scale.div_ceil(4).try_into().unwrap();
    let fraction: String = (1..=behind).map(|place| digit(-place)).collect();
    let whole = whole.trim_start_matches('0');
    let sign = if is_negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{}", &fraction[..scale]).parse().unwrap()
}

fn written(value: &Value) -> Jsonb {
    let mut writer = Writer::default();
    write(&mut writer, value);
    writer.finish().unwrap()
}

fn write(writer: &mut Writer, value: &Value) -> Entry {
    match value {
        Value::Null => Entry::NULL,
        Value::Bool(flag) => Entry::flag(*flag),
        Value::Number(number) => writer.number(number.as_str()),
        Value::String(text) => writer.text(text),
        Value::Array(items) => writer.array(items.iter(), write),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.as_str(), field));
            writer.object(fields.collect(), write)
        }
    }
}

#[test]
fn the_bytes_are_those_of_postgresql() {
    let jsonb = written(&json!({"bb": [true, null], "a": 12345, "c": "é"}));
    let words: &[u32] = &[
        OBJECT | 3,
        // a, c, bb: the first with its end, like every thirty-second.
        HAS_END | TEXT | 1,
        TEXT | 1,
        TEXT | 2,
        NUMBER | 10,
        TEXT | 2,
        CONTAINER | 12,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend_from_slice(b"acbb");
    let length: u32 = if cfg!(target_endian = "little") { 10 << 2 } else { 10 };
    bytes.extend_from_slice(&length.to_ne_bytes());
    for half_word in [SHORT_OF_WEIGHT_ONE, 1, 2345] {
        bytes.extend_from_slice(&half_word.to_ne_bytes());
    }
    bytes.extend_from_slice("é".as_bytes());
    for word in [ARRAY | 2, HAS_END | TRUE, NULL] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    assert_eq!(jsonb.0, bytes);
}

const SHORT_OF_WEIGHT_ONE: u16 = 0x8001;

#[test]
fn numbers_keep_their_digits() {
    for (literal, digits) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("7", "7"),
        ("-12.50", "-12.50"),
        ("10000", "10000"),
        ("100000000", "100000000"),
        ("0.0001", "0.0001"),
        ("0.00001", "0.00001"),
        ("1E+5", "100000"),
        ("1.25e1", "12.5"),
        ("125e-3", "0.125"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1760000000.123456789", "1760000000.123456789"),
    ] {
        let literal: Value = serde_json::from_str(&format!("[{literal}]")).unwrap();
        assert_eq!(read(&written(&literal)).to_string(), format!("[{digits}]"));
    }
    for literal in ["1e400", "1e131071", "-1e-16383", "1e-300"] {
        let literal: Value = serde_json::from_str(&format!("[{literal}]")).unwrap();
        let plain = read(&written(&literal));
        assert_eq!(written(&plain), written(&literal));
    }
}

#[test]
fn what_is_longer_than_an_entry_can_say_is_no_jsonb() {
    let mut writer = Writer::default();
    writer.array([(), ()].iter(), |_, ()| Entry(TEXT | LENGTH));
    assert_eq!(writer.finish(), None);
}

/// Texts, numbers, and containers with more values than one stride.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        "[a-zé😀]{0,9}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 200, 70, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..70).prop_map(Value::Array),
            prop::collection::vec(("[a-zé]{0,3}", inner), 0..70)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .prop_map(|value| json!([value]))
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(value in any_json()) {
        prop_assert_eq!(read(&written(&value)), value);
    }
}
