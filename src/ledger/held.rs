//! What the ledger holds, as its callers see it.

use crate::document::{Document, DocumentId, Fingerprint, Vector, Version};

use super::TakenRecord;

/// Names a point in the index: one chunk of one document. Never used again for another point.
pub type PointKey = u64;

/// What the ledger holds of one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeldDocument {
    /// The merged state of all changes so far.
    pub document: Document,
    /// The metadata in the index, as canonical JSON text; `None` when the document is not in the index.
    pub metadata: Option<String>,
    /// What the index holds, by chunk number. Empty when the document is not in the index.
    pub chunks: Vec<HeldChunk>,
    /// Whether another system may not have got this yet. It is to be written again, changed or not.
    pub unwritten: bool,
}

/// What the index holds of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPoints {
    /// As [`HeldDocument::metadata`].
    pub metadata: Option<String>,
    /// As [`HeldDocument::chunks`].
    pub chunks: Vec<HeldChunk>,
}

/// One chunk that the index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldChunk {
    /// The text that it was made from.
    pub fingerprint: Fingerprint,
    /// Its point.
    pub key: PointKey,
}

/// What the ledger and the index shall hold of one document from now on.
#[derive(Debug)]
pub struct DocumentWrite {
    /// Which document.
    pub id: DocumentId,
    /// [`Document::to_json`] of the merged state, made where there is time for it.
    pub document: String,
    /// The record that made it so; `None` where several did, or an older one than some that it knows.
    pub record: Option<TakenRecord>,
    /// The dead letters of this document that it makes moot, and clears. `None` for a document that was rejected, which clears none: its
    /// own may be among them.
    pub clears: Option<Moot>,
    /// The metadata beside the vectors, as canonical JSON text; `None` takes the document out of the index.
    pub metadata: Option<String>,
    /// All chunks in order. Points that are not kept by one of them are removed. Without metadata they get no points; their vectors
    /// are kept where vectors outlive points.
    pub chunks: Vec<ChunkWrite>,
}

/// Which dead letters of a document a write of it makes moot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moot {
    /// Those up to this version whose change is part of the document.
    pub taken_in: Version,
    /// Those up to this version whose change never was: an upsert or a deletion that is not older has replaced whatever it said. A patch
    /// has not: what another record says of other fields is lost with its letter.
    pub replaced: Option<Version>,
}

impl Moot {
    /// What this state of a document makes moot.
    pub fn by(document: &Document) -> Self {
        Self { taken_in: document.newest(), replaced: document.replaced() }
    }

    /// What an upsert of this version makes moot.
    pub fn up_to(version: Version) -> Self {
        Self { taken_in: version, replaced: Some(version) }
    }
}

/// One chunk of a [`DocumentWrite`].
#[derive(Debug, Clone)]
pub struct ChunkWrite {
    /// The text that it is made from.
    pub fingerprint: Fingerprint,
    /// Where its vector is.
    pub vector: VectorSource,
}

impl ChunkWrite {
    /// Its vector, where the ledger may not have it yet.
    pub(super) fn new_vector(&self) -> Option<&Vector> {
        match &self.vector {
            VectorSource::Here(vector) => Some(vector),
            VectorSource::Held(_) => None,
        }
    }
}

/// Where the vector of a chunk is.
#[derive(Debug, Clone)]
pub enum VectorSource {
    /// In the index already, under this point of the same document.
    Held(PointKey),
    /// Here.
    Here(Vector),
}

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeadLetter {
    /// The source's name in the configuration.
    pub source: String,
    /// Where in the source, as a person would look it up.
    pub position: String,
    /// The document, where the record told it.
    pub document: Option<DocumentId>,
    /// The change's version, where the record told it.
    pub version: Option<Version>,
    /// Why, in one sentence.
    pub reason: String,
    /// The record's bytes as the source gave them.
    pub payload: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// The version that the source's own order gives it; used again when it is replayed.
    pub order: Version,
    /// Whether its change is part of the document, which is only not in the index.
    pub taken_in: bool,
}

/// A record in the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// When it last failed, Unix milliseconds.
    pub at: i64,
    /// Whether it waits to go through the pipeline again.
    pub replay: bool,
    /// The record.
    pub letter: NewDeadLetter,
}

/// Counts over everything the ledger has seen, kept across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Texts sent to the provider.
    pub texts: u64,
    /// Tokens the provider charged, or our estimate where it does not say.
    pub tokens: u64,
    /// Money spent, in US dollars.
    pub money: f64,
    /// Texts that needed no call: a vector was at hand.
    pub cache_hits: u64,
    /// Events settled.
    pub events: u64,
}
