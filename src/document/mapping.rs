//! From a record's bytes to a change, by the `document` section of the configuration.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;

use super::decode::decode;
use super::digest::{Digester, RecordDigest};
use super::field::{FieldName, described, is_rounded, quoted};
use super::glance::glance;
use super::{Change, DocumentId, Fields, Operation, Version, versioning};
use crate::settings::DocumentSettings;
use crate::settings::document::{EventKindSettings, EventSettings, VersionUnit};

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapped {
    /// A change to a document.
    Change(Change),
    /// An event of a kind that is configured as `ignore`.
    Ignored,
}

/// Why a record is no change, and what it told before that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong, in one sentence. Quotes no more than the start of a value.
    pub reason: String,
    /// The document, where the record names a valid one.
    pub id: Option<DocumentId>,
    /// The version, where the record has a valid one.
    pub version: Option<Version>,
}

/// Maps records to changes.
///
/// A change keeps every field of its event, also those that hold the id, the version and the kind of event: a template or a metadata
/// list that is configured later finds them in the ledger. They cost little, and they make no work: an event that says
/// something again says it with the same version, so it changes nothing.
#[derive(Debug, Clone)]
pub struct Mapper {
    id: FieldName,
    version: Option<(FieldName, VersionUnit)>,
    events: Option<Events>,
    /// What records are where no events are configured.
    every: Kind,
    /// Where the id is, key by key.
    keys: Vec<String>,
    digester: Digester,
}

#[derive(Debug, Clone)]
struct Events {
    field: FieldName,
    /// `None` for those of no interest.
    kinds: BTreeMap<String, Option<Kind>>,
}

#[derive(Debug, Clone)]
struct Kind {
    operation: Operation,
    priority: u8,
    immediate: bool,
    /// Where a field is taken from, and the key under which it is kept.
    rename: Vec<(FieldName, String)>,
}

impl Mapper {
    /// Checks the names of fields in the settings.
    pub fn new(settings: &DocumentSettings) -> Result<Self, String> {
        Self::of_source(settings, None)
    }

    /// For a source all of whose records do this, whatever kinds of events are configured.
    pub fn of_source(settings: &DocumentSettings, operation: Option<Operation>) -> Result<Self, String> {
        let name = |setting: &str, name: &str| FieldName::new(name).map_err(|error| format!("{setting}: {error}"));
        let events = settings.events.as_ref().filter(|_| operation.is_none());
        let reading = match operation {
            None => serde_json::to_vec(&(&settings.id, &settings.version, events)),
            Some(operation) => serde_json::to_vec(&(&settings.id, &settings.version, operation)),
        };
        let reading = reading.expect("texts and numbers under names always serialise");
        let id = name("document.id", &settings.id)?;
        Ok(Self {
            version: match &settings.version {
                Some(version) => Some((name("document.version", &version.field)?, version.unit)),
                None => None,
            },
            events: events.map(Events::new).transpose()?,
            every: Kind {
                operation: operation.unwrap_or(Operation::Upsert),
                priority: 0,
                immediate: false,
                rename: Vec::new(),
            },
            keys: id.keys(),
            id,
            digester: Digester::new(&reading),
        })
    }

    /// Reads a record. `order` is its place in the source's own order: the version where no version field is configured.
    pub fn map(&self, payload: &[u8], order: Version) -> Result<Mapped, Refusal> {
        let mut fields = decode(payload).map_err(|reason| Refusal { reason, id: None, version: None })?;
        let Some(kind) = self.kind(&fields).transpose() else {
            return Ok(Mapped::Ignored);
        };
        // All three are read before one is refused, so that a refusal tells as much of the record as can be told.
        match (kind, self.id(&fields), self.version(&fields, order)) {
            (Ok(kind), Ok(id), Ok(version)) => {
                let Kind { operation, priority, immediate, .. } = *kind;
                match operation {
                    Operation::Delete => fields.clear(),
                    Operation::Upsert | Operation::Patch => kind.rename(&mut fields),
                }
                Ok(Mapped::Change(Change { id, operation, version, fields, priority, immediate }))
            }
            (kind, id, version) => {
                let reasons = [kind.err(), id.as_ref().err().cloned(), version.as_ref().err().cloned()];
                let reason = reasons.into_iter().flatten().collect::<Vec<_>>().join("; ");
                Err(Refusal { reason, id: id.ok(), version: version.ok() })
            }
        }
    }

