//! Bytes to fields: one strict JSON object per record.
//!
//! Stricter than most readers where leniency hides a broken producer: a key that appears twice has no defined value, so the
//! record is refused instead of keeping one of them.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Fields;
use super::field::quoted;

/// How deep objects and lists may lie inside each other, the record itself included.
pub const MAX_DEPTH: usize = 64;

/// How many values a record may have: fields, elements of lists, and those of everything inside. A value takes two bytes to write and
/// up to some hundreds in memory, so the size of a record does not bound what reading it costs.
pub const MAX_VALUES: usize = 100_000;

/// Reads a record, in one pass: exactly one JSON object in UTF-8, no key twice in one object, at most [`MAX_DEPTH`] levels deep and
/// with at most [`MAX_VALUES`] values. The error says what is wrong and where.
pub fn decode(payload: &[u8]) -> Result<Fields, String> {
    let text = std::str::from_utf8(payload)
        .map_err(|error| format!("the record is not UTF-8: the byte at offset {} is invalid", error.valid_up_to()))?;
    expect_object(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let fields = json
        .deserialize_map(Object { depth: 1, values: &Cell::new(0) })
        .map_err(|error| format!("broken JSON: {error}"))?;
    json.end().map_err(|error| format!("the record goes on after its JSON object: {error}"))?;
    Ok(fields)
}

/// Reads any JSON value as strictly as what a record holds: no key twice in one object, not too deep, not too much.
pub fn strict<'de, D: Deserializer<'de>>(json: D) -> Result<Value, D::Error> {
    Any { depth: 0, values: &Cell::new(0) }.deserialize(json)
}

/// As [`strict`], for a text that holds nothing else.
pub fn strict_text(text: &str) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = strict(&mut json)?;
    json.end()?;
    Ok(value)
}

/// serde's own message for a wrong type quotes the whole value, whatever its size.
fn expect_object(text: &str) -> Result<(), String> {
    let found = match text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next() {
        Some('{') => return Ok(()),
        None => "nothing",
        Some('[') => "a list",
        Some('"') => "a text",
        Some('-' | '0'..='9') => "a number",
        Some('\u{feff}') => "a byte order mark",
        Some(_) => "something that is no JSON",
    };
    Err(format!("the record must be a JSON object, and it starts with {found}"))
}

struct Object<'a> {
    depth: usize,
    /// How many values were read, in the whole record.
    values: &'a Cell<usize>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::new();
        while let Some(key) = map.next_key::<String>()? {
            match fields.entry(key) {
                serde_json::map::Entry::Vacant(vacant) => {
                    vacant.insert(map.next_value_seed(Any { depth: self.depth, values: self.values })?);
                }
                serde_json::map::Entry::Occupied(held) => {
                    return Err(A::Error::custom(format_args!("the key {} appears twice", quoted(held.key()))));
                }
            }
        }
        Ok(fields)
    }
}

/// Any value inside an object or list at this depth.
#[derive(Clone, Copy)]
struct Any<'a> {
    depth: usize,
    values: &'a Cell<usize>,
}

impl Any<'_> {
    fn deeper<E: Error>(self) -> Result<usize, E> {
        if self.depth < MAX_DEPTH {
            Ok(self.depth + 1)
        } else {
            Err(E::custom(format_args!("more than {MAX_DEPTH} levels of objects and lists")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // -0 and 0 are equal numbers with two texts; one of them is enough.
        let value = if value == 0.0 { 0.0 } else { value };
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inside = Self { depth: self.deeper()?, ..self };
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Object { depth: self.deeper()?, values: self.values }.visit_map(map).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        let text =
            r#" {"a":1,"b":-2,"c":18446744073709551615,"d":0.1,"e":"x\u00e9\u0000","f":[null,true,{"g":{}}],"":""} "#;
        let expected: Fields = serde_json::from_str(text).unwrap();
        assert_eq!(decode(text.as_bytes()).unwrap(), expected);
        assert_eq!(decode(b"{}").unwrap(), Fields::new());
    }

    #[test]
    fn refuses_what_is_not_one_object_and_says_what_and_where() {
        let long = format!(r#"{{"{0}":1,"{0}":2}}"#, "k".repeat(500));
        for (payload, reason) in [
            (&b""[..], "the record must be a JSON object, and it starts with nothing"),
            (b"  \r\n", "starts with nothing"),
            (b"[1]", "starts with a list"),
            (b"\"text\"", "starts with a text"),
            (b"-1", "starts with a number"),
            (b"null", "starts with something that is no JSON"),
            (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
            (b"{\"a\":\"\xff\"}", "the record is not UTF-8: the byte at offset 6 is invalid"),
            (b"{\"a\":1", "broken JSON: EOF while parsing an object at line 1 column 6"),
            (b"{\"a\":1}{", "the record goes on after its JSON object: trailing characters at line 1 column 8"),
            (b"{\"a\":1,\"b\":2,\"a\":1}", "broken JSON: the key `a` appears twice at line 1 column 16"),
            (b"{\"x\":[{\"a\":1,\"\\u0061\":1}]}", "broken JSON: the key `a` appears twice"),
            (b"{\"a\":NaN}", "broken JSON: expected value at line 1 column 6"),
            (b"{\"a\":1e999}", "broken JSON: number out of range"),
            (b"{\"a\":\"\\ud800\"}", "broken JSON: "),
            (b"{\"a\":\"\x00\"}", "broken JSON: control character"),
            (b"{'a':1}", "broken JSON: key must be a string at line 1 column 2"),
            (long.as_bytes(), ".` (500 bytes) appears twice"),
        ] {
            let error = decode(payload).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
            assert!(error.len() < 200, "{error}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(decode(nested(MAX_DEPTH).as_bytes()).is_ok());
        let error = decode(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert!(error.contains("more than 64 levels"), "{error}");
        assert!(decode("{\"a\":".repeat(1_000_000).as_bytes()).unwrap_err().contains("more than 64 levels"));
    }

    #[test]
    fn the_number_of_values_is_bounded_wherever_they_lie() {
        let list = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count - 2));
        assert!(decode(list(MAX_VALUES).as_bytes()).is_ok());
        let spread = format!("{{\"a\":[{}{{}}],\"b\":0}}", "{\"\":0},".repeat(MAX_VALUES / 2 - 1));
        for record in [list(MAX_VALUES + 1), spread] {
            let error = decode(record.as_bytes()).unwrap_err();
            assert!(error.starts_with("broken JSON: more than 100000 values at line 1"), "{error}");
        }
    }

    #[test]
    fn equal_zeros_are_one_value() {
        assert_eq!(json!(decode(b"{\"a\":-0.0,\"b\":-0}").unwrap()).to_string(), r#"{"a":0.0,"b":0.0}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_serde_json_reads_them_or_refused(payload in "[{}\\[\\]\":,a0-9 ]{0,24}") {
            if let Ok(fields) = decode(payload.as_bytes()) {
                prop_assert_eq!(fields, serde_json::from_str::<Fields>(&payload).unwrap());
            }
        }
    }
}
