//! The `document` section: how a record becomes a change to a document.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::document::Operation;

/// How records become documents. A field is named by its key (`title`) or, when it is nested, by a JSON pointer (`/product/title`).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSettings {
    /// The field with the document's id: text or a whole number.
    pub id: String,
    /// The field that orders changes, newest wins: `version: timestamp`, or `version: { field: timestamp, unit: milliseconds }`.
    /// Absent: the source's own order, in which a file new to Vectide is as new as its modification time. Documents that several sources or
    /// files write to need a version field, unless the file written last is to win. It must grow with every change of a record: where it
    /// does not (whole days, or prices that it does not cover), leave it out, else the new value may lose against the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionSettings>,
    /// The minijinja template of the text that is embedded. A document that lacks one of its fields has no text yet, and waits in the
    /// ledger; for a field that may be missing write `{{ description | default('') }}`. More under [Templates](#templates).
    pub text: String,
    /// The fields that the index stores beside the vector, for filters and results. Numbers are 64-bit integers or 64-bit floating-point
    /// numbers: longer ones are rounded, unless records hold them as text.
    #[serde(default)]
    pub metadata: Vec<String>,
    /// Those fields of `metadata` that are numbers even where records hold them as text, as every CSV file does: `"12.50"` is stored as
    /// 12.5, and filters compare it as a number. Text that is not a number, such as `12,50`, is stored as it is. The template still sees
    /// the text.
    #[serde(default)]
    pub numbers: Vec<String>,
    /// What each kind of event does. Absent: every record is an upsert, unless its source says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventSettings>,
}

impl DocumentSettings {
    /// The unit of the field that orders changes, if there is one.
    pub fn configured_version_unit(&self) -> Option<VersionUnit> {
        self.version.as_ref().map(|version| version.unit)
    }

    /// How versions are read and shown.
    pub fn version_unit(&self) -> VersionUnit {
        self.configured_version_unit().unwrap_or_default()
    }

    /// Whether a version may be the time of its event: that of a counter is none, however large it is.
    pub fn are_versions_times(&self) -> bool {
        self.configured_version_unit().is_some_and(|unit| unit != VersionUnit::Counter)
    }
}

/// Which field orders changes, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionSettings {
    /// The field: a number or an RFC 3339 time. What is no time between the years 1900 and 2262 and no counter is dead-lettered: a change
    /// of the year 9999 would win for ever.
    pub field: String,
    /// How a number is read.
    pub unit: VersionUnit,
}

/// How the number in a version field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionUnit {
    /// Decided by its size: a Unix time in seconds, milliseconds, microseconds or nanoseconds, or a counter below 5,000,000,000.
    /// Any other number is dead-lettered: name the unit.
    #[default]
    Auto,
    /// A counter: greater is newer. From 2^64 on, and below -2^63, it must be written as text.
    Counter,
    /// Unix time in seconds.
    Seconds,
    /// Unix time in milliseconds.
    Milliseconds,
    /// Unix time in microseconds.
    Microseconds,
    /// Unix time in nanoseconds.
    Nanoseconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionKeys {
    field: String,
    #[serde(default)]
    unit: VersionUnit,
}

/// By hand, so that an error names the key that is wrong.
impl<'de> Deserialize<'de> for VersionSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = VersionSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name, or `{ field: timestamp, unit: milliseconds }`")
            }

            fn visit_str<E: de::Error>(self, field: &str) -> Result<VersionSettings, E> {
                Ok(VersionSettings { field: field.to_owned(), unit: VersionUnit::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VersionSettings, A::Error> {
                let VersionKeys { field, unit } = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(VersionSettings { field, unit })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// What each kind of event does: `field` and, beside it, one entry per kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventSettings {
    /// The field whose value names the kind of event. A record whose kind is not listed is dead-lettered.
    pub field: String,
    /// By the value of that field.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, EventKindSettings>,
}

/// By hand, so that an error names the kind that is wrong: serde's `flatten` forgets it.
impl<'de> Deserialize<'de> for EventSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = EventSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`field` and one entry for every kind of event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventSettings, A::Error> {
                let (mut field, mut kinds) = (None, BTreeMap::new());
                while let Some(key) = map.next_key::<String>()? {
                    if key == "field" {
                        field = Some(map.next_value()?);
                    } else {
                        kinds.insert(key, map.next_value()?);
                    }
                }
                let field = field.ok_or_else(|| de::Error::missing_field("field"))?;
                Ok(EventSettings { field, kinds })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What one kind of event does.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventKindSettings {
    /// `upsert` (the whole document), `patch` (some fields), `delete`, or `ignore` (settled as filtered).
    pub operation: EventOperation,
    /// The lane in which its text waits: 0 is ordinary, higher goes first. At most 9.
    #[serde(default)]
    pub priority: usize,
    /// Send its text at once instead of waiting for a full batch.
    #[serde(default)]
    pub immediate: bool,
    /// Fields of the event that are kept under another name: `{ new_price: price }`. A patch replaces a nested object as a whole; to change
    /// a part of one, move that part to a name of its own. The id, the version and the kind are read under the event's own names.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
}

/// What a kind of event does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOperation {
    /// The event holds the whole document: fields it does not name go.
    Upsert,
    /// The event holds some fields: the others stay.
    Patch,
    /// The document is gone.
    Delete,
    /// The event is of no interest here.
    Ignore,
}

impl EventOperation {
    /// The change it makes; `None` for events of no interest.
    pub fn operation(self) -> Option<Operation> {
        match self {
            Self::Upsert => Some(Operation::Upsert),
            Self::Patch => Some(Operation::Patch),
            Self::Delete => Some(Operation::Delete),
            Self::Ignore => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_counter_or_of_no_field_are_no_times() {
        for (version, are_times) in [
            ("", false),
            (", version: seq", true),
            (", version: { field: seq, unit: counter }", false),
            (", version: { field: at, unit: milliseconds }", true),
        ] {
            let yaml = format!("{{ id: id, text: t{version} }}");
            let settings: DocumentSettings = serde_yaml::from_str(&yaml).unwrap();
            assert_eq!(settings.are_versions_times(), are_times, "{yaml}");
        }
    }
}
