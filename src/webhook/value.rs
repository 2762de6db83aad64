//! One JSON value from the parser of serde_json, which hands over a number that 64 bits do not hold as a map
//! with one field of a name of its own (feature `arbitrary_precision`), and takes an object whose first field
//! is called so for a number, too, or fails. Here an object stays one, whatever is in it. It mends nothing.

use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The name of that field.
const NAME_OF_NUMBERS: &str = "$serde_json::private::Number";

/// Reads a whole text, without what may stand around it. Of duplicate keys the last wins; numbers keep
/// their digits.
pub(super) fn read(text: &str) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = Json.deserialize(&mut parser)?;
    parser.end()?;
    Ok(read.value)
}

/// A value, and whether it is the digits of a number, as the parser hands them over.
struct Read {
    value: Value,
    is_digits: bool,
}

impl From<Value> for Read {
    fn from(value: Value) -> Self {
        Self { value, is_digits: false }
    }
}

struct Json;

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Read, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Read;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Read, E> {
        Ok(Value::Bool(flag).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Read, E> {
        Ok(Value::from(number).into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Read, E> {
        Ok(Value::from(number).into())
    }

    /// A text of the JSON, which is never handed over as an owned one.
    fn visit_str<E>(self, text: &str) -> Result<Read, E> {
        Ok(Value::String(text.to_owned()).into())
    }

    fn visit_string<E: Error>(self, digits: String) -> Result<Read, E> {
        let number = digits.parse().map_err(E::custom)?;
        Ok(Read { value: Value::Number(number), is_digits: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Json)? {
            array.push(item.value);
        }
        Ok(Value::Array(array).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Read, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key_seed(Name)? {
            let Read { value, is_digits } = fields.next_value_seed(Json)?;
            if is_digits {
                return Ok(value.into());
            }
            object.insert(name.unwrap_or_else(|| NAME_OF_NUMBERS.to_owned()), value);
        }
        Ok(Value::Object(object).into())
    }
}

/// None: it is the one of numbers, of which nobody needs a copy.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Option<String>, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<String>, E> {
        Ok((name != NAME_OF_NUMBERS).then(|| name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As it is written, with every value that may stand there.
    fn posing(value: &Value) -> [(String, Value); 4] {
        let alone = json!({ NAME_OF_NUMBERS: value });
        let with_others = json!({ NAME_OF_NUMBERS: value, "a": 1 });
        let escaped = alone.to_string().replacen('$', "\\u0024", 1);
        [
            (alone.to_string(), alone.clone()),
            (with_others.to_string(), with_others),
            (escaped, alone.clone()),
            (format!(r#"{{"a":[{{"b":{alone}}}]}}"#), json!({"a": [{"b": alone}]})),
        ]
    }

    #[test]
    fn an_object_whose_field_is_called_as_numbers_are_stays_an_object() {
        let values =
            [json!("1e5"), json!("x"), json!("\n"), json!(1), json!(null), json!({}), json!([2])];
        for value in values.iter().chain([&json!({ NAME_OF_NUMBERS: "7" })]) {
            for (text, meant) in posing(value) {
                assert_eq!(read(&text).expect("JSON"), meant, "{text}");
            }
        }
    }

    #[test]
    fn whatever_else_there_is_is_read_as_the_library_itself_reads_it() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            "-0.0",
            "1E400",
            "12345678901234567890",
            r#"{"a":1,"b":[],"a":-1.50e3}"#,
            r#"["\u00e9\n\ud83d\ude00", "", {"": {"": [null, false, 0]}}]"#,
            " 1 ",
            "1 2",
            "[1,]",
            "{\"a\":01}",
            "",
        ] {
            let (ours, theirs) = (read(text), serde_json::from_str::<Value>(text));
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!(ours.to_string(), theirs.to_string(), "{text}")
                }
                (Err(ours), Err(theirs)) => {
                    assert_eq!(ours.to_string(), theirs.to_string(), "{text}")
                }
                (ours, theirs) => panic!("{text}: {ours:?}, {theirs:?}"),
            }
        }
    }
}
