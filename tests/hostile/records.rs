//! Records: what is JSON, and what becomes a change.

use serde_json::{Map, Value};
use vectide::document::decode::decode;
use vectide::document::mapping::{Mapped, Mapper};
use vectide::document::template::Template;
use vectide::document::{Change, Document, DocumentId, Version};
use vectide::settings::DocumentSettings;
use vectide::testkit::hostile::attack;

/// What is refused although it is JSON.
const STRICTER: [&str; 3] = ["appears twice", "more than 64 levels", "more than 100000 values"];

#[test]
fn a_record_is_read_as_serde_json_reads_it_or_refused_for_a_reason_of_its_own() {
    attack("record", |input| {
        let plain = serde_json::from_slice::<Map<String, Value>>(input);
        match (decode(input), plain) {
            (Ok(fields), Ok(plain)) => {
                assert_eq!(fields, without_negative_zeros(plain.clone()));
                let again = decode(Value::Object(plain).to_string().as_bytes());
                assert_eq!(again, Ok(fields), "what is written is read as it was");
            }
            (Err(reason), Ok(_)) => {
                assert!(STRICTER.iter().any(|known| reason.contains(known)), "refused and sound: {reason}");
            }
            (Err(reason), Err(_)) => assert!(is_for_people(&reason), "{reason}"),
            (Ok(fields), Err(error)) => panic!("taken and broken ({error}): {fields:?}"),
        }
    });
}

fn without_negative_zeros(fields: Map<String, Value>) -> Map<String, Value> {
    fn value(json: Value) -> Value {
        match json {
            Value::Number(number) if number.is_f64() && number.as_f64() == Some(0.0) => Value::from(0.0),
            Value::Array(items) => items.into_iter().map(value).collect(),
            Value::Object(fields) => Value::Object(without_negative_zeros(fields)),
            other => other,
        }
    }
    fields.into_iter().map(|(key, json)| (key, value(json))).collect()
}

/// One line that a log and a terminal can show.
fn is_for_people(reason: &str) -> bool {
    !reason.is_empty() && reason.len() < 1_500 && !reason.contains(char::is_control)
}

/// The shipped way to map, and one with everything in other places.
fn settings() -> [DocumentSettings; 2] {
    let shipped = r#"
        id: product_id
        version: timestamp
        text: "{{ title }} {{ description }}{% for tag in tags | default([]) %} {{ tag }}{% endfor %}"
        metadata: [category, price, /id/a~1b/0]
        events:
          field: type
          product_create: { operation: upsert, priority: 1 }
          product_update: { operation: patch, immediate: true }
          price_change: { operation: patch, rename: { new_price: price, price: /old } }
          product_delete: { operation: delete }
          true: { operation: ignore }"#;
    let other = r#"
        id: /id/a~1b/0
        version: { field: timestamp, unit: counter }
        text: "{{ title | upper }}{{ price | default(0) }}"
        metadata: [title]"#;
    [shipped.replace("/old", "old"), other.to_owned()].map(|yaml| serde_yaml::from_str(&yaml).unwrap())
}

#[test]
fn a_record_is_a_sound_change_or_refused_with_what_it_told() {
    let known = settings().map(|settings| (Mapper::new(&settings).unwrap(), Template::new(&settings).unwrap()));
    attack("mapping", |input| {
        for (mapper, template) in &known {
            match mapper.map(input, Version::from_nanos(7)) {
                Ok(Mapped::Change(change)) => sound(change, template),
                Ok(Mapped::Ignored) => {}
                Err(refusal) => {
                    assert!(is_for_people(&refusal.reason), "{}", refusal.reason);
                    assert!(refusal.id.is_none_or(|id| DocumentId::new(id.as_str()).is_ok()));
                }
            }
        }
    });
}

fn sound(change: Change, template: &Template) {
    assert_eq!(DocumentId::new(change.id.as_str()).as_ref(), Ok(&change.id));
    let version = change.version;
    let document = Document::from(change);
    assert_eq!(document.newest(), version);
    assert_eq!(Document::from_json(&document.to_json()).unwrap(), document, "the ledger gives back what it got");
    let mut joined = document.clone();
    assert!(!joined.join(document.clone()), "a change that is known changes nothing");
    assert_eq!(joined, document);
    if let Err(reason) = template.render(&document) {
        assert!(!reason.is_empty());
    }
    assert!(serde_json::from_str::<Map<String, Value>>(&template.metadata(&document)).is_ok());
}
