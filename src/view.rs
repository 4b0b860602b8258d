//! What people and programs see of documents and search results: the JSON of the HTTP interface, of `--json` and of `export`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::document::{DocumentId, Vector, Version};
use crate::index::Hit;
use crate::ledger::HeldDocument;

/// A version as the number that the event carried, with all its digits.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct VersionView(Box<RawValue>);

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        Self(RawValue::from_string(version.to_string()).expect("a decimal number is JSON"))
    }
}

/// The answer to a search: best first.
#[derive(Debug, Clone, Serialize)]
pub struct HitsView {
    /// One entry a document.
    pub hits: Vec<HitView>,
}

/// One document that was found.
#[derive(Debug, Clone, Serialize)]
pub struct HitView {
    /// The document.
    pub id: String,
    /// Nearness: larger is nearer.
    pub score: f32,
    /// Its metadata.
    pub metadata: Value,
    /// The number of its nearest chunk, from 0.
    pub chunk: usize,
    /// That chunk's vector, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vector>,
}

impl From<Vec<Hit>> for HitsView {
    fn from(hits: Vec<Hit>) -> Self {
        Self { hits: hits.into_iter().map(HitView::from).collect() }
    }
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        let Hit { id, score, metadata, chunk, vector } = hit;
        Self { id: id.as_str().to_owned(), score, metadata, chunk, vector }
    }
}

/// One document as it is held.
#[derive(Debug, Clone, Serialize)]
pub struct DocumentView {
    /// The document.
    pub id: String,
    /// Whether a search can find it. It is not in the index when it was deleted or its text is not complete yet.
    pub indexed: bool,
    /// The newest version that wrote anything.
    pub version: VersionView,
    /// The version of the newest delete, if there was one; fields that are not newer are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<VersionView>,
    /// The fields that it has.
    pub fields: BTreeMap<String, Value>,
    /// The version that wrote each field.
    pub versions: BTreeMap<String, VersionView>,
    /// The metadata in the index; `null` when it is not in the index.
    pub metadata: Value,
    /// What the index holds, by chunk number.
    pub chunks: Vec<ChunkView>,
}

/// One chunk that the index holds.
#[derive(Debug, Clone, Serialize)]
pub struct ChunkView {
    /// The fingerprint of its text, hexadecimal.
    pub fingerprint: String,
    /// Its vector, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vector>,
}

impl DocumentView {
    /// A document without its vectors.
    pub fn new(id: &DocumentId, held: &HeldDocument) -> Self {
        let HeldDocument { document, metadata, chunks } = held;
        Self {
            id: id.as_str().to_owned(),
            indexed: metadata.is_some(),
            version: document.newest().into(),
            deleted: document.deleted().map(VersionView::from),
            fields: document.fields().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            versions: document.versions().map(|(name, version)| (name.to_owned(), version.into())).collect(),
            metadata: metadata.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            chunks: chunks
                .iter()
                .map(|chunk| ChunkView { fingerprint: chunk.fingerprint.to_string(), vector: None })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, Document, Fingerprint, Operation};
    use crate::ledger::HeldChunk;

    #[test]
    fn a_document_shows_its_fields_versions_and_chunks() {
        let id = DocumentId::new("p1").unwrap();
        let change = |operation, nanos, fields: Value| Change {
            id: id.clone(),
            operation,
            version: Version::from_nanos(nanos),
            fields: serde_json::from_value(fields).unwrap(),
            priority: 0,
            immediate: false,
        };
        let mut document = Document::from(change(Operation::Delete, 1_000_000_000, json!({})));
        document.join(change(Operation::Upsert, 2_000_000_000, json!({"title": "Boots", "gone": null})).into());
        document.join(change(Operation::Patch, 1_732_351_234_123_456_789, json!({"price": 5})).into());
        let held = HeldDocument {
            document,
            metadata: Some(r#"{"price":5}"#.into()),
            chunks: vec![HeldChunk { fingerprint: Fingerprint::from_bytes([1; 32]), key: 7 }],
        };
        let expected = concat!(
            r#"{"id":"p1","indexed":true,"version":1732351234.123456789,"deleted":1,"#,
            r#""fields":{"price":5,"title":"Boots"},"versions":{"price":1732351234.123456789,"title":2},"#,
            r#""metadata":{"price":5},"chunks":[{"fingerprint":"#,
            r#""0101010101010101010101010101010101010101010101010101010101010101"}]}"#
        );
        assert_eq!(serde_json::to_string(&DocumentView::new(&id, &held)).unwrap(), expected);
    }
}