    /// The name of a record that [`Mapper::map`] reads so.
    pub fn digest(&self, payload: &[u8], order: Version) -> RecordDigest {
        self.digester.of(payload, self.version.is_none().then_some(order))
    }

    /// The document that a record seems to name. Looks at little of it: it may turn out to be no record, or to name another document.
    pub fn glance(&self, payload: &[u8]) -> Option<String> {
        glance(payload, &self.keys)
    }

    /// `None` for an event of no interest.
    fn kind(&self, fields: &Fields) -> Result<Option<&Kind>, String> {
        match &self.events {
            Some(events) => events.kind(fields),
            None => Ok(Some(&self.every)),
        }
    }

    fn id(&self, fields: &Fields) -> Result<DocumentId, String> {
        let field = &self.id;
        let id = match field.of(fields) {
            Some(Value::String(text)) => DocumentId::new(text),
            Some(Value::Number(number)) if !number.is_f64() => DocumentId::new(&number.to_string()),
            Some(Value::Number(number)) if is_rounded(number) => {
                return Err(format!(
                    "the document id {number} in `{field}` is too large for a number; write it as a text"
                ));
            }
            Some(other) => {
                return Err(format!(
                    "the document id in `{field}` must be a text or a whole number, and it is {}",
                    described(other)
                ));
            }
            None => return Err(format!("the record has no `{field}`, which names the document")),
        };
        id.map_err(|error| format!("`{field}`: {error}"))
    }

    fn version(&self, fields: &Fields, order: Version) -> Result<Version, String> {
        let Some((field, unit)) = &self.version else {
            return Ok(order);
        };
        match field.of(fields) {
            Some(value) => versioning::read(value, *unit).map_err(|error| format!("`{field}`: {error}")),
            None => Err(format!("the record has no `{field}`, which orders changes")),
        }
    }
}

impl Events {
    fn new(settings: &EventSettings) -> Result<Self, String> {
        let field = FieldName::new(&settings.field).map_err(|error| format!("document.events.field: {error}"))?;
        let kinds = settings.kinds.iter().map(|(name, kind)| Ok((name.clone(), Kind::new(name, kind)?)));
        Ok(Self { field, kinds: kinds.collect::<Result<_, String>>()? })
    }

    fn kind(&self, fields: &Fields) -> Result<Option<&Kind>, String> {
        let configured = || self.kinds.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let value = self.field.of(fields).ok_or_else(|| {
            format!("the record has no `{}`, which names the event type; configured are {}", self.field, configured())
        })?;
        let kind = match value {
            Value::String(text) => self.kinds.get(text.as_str()),
            // A kind may be a number or a truth value: `1: { operation: delete }`.
            Value::Number(_) | Value::Bool(_) => self.kinds.get(&value.to_string()),
            _ => None,
        };
        kind.map(Option::as_ref).ok_or_else(|| {
            let shown = match value {
                Value::String(text) => quoted(text),
                other => described(other),
            };
            format!("unknown event type {shown}; configured are {}", configured())
        })
    }
}

impl Kind {
    /// `None` for events of no interest.
    fn new(name: &str, settings: &EventKindSettings) -> Result<Option<Self>, String> {
        let Some(operation) = settings.operation.operation() else {
            return Ok(None);
        };
        let rename = settings.rename.iter().map(|(from, to)| match FieldName::new(from) {
            Ok(from) => Ok((from, to.clone())),
            Err(error) => Err(format!("document.events.{name}.rename.{from}: {error}")),
        });
        let mut rename: Vec<(FieldName, String)> = rename.collect::<Result<_, _>>()?;
        // A field that lies inside another is taken out of it before the other is taken out.
        rename.sort_by_key(|(from, _)| Reverse(from.keys().len()));
        let priority = u8::try_from(settings.priority).unwrap_or(u8::MAX);
        Ok(Some(Self { operation, priority, immediate: settings.immediate, rename }))
    }

