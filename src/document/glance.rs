//! The document that a record seems to name, found without decoding the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The text or the whole number at the end of these keys, as text; if a key is there twice, the first. What comes behind it is not looked
/// at, so the payload may turn out to be no record, or to have a key twice. Nothing is found inside lists.
pub(super) fn glance(payload: &[u8], keys: &[String]) -> Option<String> {
    let mut found = None;
    // The reader of JSON takes it for an error to stop in the middle of an object.
    let _ = Glance { keys, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_slice(payload));
    found
}

struct Glance<'a> {
    keys: &'a [String],
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Glance<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.keys {
            [] => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Glance<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the name of a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((key, keys)) = self.keys.split_first() else {
            return Err(A::Error::custom("an object names no document"));
        };
        while let Some(is_it) = map.next_key_seed(Is(key))? {
            if is_it {
                return map.next_value_seed(Glance { keys, found: self.found });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        *self.found = Some(text.to_owned());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        *self.found = Some(number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        *self.found = Some(number.to_string());
        Ok(())
    }
}

/// Whether a key is this one.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_names_the_document_and_reads_no_further() {
        let deep = format!(r#"{{"t":{}"#, "[".repeat(1_000_000));
        for (payload, keys, found) in [
            (r#"{"id":"p1","t":1}"#, &["id"][..], Some("p1")),
            (r#" { "t" : {"id":"no"}, "id" : -7 }"#, &["id"], Some("-7")),
            (r#"{"id":"p\u00e9","t":1}"#, &["id"], Some("pé")),
            (r#"{"\u0069d":"p1"}"#, &["id"], Some("p1")),
            (r#"{"p":{"r":1,"q":18446744073709551615}}"#, &["p", "q"], Some("18446744073709551615")),
            (r#"{"id":"p1",broken"#, &["id"], Some("p1")),
            (r#"{"id":"p1","id":"p2"}"#, &["id"], Some("p1")),
            (r#"{"t":1}"#, &["id"], None),
            (r#"{"id":null}"#, &["id"], None),
            (r#"{"id":1.5}"#, &["id"], None),
            (r#"{"id":{"a":1}}"#, &["id"], None),
            (r#"{"id":["a"]}"#, &["id"], None),
            (r#"{"p":{}}"#, &["p", "q"], None),
            (r#"{"p":["q"]}"#, &["p", "0"], None),
            (r#"["id"]"#, &["id"], None),
            (r#"{"t":broken,"id":1}"#, &["id"], None),
            (deep.as_str(), &["id"], None),
            ("", &["id"], None),
        ] {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(glance(payload.as_bytes(), &keys).as_deref(), found, "{}", &payload[..payload.len().min(50)]);
        }
    }
}
