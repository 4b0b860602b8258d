//! From a message to a record.
//!
//! What a message carries beside its value (key, headers, partition, offset, time) becomes fields of the record, under names that start
//! with `$`, where the configuration uses them. They are put into the bytes, so that a dead letter that is replayed still has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Map, Value};

use crate::document::{DocumentId, Version};
use crate::settings::DocumentSettings;
use crate::source::http::{Reach, Removal};
use crate::source::record::KEPT;
use crate::source::{Partition, Position, Record};

/// A message, as far as it matters here.
pub(super) struct Parts<'a> {
    pub(super) topic: &'a str,
    pub(super) number: i32,
    pub(super) offset: i64,
    /// Unix milliseconds.
    pub(super) time: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            topic: message.topic(),
            number: message.partition(),
            offset: message.offset(),
            time: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: headers.map(|header| (header.key, header.value)).collect(),
        }
    }
}

/// Which of the names with `$` a configuration uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeSet<String>);

impl Attributes {
    /// Those of the fields that the `document` section names.
    pub fn used_by(settings: &DocumentSettings) -> Self {
        let version = settings.version.iter().map(|version| &version.field);
        let events = settings.events.iter();
        let kinds = events.clone().flat_map(|events| events.kinds.values().flat_map(|kind| kind.rename.keys()));
        let names = settings.metadata.iter().chain([&settings.id]).chain(version);
        let names = names.chain(events.map(|events| &events.field)).chain(kinds);
        let first = |name: &String| name.strip_prefix('/').unwrap_or(name).split('/').next().map(str::to_owned);
        Self(names.filter_map(first).filter(|name| name.starts_with('$')).collect())
    }

    fn of(&self, parts: &Parts<'_>) -> Map<String, Value> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Value::from);
        let value = |name: &str| match name {
            "$key" => parts.key.and_then(text),
            "$topic" => Some(parts.topic.into()),
            "$partition" => Some(parts.number.into()),
            "$offset" => Some(parts.offset.into()),
            "$timestamp" => parts.time.map(Value::from),
            "$headers" => {
                let headers = parts.headers.iter();
                let readable = headers.filter_map(|(name, value)| Some(((*name).to_owned(), text((*value)?)?)));
                Some(Value::Object(readable.collect()))
            }
            _ => None,
        };
        self.0.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
    }
}

/// Makes the record of a message of this partition.
pub(super) fn record(
    parts: &Parts<'_>,
    partition: &Arc<Partition>,
    attributes: &Attributes,
    max_value: usize,
) -> Record {
    let offset = parts.offset.unsigned_abs();
    let position = Position { partition: partition.clone(), offset: offset + 1, ordinal: offset };
    // Messages of one millisecond keep their order by offset, at the price of a nanosecond each.
    let version = Version::from_nanos(i128::from(parts.time.unwrap_or(0)) * 1_000_000 + i128::from(offset));
    match parts.value {
        None => tombstone(parts.key, position, version),
        Some(value) if value.len() > max_value => {
            let reason = format!("the value has {} bytes, more than `max_record` ({max_value}) allows", value.len());
            Record::broken(Bytes::copy_from_slice(&value[..value.len().min(KEPT)]), position, version, reason)
        }
        Some(value) => Record::new(with_fields(value, &attributes.of(parts)), position, version),
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
            Record { change: Some(removal.into_change(version)), ..Record::new(payload, position, version) }
        }
        Err(reason) => Record::broken(Bytes::copy_from_slice(key.unwrap_or_default()), position, version, reason),
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
    use serde_json::json;

    use super::*;
    use crate::document::Operation;
    use crate::document::mapping::{Mapped, Mapper};

    fn parts<'a>(key: Option<&'a str>, value: Option<&'a str>) -> Parts<'a> {
        Parts {
            topic: "shop",
            number: 3,
            offset: 41,
            time: Some(1_700_000_000_123),
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            headers: vec![("tenant", Some(b"acme")), ("raw", Some(b"\xff")), ("none", None)],
        }
    }

    fn made(parts: &Parts<'_>, document: &str) -> (Record, DocumentSettings) {
        let document: DocumentSettings = serde_yaml::from_str(document).unwrap();
        let partition = Arc::new(Partition { name: "shop[3]".into(), detail: String::new() });
        (record(parts, &partition, &Attributes::used_by(&document), 100), document)
    }

    #[test]
    fn what_a_message_carries_can_be_the_id_the_version_and_metadata() {
        let document = r#"{ id: $key, text: "{{ t }}", version: $timestamp,
            metadata: [$partition, $offset, $topic, /$headers/tenant] }"#;
        let (record, settings) = made(&parts(Some("p1"), Some(r#" {"t":"boots"}"#)), document);
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
            assert_eq!(made(&parts(Some("k"), Some(value)), plain).0.payload, value);
        }
        let used = "{ id: $key, text: '{{ t }}' }";
        for (value, payload) in [
            ("{}", r#"{"$key":"k"}"#),
            ("{ }", r#"{"$key":"k" }"#),
            ("[1]", "[1]"),
            ("{", r#"{"$key":"k""#),
            ("{\"a\":1", r#"{"$key":"k","a":1"#),
        ] {
            assert_eq!(made(&parts(Some("k"), Some(value)), used).0.payload, payload);
        }
    }

    #[test]
    fn the_order_is_that_of_times_and_then_of_offsets() {
        let version = |time, offset| {
            let parts = Parts { time, offset, ..parts(Some("k"), Some("{}")) };
            made(&parts, "{ id: id, text: '{{ t }}' }").0.version
        };
        assert!(version(Some(5), 7) < version(Some(5), 8));
        assert!(version(Some(5), 999_999) < version(Some(5), 1_000_000));
        assert!(version(Some(5), 8) < version(Some(6), 9));
        assert!(version(None, 8) < version(None, 9));
    }

    #[test]
    fn a_message_without_a_value_deletes_what_its_key_names() {
        let plain = "{ id: id, text: '{{ t }}' }";
        let (record, _) = made(&parts(Some("p1"), None), plain);
        let change = record.change.as_ref().expect("a tombstone is a change");
        assert_eq!((change.id.as_str(), change.operation, change.version), ("p1", Operation::Delete, record.version));
        assert!(Removal::from_payload(&record.payload).is_some(), "as a dead letter it could be replayed");
        let (record, _) = made(&parts(None, None), plain);
        assert!(record.broken.expect("nobody is named").contains("no key"));
    }

    #[test]
    fn a_value_over_the_limit_is_no_record_and_says_so() {
        let value = format!("{{\"id\":\"{}\"}}", "x".repeat(200));
        let (record, _) = made(&parts(None, Some(&value)), "{ id: id, text: '{{ t }}' }");
        let reason = record.broken.expect("it is too long");
        assert!(reason.contains("209 bytes") && reason.contains("max_record"), "{reason}");
    }
}
