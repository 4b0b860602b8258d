//! From a message to a record.
//!
//! What a message carries beside its value (key, headers, partition, offset, time) becomes fields of the record, under names that start
//! with `$`, where the configuration uses them. They are put into the bytes, so that a dead letter that is replayed still has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::{Headers, Message};
use serde_json::{Map, Value};

use crate::document::{DocumentId, Version};
use crate::settings::DocumentSettings;
use crate::source::http::{Reach, Removal};
use crate::source::lines::KEPT;
use crate::source::{Partition, Position, Record};
use crate::telemetry::logging::unless_it_panics;

/// Which of the names with `$` a configuration uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeSet<String>);

/// The names that [`Attributes::of`] knows.
const NAMES: [&str; 6] = ["$key", "$topic", "$partition", "$offset", "$timestamp", "$headers"];

impl Attributes {
    /// Those of the fields that the `document` section names, and those that occur in the template of its text.
    pub fn used_by(settings: &DocumentSettings) -> Self {
        let version = settings.version.iter().map(|version| &version.field);
        let events = settings.events.iter();
        let kinds = events.clone().flat_map(|events| events.kinds.values().flat_map(|kind| kind.rename.keys()));
        let names = settings.metadata.iter().chain([&settings.id]).chain(version);
        let names = names.chain(events.map(|events| &events.field)).chain(kinds);
        // A template asks by `{{ "$topic" | field }}`.
        let asked = NAMES.into_iter().filter(|name| settings.text.contains(name)).map(str::to_owned);
        let first = |name: &String| name.strip_prefix('/').unwrap_or(name).split('/').next().map(str::to_owned);
        Self(names.filter_map(first).filter(|name| name.starts_with('$')).chain(asked).collect())
    }

    fn of(&self, message: &impl Message) -> Map<String, Value> {
        let value = |name: &str| match name {
            "$key" => message.key().and_then(text),
            "$topic" => Some(message.topic().into()),
            "$partition" => Some(message.partition().into()),
            "$offset" => Some(message.offset().into()),
            "$timestamp" => message.timestamp().to_millis().map(Value::from),
            "$headers" => Some(Value::Object(message.headers().map(readable).unwrap_or_default())),
            _ => None,
        };
        self.0.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
    }
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Value::from)
}

/// The headers whose name and value are text.
fn readable(headers: &impl Headers) -> Map<String, Value> {
    let header = |number| {
        // The client panics at a name that is not UTF-8, and has no other way to ask for it.
        let header = unless_it_panics(|| headers.get(number))?;
        Some((header.key.to_owned(), text(header.value?)?))
    };
    (0..headers.count()).filter_map(header).collect()
}

/// Makes the record of a message of this partition.
pub(super) fn record(
    message: &impl Message,
    partition: &Arc<Partition>,
    attributes: &Attributes,
    max_value: usize,
) -> Record {
    let offset = message.offset().unsigned_abs();
    let position = Position { partition: partition.clone(), offset: offset + 1, ordinal: offset };
    // Messages of one millisecond keep their order by offset, at the price of a nanosecond for each that the partition ever had. A
    // remainder of the offset would turn two messages around wherever it starts again.
    let millis = message.timestamp().to_millis().unwrap_or(0);
    let version = Version::from_nanos(i128::from(millis) * 1_000_000 + i128::from(offset));
    match message.payload() {
        None => tombstone(message.key(), position, version),
        Some(value) if value.len() > max_value => {
            let reason = format!("the value has {} bytes, more than `max_record` ({max_value}) allows", value.len());
            Record::broken(Bytes::copy_from_slice(&value[..value.len().min(KEPT)]), position, version, reason)
        }
        Some(value) => Record::new(with_fields(value, &attributes.of(message)), position, version),
    }
}

