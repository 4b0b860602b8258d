//! The convergence rule: how changes, in any order and any number of times, become one document.
//!
//! Field by field, the newest version wins. `upsert(t, F)` also removes fields older than `t` that `F` does not name;
//! `delete(t)` removes every field not newer than `t`; `patch(t, F)` sets fields and removes none. Of two values with one version
//! the greater JSON text wins, the same one everywhere; a text is greater than any beginning of it.
//!
//! A change is itself a small [`Document`], and merging is the join of two documents: commutative, associative and
//! idempotent. So changes may be joined before they meet what the ledger holds, in any grouping.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Change, Operation, Version};

/// The merged state of changes to one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// The newest upsert: fields older than it are gone.
    whole: Option<Version>,
    /// The newest delete: fields not newer than it are gone. Kept for good, so that a late change cannot bring them back.
    deleted: Option<Version>,
    /// Sorted by name, none twice. All of them outlive `whole` and `deleted`. A document has few fields, and a sorted list of them is made
    /// and joined faster than a map.
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    name: String,
    version: Version,
    value: Value,
}

impl Field {
    fn wins_over(&self, other: &Self) -> bool {
        let text = |field: &Self| {
            let mut text = field.value.to_string();
            // Else a blank behind it would make a text less than its beginning, which may have been read before the rest was written.
            if text.ends_with('"') {
                text.pop();
            }
            text
        };
        self.version > other.version
            || (self.version == other.version && self.value != other.value && text(self) > text(other))
    }
}

/// Brings fields into their order. Costs one comparison per field where they are in order already, or are a few ordered lists in a row.
fn sort(fields: &mut [Field]) {
    fields.sort_by(|a, b| a.name.cmp(&b.name));
}

impl From<Change> for Document {
    fn from(change: Change) -> Self {
        let version = change.version;
        let floor = |operation| (change.operation == operation).then_some(version);
        let (whole, deleted) = (floor(Operation::Upsert), floor(Operation::Delete));
        let mut fields: Vec<Field> = Vec::new();
        if change.operation != Operation::Delete {
            fields.extend(change.fields.into_iter().map(|(name, value)| Field { name, version, value }));
            sort(&mut fields);
        }
        Self { whole, deleted, fields }
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
        let (whole, deleted) = (self.whole, self.deleted);
        if changed {
            self.fields.retain(|field| outlives(field.version, whole, deleted));
        }
        // Both lists are sorted, so one walk along what is held finds the place of each field. New fields are put at the end at first.
        let held = self.fields.len();
        let mut at = 0;
        for field in other.fields {
            if !outlives(field.version, whole, deleted) {
                continue;
            }
            while at < held && self.fields[at].name < field.name {
                at += 1;
            }
            if at == held || self.fields[at].name != field.name {
                self.fields.push(field);
                changed = true;
            } else if field.wins_over(&self.fields[at]) {
                self.fields[at] = field;
                changed = true;
            }
        }
        if self.fields.len() > held {
            sort(&mut self.fields);
        }
        changed
    }

    /// Whether it is what a change says: each field that the change names is so, and there is no other if it names them all.
    pub fn is_as_said_by(&self, change: &Document) -> bool {
        let is_so = |field: &Field| self.field(&field.name) == change.field(&field.name);
        let names_all = change.whole == Some(change.newest());
        change.fields.iter().all(is_so)
            && !(names_all && self.present().any(|field| change.field(&field.name).is_none()))
    }

