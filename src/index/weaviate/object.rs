//! A point as an object of Weaviate.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::document::vector;
use crate::index::external::collection::Point;
use crate::index::external::collection::reserved::{CHUNK, DOCUMENT, METADATA};
use crate::index::external::typed::{Fields, Values};

use super::filter::{THERE, has_empty, is_padded};
use super::messages::{
    BatchObject, NamedBooleans, NamedNumbers, NamedTexts, ObjectProperties, Single, Struct, StructValue,
};

/// The declared fields of a document, as the class's properties have them.
pub struct Declared {
    /// By property; whether it is a list. Those without a value are left out.
    values: Vec<(String, Values, bool)>,
    /// What stands in [`THERE`].
    there: Vec<String>,
}

impl Declared {
    /// # Errors
    /// Names the field and the value that Weaviate cannot hold.
    pub fn read(fields: &Fields, metadata: &str) -> Result<Self, String> {
        let mut declared = Self { values: Vec::new(), there: Vec::new() };
        for (field, mut values) in fields.read(metadata)? {
            declared.there.push(field.name.clone());
            if let Values::Texts(texts) = &mut values {
                if let Some(padded) = texts.iter().find(|text| !text.is_empty() && is_padded(text)) {
                    return Err(format!(
                        "its metadata `{}` is {}, and Weaviate does not keep texts apart that differ in white space at their ends",
                        field.name,
                        json!(padded)
                    ));
                }
                let all = texts.len();
                texts.retain(|text| !text.is_empty());
                if texts.len() < all {
                    declared.there.push(has_empty(&field.name));
                }
            }
            if !values.is_empty() {
                declared.values.push((field.name.clone(), values, field.kind.is_list()));
            }
        }
        Ok(declared)
    }

    fn into_properties(self) -> ObjectProperties {
        let mut properties = ObjectProperties::default();
        let mut single = HashMap::new();
        properties.texts.push(NamedTexts { name: THERE.to_owned(), values: self.there });
        for (name, values, is_list) in self.values {
            match values {
                Values::Texts(values) if is_list => properties.texts.push(NamedTexts { name, values }),
                Values::Numbers(numbers) if is_list => {
                    let values = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                    properties.numbers.push(NamedNumbers { name, values });
                }
                Values::Booleans(values) if is_list => properties.booleans.push(NamedBooleans { name, values }),
                Values::Texts(texts) => {
                    single.extend(texts.into_iter().next().map(|text| (name, value(Single::Text(text)))))
                }
                Values::Numbers(numbers) => {
                    single.extend(numbers.first().map(|number| (name, value(Single::Number(*number)))));
                }
                Values::Booleans(booleans) => {
                    single.extend(booleans.first().map(|boolean| (name, value(Single::Boolean(*boolean)))));
                }
            }
        }
        properties.single = Some(Struct { fields: single });
        properties
    }

    /// All properties that follow from the metadata, to be merged into an object: a null removes.
    pub fn to_merge(&self, fields: &Fields, metadata: &str) -> Value {
        let mut merged: Map<String, Value> = fields.iter().map(|field| (field.name.clone(), Value::Null)).collect();
        for (name, values, is_list) in &self.values {
            merged.insert(name.clone(), values.to_json(*is_list));
        }
        merged.insert(THERE.to_owned(), json!(self.there));
        merged.insert(METADATA.to_owned(), metadata.into());
        merged.into()
    }
}

/// The whole object.
pub fn object(point: &Point, class: &str, declared: Declared) -> BatchObject {
    let mut properties = declared.into_properties();
    let single = properties.single.get_or_insert_default();
    single.fields.insert(DOCUMENT.to_owned(), value(Single::Text(point.document.to_string())));
    single.fields.insert(CHUNK.to_owned(), value(Single::Number(point.chunk as f64)));
    single.fields.insert(METADATA.to_owned(), value(Single::Text(point.metadata.to_string())));
    BatchObject {
        uuid: point.id.to_string(),
        properties: Some(properties),
        collection: class.to_owned(),
        vector: vector::to_bytes(&point.vector),
    }
}

fn value(single: Single) -> StructValue {
    StructValue { single: Some(single) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fields() -> Fields {
        let declared = "{ a: text, b: number, c: 'text[]', d: 'number[]', e: boolean, f: text, g: 'text[]' }";
        Fields::new(&serde_yaml::from_str::<BTreeMap<_, _>>(declared).unwrap())
    }

    #[test]
    fn what_a_document_has_is_marked_and_what_it_lacks_is_removed() {
        let metadata = json!({"a": "", "b": 1, "c": ["x", "", null], "d": [], "e": null, "g": "one"}).to_string();
        let declared = Declared::read(&fields(), &metadata).unwrap();
        assert_eq!(
            declared.to_merge(&fields(), &metadata),
            json!({
                "a": null, "b": 1.0, "c": ["x"], "d": null, "e": null, "f": null, "g": ["one"],
                "vectide_there": ["a", "a:empty", "b", "c", "c:empty", "d", "g"], "vectide_metadata": metadata,
            })
        );
    }

    #[test]
    fn a_text_that_would_be_taken_for_another_is_named() {
        let error = Declared::read(&fields(), "{\"c\": [\"x\", \"y\\u00a0\"]}").err().unwrap();
        assert!(error.contains("`c`") && error.contains("white space"), "{error}");
    }
}
