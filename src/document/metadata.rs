//! What the index stores beside the vector, for filters and results.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::Document;
use super::field::{FieldName, is_rounded};
use crate::settings::DocumentSettings;

/// The fields of a document that are its metadata, sorted by name.
#[derive(Debug)]
pub(super) struct Metadata(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: FieldName,
    /// Whether a text there is stored as the number that it is.
    is_number: bool,
}

impl Metadata {
    /// Checks the names of the fields.
    pub fn new(settings: &DocumentSettings) -> Result<Self, String> {
        let field = |name: &String| {
            let is_number = settings.numbers.contains(name);
            Ok(Field { name: FieldName::new(name).map_err(|error| format!("document.metadata: {error}"))?, is_number })
        };
        let mut fields = settings.metadata.iter().map(field).collect::<Result<Vec<_>, String>>()?;
        fields.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        Ok(Self(fields))
    }

    /// See [`Template::metadata`](super::template::Template::metadata).
    pub fn of(&self, document: &Document) -> String {
        serde_json::to_string(&Present(&self.0, document)).expect("texts and JSON values always serialise")
    }
}

struct Present<'a>(&'a [Field], &'a Document);

impl Serialize for Present<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter_map(|field| Some((field.name.as_str(), field.of(self.1)?))))
    }
}

impl Field {
    fn of<'a>(&self, document: &'a Document) -> Option<Cow<'a, Value>> {
        let value = self.name.of_document(document)?;
        let number = value.as_str().filter(|_| self.is_number).and_then(number);
        Some(number.map_or(Cow::Borrowed(value), |number| Cow::Owned(number.into())))
    }
}

/// The number that a text is, with or without white space around it. `None` also for one that would be rounded to another whole number.
fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let whole = text.parse::<i64>().ok().map(Number::from);
    whole.or_else(|| Number::from_f64(text.parse().ok()?)).filter(|number| !is_rounded(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, DocumentId, Operation, Version};

    fn metadata(settings: Value, fields: Value) -> String {
        let mut all = json!({"id": "id", "text": "{{ t }}"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let document = Document::from(Change {
            id: DocumentId::new("d").unwrap(),
            operation: Operation::Upsert,
            version: Version::from_nanos(1),
            fields: serde_json::from_value(fields).unwrap(),
            priority: 0,
            immediate: false,
        });
        Metadata::new(&serde_json::from_value(all).unwrap()).unwrap().of(&document)
    }

    #[test]
    fn it_is_canonical() {
        let listed = json!({"metadata": ["price", "category", "/shop/name", "missing"]});
        let full = json!({"price": 1.5, "category": {"b": 1, "a": "\"x\""}, "shop": {"name": "n"}, "other": 1, "missing": null});
        assert_eq!(metadata(listed.clone(), full), r#"{"/shop/name":"n","category":{"a":"\"x\"","b":1},"price":1.5}"#);
        assert_eq!(metadata(listed, json!({})), "{}");
    }

    #[test]
    fn a_text_that_is_a_number_is_stored_as_one_where_that_is_asked_for() {
        let stored = |value: Value| {
            let listed = json!({"metadata": ["/shop/price", "sku"], "numbers": ["/shop/price"]});
            let told = metadata(listed, json!({"shop": {"price": value}, "sku": "007"}));
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["sku"], json!("007"), "another field is left as it is");
            told["/shop/price"].clone()
        };
        for (text, number) in [
            ("12.50", json!(12.5)),
            (" 7 ", json!(7)),
            ("-0.25", json!(-0.25)),
            ("+3", json!(3)),
            ("007", json!(7)),
            ("1e3", json!(1000.0)),
            ("9223372036854775807", json!(i64::MAX)),
        ] {
            assert_eq!(stored(json!(text)), number, "{text}");
        }
        for other in ["", "on request", "12,50", "1,299.00", "$5", "NaN", "inf", "1e400", "9223372036854775808"] {
            assert_eq!(stored(json!(other)), json!(other));
        }
        for other in [json!(1.5), json!(true), json!(["1"]), json!({"a": "1"})] {
            assert_eq!(stored(other.clone()), other);
        }
    }
}