    fn present(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.value.is_null())
    }

    /// The fields that the document has, sorted by name: those that were set and not set to `null`.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.present().map(|field| (field.name.as_str(), &field.value))
    }

    /// Whether the document has any field: one that was deleted has none.
    pub fn has_fields(&self) -> bool {
        self.present().next().is_some()
    }

    /// One field, when the document has it.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let found = self.fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok()?;
        Some(&self.fields[found].value).filter(|value| !value.is_null())
    }

    /// Whether it is deleted. Parts of it may have come since.
    pub fn is_deleted(&self) -> bool {
        self.deleted.is_some() && self.deleted >= self.whole
    }

    /// The newest upsert or deletion: what is older no longer says anything.
    pub fn replaced(&self) -> Option<Version> {
        self.whole.max(self.deleted)
    }

    /// The newest version that wrote anything; zero for a document to which nothing was ever written.
    pub fn newest(&self) -> Version {
        let fields = self.fields.iter().map(|field| field.version);
        fields.chain(self.whole).chain(self.deleted).max().unwrap_or_default()
    }

    /// The version that wrote each field that the document has, sorted by name.
    pub fn versions(&self) -> impl Iterator<Item = (&str, Version)> {
        self.present().map(|field| (field.name.as_str(), field.version))
    }

    /// The version of the newest delete, if there was one.
    pub fn deleted(&self) -> Option<Version> {
        self.deleted
    }

    /// As JSON text for the ledger: `{"whole":v,"deleted":v,"fields":[[v,{..}],..]}`, fields grouped by the version (in
    /// billionths) that wrote them, because most were written by one. Equal documents give equal text.
    pub fn to_json(&self) -> String {
        let mut fields: Vec<&Field> = self.fields.iter().collect();
        fields.sort_by_key(|field| field.version);
        let nanos = |version: Option<Version>| version.map(Version::as_nanos);
        let written = Written { whole: nanos(self.whole), deleted: nanos(self.deleted), fields: Groups(&fields) };
        serde_json::to_string(&written).expect("texts, numbers and JSON values always serialise")
    }

    /// Reads what [`Document::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let read: Read = serde_json::from_str(text)?;
        let version = |nanos: Option<i128>| nanos.map(Version::from_nanos);
        let mut fields = Vec::with_capacity(read.fields.iter().map(|(_, group)| group.0.len()).sum());
        for (nanos, group) in read.fields {
            let version = Version::from_nanos(nanos);
            fields.extend(group.0.into_iter().map(|(name, value)| Field { name, version, value }));
        }
        sort(&mut fields);
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
    fields: Groups<'a>,
}

/// Fields sorted by version, as a list of groups.
struct Groups<'a>(&'a [&'a Field]);

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let groups = self.0.chunk_by(|a, b| a.version == b.version);
        serializer.collect_seq(groups.map(|group| (group[0].version.as_nanos(), Group(group))))
    }
}

/// Fields of one version.
struct Group<'a>(&'a [&'a Field]);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (&field.name, &field.value)))
    }
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    whole: Option<i128>,
    #[serde(default)]
    deleted: Option<i128>,
    fields: Vec<(i128, ReadGroup)>,
}