/// A message without a value says that what its key names is gone.
fn tombstone(key: Option<&[u8]>, position: Position, version: Version) -> Record {
    let id = match key.map(std::str::from_utf8) {
        None => Err("a message without a value deletes what its key names, and it has no key".to_owned()),
        Some(Err(_)) => {
            Err("a message without a value deletes what its key names, and the key is not UTF-8".to_owned())
        }
        Some(Ok(key)) => DocumentId::new(key).map_err(|error| format!("the key names the document to delete: {error}")),
    };
    match id {
        Ok(id) => {
            let removal = Removal { id, reach: Reach::Before(None) };
            let payload = removal.to_payload();
            Record::of_change(removal.into_change(version), payload, position, version)
        }
        // As a JSON text, which is no record whatever the key says: a letter that is replayed is read as one.
        Err(reason) => {
            let key = key.map(|key| String::from_utf8_lossy(&key[..key.len().min(KEPT)]));
            let key = serde_json::json!(key).to_string();
            Record::broken(Bytes::from(key), position, version, reason)
        }
    }
}

/// These bytes with more fields, if they are a JSON object at all.
fn with_fields(value: &[u8], fields: &Map<String, Value>) -> Bytes {
    let start = value.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(start) = start.filter(|start| !fields.is_empty() && value[*start] == b'{') else {
        return Bytes::copy_from_slice(value);
    };
    let rest = &value[start + 1..];
    let mut whole = serde_json::to_vec(fields).expect("texts, numbers and maps of texts are always JSON");
    whole.pop();
    let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'}');
    if !is_empty {
        whole.push(b',');
    }
    whole.extend_from_slice(rest);
    Bytes::from(whole)
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use serde_json::json;

    use super::*;
    use crate::document::Operation;
    use crate::document::mapping::{Mapped, Mapper};
    use crate::source::Form;

    const TIME: i64 = 1_700_000_000_123;

    fn message(key: Option<&str>, value: Option<&str>, time: Option<i64>, offset: i64) -> OwnedMessage {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let time = time.map_or(Timestamp::NotAvailable, Timestamp::CreateTime);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "tenant", value: Some("acme") })
            .insert(Header { key: "raw", value: Some(b"\xff") })
            .insert(Header::<&str> { key: "none", value: None });
        OwnedMessage::new(value.map(bytes), key.map(bytes), "shop".to_owned(), time, 3, offset, Some(headers))
    }

    fn made(key: Option<&str>, value: Option<&str>, document: &str) -> (Record, DocumentSettings) {
        of(&message(key, value, Some(TIME), 41), document)
    }

    fn of(message: &OwnedMessage, document: &str) -> (Record, DocumentSettings) {
        let document: DocumentSettings = serde_yaml::from_str(document).unwrap();
        let partition = Arc::new(Partition { name: "shop[3]".into(), detail: String::new() });
        (record(message, &partition, &Attributes::used_by(&document), 100), document)
    }

    #[test]
    fn what_a_message_carries_can_be_the_id_the_version_and_metadata() {
        let document = r#"{ id: $key, text: "{{ t }}", version: $timestamp,
            metadata: [$partition, $offset, $topic, /$headers/tenant] }"#;
        let (record, settings) = made(Some("p1"), Some(r#" {"t":"boots"}"#), document);
        let mapper = Mapper::new(&settings).unwrap();
        let Ok(Mapped::Change(change)) = mapper.map(&record.payload, record.version) else { panic!("{record:?}") };
        assert_eq!((change.id.as_str(), change.version), ("p1", Version::from_nanos(1_700_000_000_123_000_000)));
        let expected = json!({ "t": "boots", "$key": "p1", "$timestamp": 1_700_000_000_123_i64, "$topic": "shop",
            "$partition": 3, "$offset": 41, "$headers": { "tenant": "acme" } });
        assert_eq!(json!(change.fields), expected);
        assert_eq!((record.position.to_string().as_str(), record.position.offset), ("shop[3]:41", 42));
    }

    #[test]
    fn a_record_is_as_it_was_sent_unless_something_else_of_it_is_used() {
        let plain = "{ id: id, text: '{{ t }}' }";
        for value in [r#"{"id":1}"#, "no json", ""] {
            assert_eq!(made(Some("k"), Some(value), plain).0.payload, value);
        }
        let asked = r#"{ id: id, text: '{{ "$topic" | field }} {{ ("$headers" | field).tenant }}' }"#;
        let payload = r#"{"$headers":{"tenant":"acme"},"$topic":"shop"}"#;
        assert_eq!(made(Some("k"), Some("{}"), asked).0.payload, payload);
        let used = "{ id: $key, text: '{{ t }}' }";
        for (value, payload) in [
            ("{}", r#"{"$key":"k"}"#),
            ("{ }", r#"{"$key":"k" }"#),
            ("[1]", "[1]"),
            ("{", r#"{"$key":"k""#),
            ("{\"a\":1", r#"{"$key":"k","a":1"#),
        ] {
            assert_eq!(made(Some("k"), Some(value), used).0.payload, payload);
        }
    }

    #[test]
    fn a_header_whose_name_is_no_text_is_missing_and_no_other_is() {
        struct Broken;

        impl Headers for Broken {
            fn count(&self) -> usize {
                3
            }

            fn try_get(&self, number: usize) -> Option<Header<'_, &[u8]>> {
                let key = std::str::from_utf8([b"tenant", b"gr\xf6sse" as &[u8], b"shop"].get(number)?).unwrap();
                Some(Header { key, value: Some(b"acme") })
            }
        }

        assert_eq!(Value::Object(readable(&Broken)), json!({ "tenant": "acme", "shop": "acme" }));
    }

    #[test]
    fn within_a_partition_the_order_is_that_of_times_and_then_of_offsets() {
        let version =
            |time, offset| of(&message(Some("k"), Some("{}"), time, offset), "{ id: id, text: '{{ t }}' }").0.version;
        for first in [7, 999_999, 5_000_000_000] {
            assert!(version(Some(5), first) < version(Some(5), first + 1));
            assert!(version(Some(5), first) < version(Some(6), first + 1));
            assert!(version(Some(6), first) > version(Some(5), first + 1), "the clock was set back");
            assert!(version(None, first) < version(None, first + 1));
        }
        assert!(
            version(Some(5), 5_000_000_000) > version(Some(5_004), 0),
            "of another partition, which is 5 seconds behind"
        );
    }

    #[test]
    fn a_message_without_a_value_deletes_what_its_key_names() {
        let plain = "{ id: id, text: '{{ t }}' }";
        let (record, _) = made(Some("p1"), None, plain);
        let Form::Change(change) = &record.form else { panic!("a tombstone is a change: {record:?}") };
        assert_eq!((change.id.as_str(), change.operation, change.version), ("p1", Operation::Delete, record.version));
        assert!(Removal::from_payload(&record.payload).is_some(), "as a dead letter it could be replayed");
        let (record, _) = made(None, None, plain);
        assert!(record.why_broken().expect("nobody is named").contains("no key"));
        let key = format!(r#"{{"id":"{}"}}"#, "x".repeat(1024));
        let (record, settings) = made(Some(&key), None, plain);
        assert!(record.why_broken().expect("the key is too long for an id").contains("names the document"));
        let replayed = Mapper::new(&settings).unwrap().map(&record.payload, record.version);
        assert!(replayed.is_err(), "its key would become a document: {replayed:?}");
    }

    #[test]
    fn a_value_over_the_limit_is_no_record_and_says_so() {
        let value = format!("{{\"id\":\"{}\"}}", "x".repeat(200));
        let (record, _) = made(None, Some(&value), "{ id: id, text: '{{ t }}' }");
        let reason = record.why_broken().expect("it is too long");
        assert!(reason.contains("209 bytes") && reason.contains("max_record"), "{reason}");
    }
}
