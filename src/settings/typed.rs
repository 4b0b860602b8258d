//! Reading a [`Node`] as a settings type, with errors that can be told to a person.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde_yaml::Value;

use super::layers::node;
use super::node::{Kind, Node};
use super::yaml;

/// Why a value is not what is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A key that nothing reads.
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that are read there.
        known: &'static [&'static str],
    },
    /// A key that is needed.
    Missing(&'static str),
    /// A name that is none of a fixed list.
    UnknownName {
        /// The name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// A value of another type, or out of range.
    Unfit {
        /// What was found, as a person would say it.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// What the type itself says.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, .. } => write!(f, "unknown key `{key}`"),
            Self::Missing(key) => write!(f, "`{key}` is missing"),
            Self::UnknownName { name, .. } => write!(f, "unknown value `{name}`"),
            Self::Unfit { found, expected } => write!(f, "needs {expected}, not {found}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Other(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Unfit { found: found_in_words(found), expected: expected_in_words(&expected.to_string()) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: key.to_owned(), known }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownName { name: name.to_owned(), known }
    }
}

fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => format!("the text `{text}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a group of keys".to_owned(),
        other => other.to_string(),
    }
}

fn expected_in_words(expected: &str) -> String {
    match expected {
        "a string" | "string" | "path string" => "text",
        "a boolean" => "`true` or `false`",
        "u64" | "usize" => "a whole number, 0 or more",
        "f64" => "a number",
        "a sequence" => "a list like `[a, b]`",
        "a map" => "a group of keys",
        other if other.starts_with("struct ") => "a group of keys",
        other if other.ends_with(" enum") || other.starts_with("enum ") => "a name",
        other => other,
    }
    .to_owned()
}

impl Node {
    /// What a text from outside the file stands for where something else than a text is needed.
    fn read_text(&self) -> Option<Kind> {
        let (Kind::Text(text), Some(_)) = (&self.kind, &self.origin) else { return None };
        match yaml::parse(text).ok()? {
            value @ (Value::Bool(_) | Value::Number(_)) => Some(node(value).kind),
            _ => None,
        }
    }
}

fn visit<'de, V: Visitor<'de>>(kind: &'de Kind, visitor: V) -> Result<V::Value, Fault> {
    match kind {
        Kind::Null => visitor.visit_unit(),
        Kind::Text(text) => visitor.visit_borrowed_str(text),
        Kind::List(list) => visitor.visit_seq(SeqDeserializer::new(list.iter())),
        Kind::Map(map) => visitor.visit_map(MapDeserializer::new(map.iter().map(|(key, value)| (key.as_str(), value)))),
        scalar => visit_scalar(scalar, visitor),
    }
}

fn visit_scalar<'de, V: Visitor<'de>>(kind: &Kind, visitor: V) -> Result<V::Value, Fault> {
    match kind {
        Kind::Bool(value) => visitor.visit_bool(*value),
        Kind::Float(number) => visitor.visit_f64(*number),
        Kind::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => visitor.visit_i128(*number),
        },
        _ => visitor.visit_unit(),
    }
}

/// A number or a boolean is wanted: a text from the environment or `--set` is read as one.
macro_rules! deserialize_scalar {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.read_text() {
                Some(kind) => visit_scalar(&kind, visitor),
                None => visit(&self.kind, visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visit(&self.kind, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Text(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            kind => visit(kind, visitor),
        }
    }

    /// By serde alone a list would do, its elements taken for the keys in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            kind => visit(kind, visitor),
        }
    }

    deserialize_scalar! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Fault> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u64, Fault> {
        let node = Node { kind: Kind::Text(text.to_owned()), origin: Some("`--set`".to_owned()) };
        serde::Deserialize::deserialize(&node)
    }

    #[test]
    fn a_text_from_outside_is_read_as_a_number_within_the_bounds_of_yaml() {
        assert_eq!(number("5 # [[["), Ok(5));
        // The parser would take the first for a number too, and minutes for the second.
        for text in ["5 # ".to_owned() + &"[".repeat(257), "[".repeat(100_000), "!tag 5".to_owned()] {
            assert!(matches!(number(&text), Err(Fault::Unfit { .. })));
        }
    }
}