/// A [`Group`] read back: a list, because a map would only be taken apart again.
struct ReadGroup(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for ReadGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = ReadGroup;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields with their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadGroup, A::Error> {
                let mut entries = Vec::with_capacity(8);
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(ReadGroup(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::document::DocumentId;

    fn change(operation: Operation, version: i128, fields: Value) -> Change {
        let fields = serde_json::from_value(fields).unwrap();
        let id = DocumentId::new("d").unwrap();
        Change { id, operation, version: Version::from_nanos(version), fields, priority: 0, immediate: false }
    }

    fn joined(changes: impl IntoIterator<Item = Change>) -> Document {
        changes.into_iter().map(Document::from).fold(Document::default(), |mut all, one| {
            all.join(one);
            all
        })
    }

    fn shown(document: &Document) -> Value {
        document.fields().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    #[test]
    fn late_and_partial_changes_find_their_place() {
        use Operation::{Delete, Patch, Upsert};
        for (story, changes, fields) in [
            ("nothing", vec![], json!({})),
            (
                "a newer whole document removes what it does not name",
                vec![change(Upsert, 1, json!({"a": 1, "b": 1})), change(Upsert, 2, json!({"a": 2}))],
                json!({"a": 2}),
            ),
            (
                "a late whole document does not undo a newer price",
                vec![change(Patch, 2, json!({"price": 60})), change(Upsert, 1, json!({"title": "t", "price": 80}))],
                json!({"title": "t", "price": 60}),
            ),
            (
                "a late upsert does not bring a deleted document back",
                vec![
                    change(Upsert, 1, json!({"a": 1})),
                    change(Delete, 3, json!({})),
                    change(Upsert, 2, json!({"a": 2})),
                ],
                json!({}),
            ),
            (
                "a newer upsert brings a deleted document back",
                vec![change(Delete, 3, json!({})), change(Upsert, 4, json!({"a": 4}))],
                json!({"a": 4}),
            ),
            (
                "a delete and an upsert of one version: the delete wins",
                vec![change(Upsert, 3, json!({"a": 1})), change(Delete, 3, json!({}))],
                json!({}),
            ),
            (
                "null removes a field, and a late value does not bring it back",
                vec![change(Patch, 2, json!({"a": null})), change(Patch, 1, json!({"a": 1, "b": 1}))],
                json!({"b": 1}),
            ),
            (
                "of two values with one version the greater text wins",
                vec![
                    change(Patch, 1, json!({"a": 9})),
                    change(Patch, 1, json!({"a": 10})),
                    change(Patch, 1, json!({"a": 1})),
                ],
                json!({"a": 9}),
            ),
            (
                "a text that only goes on is the greater one, whatever it goes on with",
                vec![
                    change(Patch, 1, json!({"a": "red shoes", "b": "!"})),
                    change(Patch, 1, json!({"a": "red", "b": ""})),
                ],
                json!({"a": "red shoes", "b": "!"}),
            ),
        ] {
            assert_eq!(shown(&joined(changes)), fields, "{story}");
        }
    }

    #[test]
    fn versions_and_the_ledger_text_are_kept() {
        use Operation::{Delete, Patch, Upsert};
        let document = joined([
            change(Delete, 1, json!({})),
            change(Upsert, 5, json!({"b": 1, "a": {"y": 1, "x": 2}})),
            change(Patch, i128::from(u64::MAX) * 1_000_000_000, json!({"c": null, "d": "\u{0}é"})),
        ]);
        let text = r#"{"whole":5,"deleted":1,"fields":[[5,{"a":{"x":2,"y":1},"b":1}],[18446744073709551615000000000,{"c":null,"d":"\u0000é"}]]}"#;
        assert_eq!(document.to_json(), text);
        assert_eq!(Document::from_json(text).unwrap(), document);
        assert_eq!(document.deleted(), Some(Version::from_nanos(1)));
        assert_eq!(document.newest(), Version::from_nanos(18_446_744_073_709_551_615_000_000_000));
        assert_eq!(
            document.versions().map(|(name, version)| (name, version.as_nanos())).take(2).collect::<Vec<_>>(),
            [("a", 5), ("b", 5)]
        );
        assert_eq!(document.field("b"), Some(&json!(1)));
        assert_eq!((document.field("c"), document.field("e")), (None, None));
        assert_eq!(Document::default().newest(), Version::default());
        assert!(Document::from_json("{}").is_err());
    }

    /// The JSON text of a value; that of a text without its closing quote, so that it is a beginning of whatever goes on with it.
    fn open_ended(value: &Value) -> String {
        let text = value.to_string();
        if value.is_string() { text[..text.len() - 1].to_owned() } else { text }
    }

    /// The rules of the module's documentation, applied to the full list of changes: what the join must amount to.
    fn specified(changes: &[Change]) -> BTreeMap<String, (Version, Value)> {
        let newest = |operation| changes.iter().filter(|c| c.operation == operation).map(|c| c.version).max();
        let (whole, deleted) = (newest(Operation::Upsert), newest(Operation::Delete));
        let mut fields: BTreeMap<String, (Version, Value)> = BTreeMap::new();
        for change in changes {
            for (name, value) in &change.fields {
                let removed = Some(change.version) < whole || Some(change.version) <= deleted;
                let rank = |version: Version, value: &Value| (version, open_ended(value));
                let candidate = rank(change.version, value);
                let older = fields.get(name).is_none_or(|(version, held)| rank(*version, held) < candidate);
                if !removed && older {
                    fields.insert(name.clone(), (change.version, value.clone()));
                }
            }
        }
        fields.retain(|_, (_, value)| !value.is_null());
        fields
    }

    fn any_change() -> impl Strategy<Value = Change> {
        use Operation::{Delete, Patch, Upsert};
        let value = prop_oneof![
            Just(json!(null)),
            Just(json!(1)),
            Just(json!(10)),
            Just(json!(1.0)),
            Just(json!(u64::MAX)),
            Just(json!("x")),
            Just(json!("x y")),
            Just(json!("x\"")),
            Just(json!([1, {"k": null}]))
        ];
        let fields = prop::collection::btree_map("[a-d]", value, 0..4);
        (prop_oneof![Just(Upsert), Just(Patch), Just(Patch), Just(Delete)], 0..5_i128, fields).prop_map(
            |(operation, version, fields)| {
                let fields = if operation == Delete { json!({}) } else { json!(fields) };
                change(operation, version, fields)
            },
        )
    }

    fn any_document() -> impl Strategy<Value = Document> {
        prop::collection::vec(any_change(), 0..6).prop_map(joined)
    }

    fn join(mut a: Document, b: Document) -> Document {
        a.join(b);
        a
    }

    proptest! {
        #[test]
        fn the_join_is_commutative_associative_and_idempotent(a in any_document(), b in any_document(), c in any_document()) {
            let ab = join(a.clone(), b.clone());
            prop_assert_eq!(&ab, &join(b.clone(), a.clone()));
            prop_assert_eq!(join(ab.clone(), c.clone()), join(a.clone(), join(b.clone(), c)));
            prop_assert_eq!(&join(ab.clone(), ab.clone()), &ab);
            prop_assert!(!ab.clone().join(a), "what is known changes nothing");
            prop_assert!(!ab.clone().join(b));
        }

        #[test]
        fn a_join_tells_whether_it_changed_anything(a in any_document(), b in any_document()) {
            let mut joined = a.clone();
            let changed = joined.join(b);
            prop_assert_eq!(changed, joined != a);
        }

        #[test]
        fn any_order_duplication_and_grouping_gives_what_the_rules_say(
            (changes, shuffled) in prop::collection::vec(any_change(), 0..12).prop_flat_map(|changes| {
                let doubled = [changes.clone(), changes.clone()].concat();
                (Just(changes), Just(doubled).prop_shuffle())
            }),
            groups in prop::collection::vec(1..5_usize, 24),
        ) {
            let in_order = joined(changes.clone());
            let mut rest = shuffled.into_iter();
            let mut grouped = Document::default();
            for size in groups {
                grouped.join(joined(rest.by_ref().take(size)));
            }
            prop_assert_eq!(&grouped, &in_order);
            prop_assert_eq!(grouped.to_json(), in_order.to_json());

            let fields: BTreeMap<_, _> = in_order.fields().map(|(name, value)| (name.to_owned(), value.clone())).collect();
            let versions: BTreeMap<_, _> = in_order.versions().map(|(name, version)| (name.to_owned(), version)).collect();
            let specified = specified(&changes);
            prop_assert_eq!(fields, specified.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect());
            prop_assert_eq!(versions, specified.into_iter().map(|(name, (version, _))| (name, version)).collect());
        }

        #[test]
        fn the_ledger_text_reads_back_as_the_same_document(document in any_document()) {
            prop_assert_eq!(Document::from_json(&document.to_json()).unwrap(), document);
        }
    }
}