    /// Moves fields to their new names, all at once: two may change places. A moved field replaces one that has its new name.
    fn rename(&self, fields: &mut Fields) {
        let taken: Vec<_> = self.rename.iter().filter_map(|(from, to)| Some((from, to, from.take(fields)?))).collect();
        // In a patch, an object that is empty now would replace what the document has in its place. One that came empty is to replace it.
        if self.operation == Operation::Patch {
            taken.iter().for_each(|(from, ..)| from.prune(fields));
        }
        for (_, to, value) in taken {
            fields.insert(to.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORDER: Version = Version::from_nanos(42);

    /// The mapper of the product stream of the shipped configuration, with one more kind.
    fn products() -> Mapper {
        mapper(
            r#"
            id: product_id
            version: timestamp
            text: "{{ title }} {{ description }}"
            events:
              field: type
              product_create: { operation: upsert, priority: 1 }
              product_update: { operation: patch, immediate: true }
              price_change:   { operation: patch, priority: 2, immediate: true, rename: { new_price: price } }
              product_delete: { operation: delete }
              product_view:   { operation: ignore }
            "#,
        )
    }

    fn mapper(yaml: &str) -> Mapper {
        Mapper::new(&serde_yaml::from_str(yaml).unwrap()).unwrap()
    }

    #[test]
    fn a_source_may_say_what_all_of_its_records_do() {
        let settings: DocumentSettings =
            serde_yaml::from_str("{ id: id, text: '{{ t }}', events: { field: type, gone: { operation: delete } } }")
                .unwrap();
        let by_events = Mapper::new(&settings).unwrap();
        let record = json!({"id": "p1", "price": 1});
        assert!(map(&by_events, record.clone()).is_err());
        let digest = |mapper: &Mapper| mapper.digest(b"{}", ORDER);
        let mut digests = vec![digest(&by_events)];
        for operation in [Operation::Upsert, Operation::Patch, Operation::Delete] {
            let mapper = Mapper::of_source(&settings, Some(operation)).unwrap();
            let change = change(&mapper, record.clone());
            assert_eq!((change.operation, change.fields.is_empty()), (operation, operation == Operation::Delete));
            assert!(!digests.contains(&digest(&mapper)), "what one source has said, another has not");
            digests.push(digest(&mapper));
        }
    }

    fn map(mapper: &Mapper, record: Value) -> Result<Mapped, Refusal> {
        mapper.map(record.to_string().as_bytes(), ORDER)
    }

    fn change(mapper: &Mapper, record: Value) -> Change {
        match map(mapper, record) {
            Ok(Mapped::Change(change)) => change,
            other => panic!("no change: {other:?}"),
        }
    }

    fn seconds(seconds: i128) -> Version {
        Version::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_events_of_a_product_stream_become_changes() {
        let mapper = products();
        let created = json!({"type": "product_create", "product_id": "p1", "title": "Boots", "description": "Dry feet",
            "category": "shoes", "price": 80, "timestamp": 1_732_351_234});
        let updated = json!({"type": "product_update", "product_id": "p1", "title": "Rain boots", "description": "Dry feet",
            "updated_fields": ["title"], "timestamp": 1_732_351_235});
        let priced = json!({"type": "price_change", "product_id": 17, "product_name": "Boots", "old_price": 80, "new_price": 60,
            "price": 99, "discount_percentage": 25, "timestamp": "2024-11-23T08:40:36Z"});
        let deleted = json!({"type": "product_delete", "product_id": "p1", "timestamp": 1_732_351_237});

        for (record, id, operation, version, priority, immediate) in [
            (&created, "p1", Operation::Upsert, 1_732_351_234, 1, false),
            (&updated, "p1", Operation::Patch, 1_732_351_235, 0, true),
            (&priced, "17", Operation::Patch, 1_732_351_236, 2, true),
            (&deleted, "p1", Operation::Delete, 1_732_351_237, 0, false),
        ] {
            let change = change(&mapper, record.clone());
            assert_eq!((change.id.as_str(), change.operation, change.version), (id, operation, seconds(version)));
            assert_eq!((change.priority, change.immediate), (priority, immediate));
        }

        assert_eq!(json!(change(&mapper, created.clone()).fields), created, "every field is kept");
        assert_eq!(change(&mapper, deleted).fields, Fields::new(), "a delete sets nothing");
        let fields = change(&mapper, priced).fields;
        assert_eq!((fields.get("price"), fields.get("new_price")), (Some(&json!(60)), None), "the renamed value wins");
        assert_eq!(
            map(&mapper, json!({"type": "product_view"})),
            Ok(Mapped::Ignored),
            "it needs neither an id nor a version"
        );
    }

    #[test]
    fn a_record_that_is_no_change_tells_why_and_whose_it_was() {
        let mapper = products();
        let id = || DocumentId::new("p1").ok();
        let long = "x".repeat(10_000_000);
        for (record, reason, found, version) in [
            (
                json!({"type": "recall", "product_id": "p1", "timestamp": 5}),
                "unknown event type `recall`; configured are \
                `price_change`, `product_create`, `product_delete`, `product_update`, `product_view`",
                id(),
                Some(seconds(5)),
            ),
            (
                json!({"type": null, "product_id": "p1", "timestamp": 5}),
                "the record has no `type`",
                id(),
                Some(seconds(5)),
            ),
            (
                json!({"type": ["a"], "product_id": "p1", "timestamp": 5}),
                "unknown event type a list of 1",
                id(),
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "timestamp": 5}),
                "the record has no `product_id`",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": null, "timestamp": 5}),
                "has no `product_id`",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": 1.5, "timestamp": 5}),
                "the document id in `product_id` must be a text or a whole number, and it is the number 1.5",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": 18_446_744_073_709_551_616.0, "timestamp": 5}),
                "in `product_id` is too large for a number; write it as a text",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": {"a": 1}, "timestamp": 5}),
                "an object with 1 fields",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": "", "timestamp": 5}),
                "`product_id`: the document id is empty",
                None,
                Some(seconds(5)),
            ),
            (json!({"type": "product_create", "product_id": "a\u{0}", "timestamp": 5}), "NUL", None, Some(seconds(5))),
            (
                json!({"type": "product_create", "product_id": long, "timestamp": 5}),
                "has 10000000 bytes; at most 1024",
                None,
                Some(seconds(5)),
            ),
            (
                json!({"type": "product_create", "product_id": "p1"}),
                "the record has no `timestamp`, which orders changes",
                id(),
                None,
            ),
            (
                json!({"type": "product_create", "product_id": "p1", "timestamp": "soon"}),
                "`timestamp`: version `soon` is neither",
                id(),
                None,
            ),
            (
                json!({"type": "product_create"}),
                "no `product_id`, which names the document; the record has no `timestamp`",
                None,
                None,
            ),
            (
                json!({"type": long, "product_id": "p1", "timestamp": 5}),
                "(10000000 bytes); configured are",
                id(),
                Some(seconds(5)),
            ),
            (json!([]), "the record must be a JSON object, and it starts with a list", None, None),
        ] {
            let refusal = map(&mapper, record).unwrap_err();
            assert!(refusal.reason.contains(reason), "{} should say: {reason}", refusal.reason);
            assert!(refusal.reason.len() < 400, "{}", refusal.reason);
            assert_eq!((refusal.id, refusal.version), (found, version), "{}", refusal.reason);
        }
    }

    #[test]
    fn without_events_and_version_every_record_is_an_upsert_in_the_order_of_its_source() {
        let mapper = mapper(r#"{ id: id, text: "{{ text }}" }"#);
        let change = change(&mapper, json!({"id": -7, "text": "t"}));
        assert_eq!((change.id.as_str(), change.operation, change.version), ("-7", Operation::Upsert, ORDER));
        assert_eq!((change.priority, change.immediate), (0, false));
    }

    #[test]
    fn nested_fields_are_named_by_pointers_and_renamed_at_once() {
        let mapper = mapper(
            r#"
            id: /product/id
            version: { field: /meta/at, unit: counter }
            text: "{{ a }}"
            events:
              field: /meta/kind
              3: { operation: patch, rename: { a: b, b: a, /product/name: name, /tags/1: tag, absent: c, /tags/9: d } }
            "#,
        );
        let change = change(
            &mapper,
            json!({"product": {"id": 9, "name": "n"}, "meta": {"at": 12_345_678_901_234_u64, "kind": 3}, "tags": [5, 6, 7], "a": 1, "b": 2}),
        );
        assert_eq!((change.id.as_str(), change.version), ("9", seconds(12_345_678_901_234)));
        assert_eq!(
            json!(change.fields),
            json!({
                "product": {"id": 9}, "meta": {"at": 12_345_678_901_234_u64, "kind": 3}, "tags": [5, null, 7],
                "a": 2, "b": 1, "name": "n", "tag": 6,
            })
        );
    }

    #[test]
    fn what_lies_inside_of_another_field_is_renamed_too_and_a_patch_wipes_no_object() {
        let mapper = mapper(
            r#"
            id: id
            version: { field: v, unit: counter }
            text: "{{ title }}"
            events:
              field: k
              p: { operation: patch, rename: &moved { /after: whole, /after/price: price, /product/new_price: new } }
              u: { operation: upsert, rename: *moved }
            "#,
        );
        for (kind, left) in [("p", None), ("u", Some(json!({})))] {
            let event = json!({
                "id": 1, "v": 2, "k": kind, "after": {"price": 7, "name": "n"}, "product": {"new_price": 8},
            });
            let fields = change(&mapper, event).fields;
            let moved = ["whole", "price", "new"].map(|name| fields[name].clone());
            assert_eq!(moved, [json!({"name": "n"}), json!(7), json!(8)]);
            assert_eq!(fields.get("product"), left.as_ref(), "an upsert is all that there is of the document");
        }
        let emptied = json!({ "id": 1, "v": 2, "k": "p", "product": {} });
        assert_eq!(change(&mapper, emptied).fields.get("product"), Some(&json!({})), "nothing was moved out of it");
    }

    #[test]
    fn a_record_has_the_name_of_another_only_when_it_says_the_same() {
        let (plain, versioned) = ("{ id: id, text: t }", "{ id: id, version: v, text: t }");
        let digest =
            |yaml: &str, payload: &str, order| mapper(yaml).digest(payload.as_bytes(), Version::from_nanos(order));
        let record = r#"{"id":"a","v":1}"#;
        let name = digest(versioned, record, 1);
        assert_eq!(
            name,
            digest("{ id: id, version: v, text: other, metadata: [v] }", record, 2),
            "read in the same way"
        );
        for (other, what) in [
            (digest(versioned, r#"{"id":"a","v":2}"#, 1), "other bytes"),
            (digest("{ id: /id, version: v, text: t }", record, 1), "another id"),
            (digest("{ id: id, version: { field: v, unit: seconds }, text: t }", record, 1), "another version"),
            (
                digest("{ id: id, version: v, text: t, events: { field: v, 1: { operation: patch } } }", record, 1),
                "kinds",
            ),
        ] {
            assert_ne!(name, other, "{what}");
        }
        assert_eq!(digest(plain, record, 1), digest(plain, record, 1));
        assert_ne!(digest(plain, record, 1), digest(plain, record, 2), "its place is its version");
    }

    #[test]
    fn a_glance_finds_the_document_that_a_record_names() {
        let nested = mapper("{ id: /product/a~1b, text: t }");
        assert_eq!(nested.glance(br#"{"product":{"x":1,"a/b":9}}"#).as_deref(), Some("9"));
        assert_eq!(products().glance(br#"{"type":"recall","product_id":"p1"}"#).as_deref(), Some("p1"));
    }

    #[test]
    fn names_that_name_nothing_are_refused_with_their_setting() {
        for (yaml, reason) in [
            (r#"{ id: "", text: t }"#, "document.id: is empty"),
            (r#"{ id: id, version: "/", text: t }"#, "document.version: names no field"),
            (r#"{ id: id, text: t, events: { field: "", a: { operation: patch } } }"#, "document.events.field: "),
            (
                r#"{ id: id, text: t, events: { field: k, a: { operation: patch, rename: { "/": b } } } }"#,
                "document.events.a.rename./: names no field",
            ),
        ] {
            let error = Mapper::new(&serde_yaml::from_str(yaml).unwrap()).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
        }
    }
}
