//! Reads a `jsonb` as PostgreSQL's own code does (jsonb.h, numeric.c), and panics where a byte is not what
//! `jsonb_in` would have written. It shares nothing with the code that wrote it.

use serde_json::{Map, Number, Value};

const END: u32 = 0x8000_0000;
const KIND: u32 = 0x7000_0000;
const LENGTH: u32 = 0x0FFF_FFFF;
const SCALAR: u32 = 0x1000_0000;
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

/// Every entry of this many tells where its value ends.
const STRIDE: usize = 32;

/// PostgreSQL's `NUMERIC_DSCALE_MASK`.
const MOST_SCALE: u16 = 0x3FFF;

/// The value that the bytes are, without the word of their length.
pub fn read(bytes: &[u8]) -> Value {
    container(bytes, 0, bytes.len())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn container(bytes: &[u8], start: usize, stop: usize) -> Value {
    assert!(start.is_multiple_of(4), "a container begins at a multiple of four");
    let header = word(bytes, start);
    let count = (header & LENGTH) as usize;
    let kind = header & !LENGTH;
    assert!(matches!(kind, OBJECT | ARRAY), "kind {kind:x}, scalar {}", kind & SCALAR != 0);
    let children = if kind == OBJECT { 2 * count } else { count };
    let base = start + 4 + 4 * children;
    let (mut end, mut values) = (0, Vec::with_capacity(children));
    for child in 0..children {
        let entry = word(bytes, start + 4 + 4 * child);
        let (begin, length) = (end, (entry & LENGTH) as usize);
        assert_eq!(entry & END != 0, child.is_multiple_of(STRIDE), "where ends are told");
        end = if entry & END != 0 { length } else { begin + length };
        assert!(begin <= end, "values follow each other");
        values.push(value(bytes, entry & KIND, base + begin, base + end));
    }
    assert_eq!(base + end, stop, "nothing follows the last value");
    if kind == ARRAY {
        return Value::Array(values);
    }
    let fields = values.split_off(count);
    let names: Vec<String> = values.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let is_sorted = names.is_sorted_by(|one, next| (one.len(), one) < (next.len(), next));
    assert!(is_sorted, "names are sorted, and differ");
    Value::Object(names.into_iter().zip(fields).collect::<Map<_, _>>())
}

fn value(bytes: &[u8], kind: u32, begin: usize, end: usize) -> Value {
    let padded = begin.next_multiple_of(4);
    let aligned = || {
        assert!(bytes[begin..padded].iter().all(|byte| *byte == 0), "padding is zero");
        padded
    };
    match kind {
        0 => text(&bytes[begin..end]).into(),
        0x1000_0000 => Value::Number(numeric(&bytes[aligned()..end])),
        0x5000_0000 => container(bytes, aligned(), end),
        0x2000_0000..=0x4000_0000 => {
            assert_eq!(begin, end, "flags and null have no bytes");
            match kind {
                0x2000_0000 => false.into(),
                0x3000_0000 => true.into(),
                _ => Value::Null,
            }
        }
        other => panic!("no kind of jsonb: {other:x}"),
    }
}

fn text(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).expect("texts are UTF-8");
    assert!(!text.contains('\0'), "PostgreSQL has no U+0000");
    text
}

fn numeric(bytes: &[u8]) -> Number {
    let length = if cfg!(target_endian = "little") { word(bytes, 0) >> 2 } else { word(bytes, 0) };
    assert_eq!(length as usize, bytes.len(), "the length of a numeric");
    let half_words: Vec<u16> = bytes[4..].chunks(2).map(half_word).collect();
    let header = half_words[0];
    let is_short = header & 0xC000 == 0x8000;
    let (is_negative, scale, weight, digits) = if is_short {
        let weight = i32::from(header & 0x3F) - i32::from(header & 0x40);
        (header & 0x2000 != 0, header >> 7 & 0x3F, weight, &half_words[1..])
    } else {
        assert_ne!(header & 0xC000, 0xC000, "neither NaN nor infinite");
        let weight = i32::from(half_words[1].cast_signed());
        assert!(header & MOST_SCALE > 63 || !(-64..=63).contains(&weight), "the short form");
        (header & 0x4000 != 0, header & MOST_SCALE, weight, &half_words[2..])
    };
    assert!(digits.iter().all(|digit| *digit < 10_000), "digits of base 10,000");
    assert!(digits.first() != Some(&0) && digits.last() != Some(&0), "no zeros at either end");
    assert!(!digits.is_empty() || (!is_negative && weight == 0), "zero is plain");
    assert!(weight < 32_768, "whole digits");
    decimal(is_negative, usize::from(scale), weight, digits)
}

fn half_word(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes(bytes.try_into().expect("two bytes"))
}

fn decimal(is_negative: bool, scale: usize, weight: i32, digits: &[u16]) -> Number {
    let digit = |power: i32| {
        let place = usize::try_from(weight - power).ok();
        format!("{:04}", place.and_then(|place| digits.get(place)).unwrap_or(&0))
    };
    let whole: String = (0..=weight.max(0)).rev().map(digit).collect();
    let behind = i32::try_from(scale.div_ceil(4)).expect("a scale is small");
    let fraction: String = (1..=behind).map(|place| digit(-place)).collect();
    let shown = &fraction[..scale];
    assert!(fraction[scale..].bytes().all(|byte| byte == b'0'), "no digit is behind the scale");
    let whole = whole.trim_start_matches('0');
    let (sign, point) = (if is_negative { "-" } else { "" }, if scale > 0 { "." } else { "" });
    let whole = if whole.is_empty() { "0" } else { whole };
    format!("{sign}{whole}{point}{shown}").parse().expect("a decimal number")
}
