//! Fields of the metadata with a declared type, for systems that filter by such fields only. Whatever else a document's metadata hold is
//! kept as one text.
//!
//! A declared type is what makes filters exact there: `not` a range, for example, is the two ranges beside it only where every value is a
//! number.

mod condition;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Number, Value, json};

use crate::index::filter;
use crate::settings::field_kind::FieldKind;

pub use condition::{Comparison, Sought, Typed};

/// The most characters of a value that an error shows.
const MAX_SHOWN: usize = 60;

/// The declared fields.
#[derive(Debug)]
pub struct Fields(Vec<Field>);

/// A field of the metadata and its type.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// A key of the metadata. It may look like a JSON pointer: what was listed as one, into the record, stands under all of it.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
}

/// What a document has in a field. Nulls in lists are left out: nothing finds them. In JSON it is a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    /// Texts.
    Texts(Vec<String>),
    /// Numbers, all finite, and none of them -0.
    Numbers(Vec<f64>),
    /// Booleans.
    Booleans(Vec<bool>),
}

impl Fields {
    /// Those that the settings declare.
    pub fn new(declared: &BTreeMap<String, FieldKind>) -> Self {
        Self(declared.iter().map(|(name, kind)| Field { name: name.clone(), kind: *kind }).collect())
    }

    /// All of them, by name.
    #[cfg(feature = "weaviate")]
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// What the metadata of a document, as JSON text, have in the declared fields; those that it lacks are left out.
    ///
    /// # Errors
    /// Names the field, the value and the type.
    pub fn read(&self, metadata: &str) -> Result<Vec<(&Field, Values)>, String> {
        let metadata: Value =
            serde_json::from_str(metadata).map_err(|error| format!("its metadata are no JSON: {error}"))?;
        let mut found = Vec::new();
        for field in &self.0 {
            if let Some(value) = metadata.get(&field.name).filter(|value| !value.is_null()) {
                found.push((field, field.read(value)?));
            }
        }
        Ok(found)
    }

    fn named(&self, field: &filter::Field) -> Option<&Field> {
        self.0.iter().find(|declared| field.path == [declared.name.as_str()])
    }
}

impl Values {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.is_empty(),
            Self::Numbers(numbers) => numbers.is_empty(),
            Self::Booleans(booleans) => booleans.is_empty(),
        }
    }

    /// As the field has them in JSON: a list, or the only one.
    pub fn to_json(&self, is_list: bool) -> Value {
        let all = json!(self);
        if is_list { all } else { all[0].clone() }
    }
}

impl Field {
    fn read(&self, value: &Value) -> Result<Values, String> {
        let elements = match value {
            Value::Array(elements) if self.kind.is_list() => elements.as_slice(),
            one => std::slice::from_ref(one),
        };
        let there = elements.iter().filter(|element| !element.is_null());
        let read = match self.kind {
            FieldKind::Text | FieldKind::Texts => {
                there.map(|element| element.as_str().map(str::to_owned)).collect::<Option<_>>().map(Values::Texts)
            }
            FieldKind::Number | FieldKind::Numbers => {
                there.map(|element| exact(element.as_number()?)).collect::<Option<_>>().map(Values::Numbers)
            }
            FieldKind::Boolean | FieldKind::Booleans => {
                there.map(Value::as_bool).collect::<Option<_>>().map(Values::Booleans)
            }
        };
        read.ok_or_else(|| {
            let is_inexact = |element: &Value| element.as_number().is_some_and(|number| exact(number).is_none());
            let holds_numbers = matches!(self.kind, FieldKind::Number | FieldKind::Numbers);
            let limit = if holds_numbers && elements.iter().any(is_inexact) {
                "; whole numbers must lie between -2^53 and 2^53"
            } else {
                ""
            };
            let (name, kind) = (&self.name, self.kind);
            format!("its metadata `{name}` is {}, and `index.metadata` says that it is {kind}{limit}", shown(value))
        })
    }
}

