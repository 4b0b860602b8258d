//! The convergence rule: how changes, in any order and any number of times, become one document.
//!
//! Field by field, the newest version wins. `upsert(t, F)` also removes fields older than `t` that `F` does not name;
//! `delete(t)` removes every field not newer than `t`; `patch(t, F)` sets fields and removes none. Of two values with one version
//! the greater JSON text wins, everywhere the same.
//!
//! A change is itself a small [`Document`], and merging is the join of two documents: commutative, associative and
//! idempotent. So changes may be joined before they meet what the ledger holds, in any grouping.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Fields, Operation, Version};

/// The merged state of changes to one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// The newest upsert: fields older than it are gone.
    whole: Option<Version>,
    /// The newest delete: fields not newer than it are gone. Kept for good, so that a late change cannot bring them back.
    deleted: Option<Version>,
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    version: Version,
    value: Value,
}

impl Field {
    fn wins_over(&self, other: &Self) -> bool {
        self.version > other.version
            || (self.version == other.version
                && self.value != other.value
                && self.value.to_string() > other.value.to_string())
    }
}

impl From<Change> for Document {
    fn from(change: Change) -> Self {
        let version = change.version;
        let floor = |operation| (change.operation == operation).then_some(version);
        let mut document =
            Self { whole: floor(Operation::Upsert), deleted: floor(Operation::Delete), fields: BTreeMap::new() };
        if change.operation != Operation::Delete {
            document.fields = change.fields.into_iter().map(|(name, value)| (name, Field { version, value })).collect();
        }
        document
    }
}

impl Document {
    /// Takes in what `other` knows. Returns whether anything changed.
    pub fn join(&mut self, other: Document) -> bool {
        let mut changed = false;
        for (floor, theirs) in [(&mut self.whole, other.whole), (&mut self.deleted, other.deleted)] {
            if theirs > *floor {
                *floor = theirs;
                changed = true;
            }
        }
        if changed {
            let (whole, deleted) = (self.whole, self.deleted);
            self.fields.retain(|_, field| outlives(field.version, whole, deleted));
        }
        for (name, field) in other.fields {
            if !outlives(field.version, self.whole, self.deleted) {
                continue;
            }
            match self.fields.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(field);
                    changed = true;
                }
                Entry::Occupied(mut held) if field.wins_over(held.get()) => {
                    held.insert(field);
                    changed = true;
                }
                Entry::Occupied(_) => {}
            }
        }
        changed
    }

    /// The fields that the document has: those that were set and not set to `null`.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields
            .iter()
            .filter(|(_, field)| !field.value.is_null())
            .map(|(name, field)| (name.as_str(), &field.value))
    }

    /// One field, when the document has it.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).map(|field| &field.value).filter(|value| !value.is_null())
    }

    /// The newest version that wrote anything; zero for a document that nothing was ever written to.
    pub fn newest(&self) -> Version {
        let fields = self.fields.values().map(|field| field.version);
        fields.chain(self.whole).chain(self.deleted).max().unwrap_or_default()
    }

    /// The version that wrote each field that the document has.
    pub fn versions(&self) -> impl Iterator<Item = (&str, Version)> {
        self.fields
            .iter()
            .filter(|(_, field)| !field.value.is_null())
            .map(|(name, field)| (name.as_str(), field.version))
    }

    /// The version of the newest delete, if there was one.
    pub fn deleted(&self) -> Option<Version> {
        self.deleted
    }

    /// As JSON text for the ledger: `{"whole":v,"deleted":v,"fields":[[v,{..}],..]}`, fields grouped by the version (in
    /// billionths) that wrote them, because most were written by one.
    pub fn to_json(&self) -> String {
        let mut groups: Vec<(i128, BTreeMap<&str, &Value>)> = Vec::new();
        for (name, field) in &self.fields {
            let version = field.version.as_nanos();
            match groups.iter_mut().find(|(of, _)| *of == version) {
                Some((_, group)) => {
                    group.insert(name, &field.value);
                }
                None => groups.push((version, BTreeMap::from([(name.as_str(), &field.value)]))),
            }
        }
        let nanos = |version: Option<Version>| version.map(Version::as_nanos);
        let written = Written { whole: nanos(self.whole), deleted: nanos(self.deleted), fields: groups };
        serde_json::to_string(&written).expect("texts, numbers and JSON values always serialise")
    }

    /// Reads what [`Document::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let read: Read = serde_json::from_str(text)?;
        let version = |nanos: Option<i128>| nanos.map(Version::from_nanos);
        let mut fields = BTreeMap::new();
        for (nanos, group) in read.fields {
            let version = Version::from_nanos(nanos);
            fields.extend(group.into_iter().map(|(name, value)| (name, Field { version, value })));
        }
        Ok(Self { whole: version(read.whole), deleted: version(read.deleted), fields })
    }
}

fn outlives(version: Version, whole: Option<Version>, deleted: Option<Version>) -> bool {
    whole.is_none_or(|whole| version >= whole) && deleted.is_none_or(|deleted| version > deleted)
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<i128>,
    fields: Vec<(i128, BTreeMap<&'a str, &'a Value>)>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    whole: Option<i128>,
    #[serde(default)]
    deleted: Option<i128>,
    fields: Vec<(i128, Fields)>,
}