/// The number as a float, when that keeps it apart from all others.
fn exact(number: &Number) -> Option<f64> {
    let whole = number.as_i128();
    if whole.is_some_and(|whole| whole.unsigned_abs() >= filter::MAX_EXACT.into()) {
        return None;
    }
    number.as_f64().map(float)
}

/// Without the sign of zero, which some systems take for a difference.
fn float(number: f64) -> f64 {
    number + 0.0
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(yaml: &str) -> Fields {
        Fields::new(&serde_yaml::from_str(yaml).unwrap())
    }

    #[test]
    fn values_are_read_by_their_declared_types() {
        let fields = fields(
            "{ a: text, b: number, c: boolean, d: 'text[]', e: 'number[]', /f/g: text, h: text, i: 'boolean[]' }",
        );
        let metadata = json!({
            "a": "x", "b": -0.0, "c": true, "d": ["y", null, ""], "e": 5, "/f/g": "deep", "h": null, "i": [], "other": {},
        });
        let read: Vec<_> = fields
            .read(&metadata.to_string())
            .unwrap()
            .into_iter()
            .map(|(field, values)| (field.name.as_str(), values))
            .collect();
        let texts = |texts: &[&str]| Values::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(
            read,
            [
                ("/f/g", texts(&["deep"])),
                ("a", texts(&["x"])),
                ("b", Values::Numbers(vec![0.0])),
                ("c", Values::Booleans(vec![true])),
                ("d", texts(&["y", ""])),
                ("e", Values::Numbers(vec![5.0])),
                ("i", Values::Booleans(vec![])),
            ]
        );
        let Values::Numbers(zero) = &read[2].1 else { panic!() };
        assert!(zero[0].is_sign_positive());
    }

    #[test]
    fn metadata_that_are_named_by_a_pointer_are_read_and_filtered_by_it() {
        let fields = fields("{ /maker/country: text, and: number }");
        let metadata = json!({"/maker/country": "SE", "and": 5});
        let read: Vec<_> =
            fields.read(&metadata.to_string()).unwrap().into_iter().map(|(field, _)| field.name.as_str()).collect();
        assert_eq!(read, ["/maker/country", "and"]);
        for (filter, matches) in [(json!({"/maker/country": "SE"}), "/maker/country"), (json!({"/and": 5}), "and")] {
            let names = ["/maker/country", "and"].map(str::to_owned);
            let filter = filter::Filter::from_json(&filter).unwrap().for_metadata(&names).unwrap();
            assert!(filter.matches(&metadata), "{filter:?}");
            let sought = fields.filter(Some(&filter)).unwrap();
            assert!(
                matches!(&sought, Sought::Where(Typed::Is(field, Comparison::OneOf(_))) if field.name == matches),
                "{sought:?}"
            );
        }
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        for (metadata, named) in [
            (json!({"a": 1}), "`a` is 1, and `index.metadata` says that it is text"),
            (json!({"a": ["x"]}), "`a` is [\"x\"]"),
            (json!({"b": "cheap"}), "`b` is \"cheap\""),
            (json!({"b": 9_007_199_254_740_992_u64}), "number; whole numbers must lie between -2^53 and 2^53"),
            (json!({"b": i64::MIN}), "number; whole numbers must lie"),
            (json!({"e": 9_007_199_254_740_993_u64}), "number[]; whole numbers must lie"),
            (json!({"e": [1, -9_007_199_254_740_993_i64]}), "number[]; whole numbers must lie"),
            (json!({"c": 0}), "`c` is 0"),
            (json!({"d": ["x", {}]}), "`d` is [\"x\",{}]"),
            (json!({"a": {"long": "ü".repeat(100)}}), "ü…"),
        ] {
            let fields = fields("{ a: text, b: number, c: boolean, d: 'text[]', e: 'number[]' }");
            let error = fields.read(&metadata.to_string()).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(!fields("a: text").read(&json!({"a": u64::MAX}).to_string()).unwrap_err().contains("2^53"));
        assert!(fields("b: number").read(&json!({"b": 9_007_199_254_740_991_u64}).to_string()).is_ok());
        assert!(fields("b: number").read(r#"{"b": 1e300}"#).is_ok());
    }
}
