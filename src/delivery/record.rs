//! What a source gives: bytes with the place they came from, as many at once as there is room for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::document::mapping::Mapper;
use crate::document::{Change, DocumentId, Fields, Operation, Version};

/// One independently ordered part of a source: a file, a Kafka partition, the HTTP journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What a person calls it: a path, `topic[3]`, `journal`.
    pub name: String,
    /// What the source needs to find its place again, in a form of its own (JSON for files: identity and base version).
    /// Kept with the committed position and given back at the next start.
    pub detail: String,
}

/// Where reading goes on after a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The part of the source that it lies in.
    pub partition: Arc<Partition>,
    /// Where to read on: bytes for a file (decompressed), the next sequence number for a journal. Grows within a partition.
    pub offset: u64,
    /// The number a person would look for: line, row or sequence number, counted as the source counts.
    pub ordinal: u64,
}

/// As a person would look it up: `assets/events.jsonl:17`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition.name, self.ordinal)
    }
}

/// How much there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Records; at least 1.
    pub records: usize,
    /// What the records [weigh](Record::weight) together, bytes. A single record, or the last one of a window, may exceed it, so that one
    /// large record cannot stop a source.
    pub bytes: usize,
}

/// One record: bytes as the source gave them.
#[derive(Debug, Clone)]
pub struct Record {
    /// What a dead letter of it keeps.
    pub payload: Bytes,
    /// What form the payload has.
    pub form: Form,
    /// How many of a window's bytes it takes while it is on its way: the length of its payload, unless the source knows that what comes of
    /// it is larger.
    pub weight: usize,
    /// Where reading goes on after it.
    pub position: Position,
    /// Its place in the source's own order, for documents without a version field.
    pub version: Version,
    /// Whether the document is compared with the index although the record may say nothing new.
    pub refresh: bool,
    /// Where it first came from, when that is not its position: a dead letter that is replayed goes back there when it fails again.
    pub origin: Option<Origin>,
}

/// What form the payload of a record has.
#[derive(Debug, Clone)]
pub enum Form {
    /// One JSON object, to be mapped. Sources of other formats (CSV, Parquet) give each row as JSON.
    Json,
    /// The same of another source, which reads it by this.
    JsonOfOther(Arc<Mapper>),
    /// What the source knows to be this change without reading it (a removal over HTTP): taken as it stands, not mapped.
    Change(Change),
    /// Bytes of which the source could make no record (a broken CSV row, a line over the limit, a file that cannot be decompressed
    /// further), for this reason. Such a record is dead-lettered as it stands.
    Broken(String),
}

/// Where a record first came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The source's name in the configuration.
    pub source: String,
    /// Where in that source.
    pub position: String,
}

impl Record {
    /// A record that says nothing of a document, but has it compared with the index. `weight` is how many bytes are held of the document.
    /// Its dead letter, if it becomes one, is found again by the document, and not by its place in a list that will be another one next
    /// time.
    pub fn look_again(id: DocumentId, weight: usize, position: Position) -> Self {
        let origin = Some(Origin { source: position.partition.name.clone(), position: id.to_string() });
        let version = Version::OLDEST;
        let change =
            Change { id, operation: Operation::Patch, version, fields: Fields::new(), priority: 0, immediate: false };
        let form = Form::Change(change);
        Self { form, refresh: true, origin, weight, ..Self::new(Bytes::new(), position, version) }
    }

    /// A record to be mapped.
    pub fn new(payload: Bytes, position: Position, version: Version) -> Self {
        let weight = payload.len();
        Self { payload, form: Form::Json, weight, position, version, refresh: false, origin: None }
    }

    /// Bytes that are no record, for this reason.
    pub fn broken(payload: Bytes, position: Position, version: Version, reason: impl Into<String>) -> Self {
        Self { form: Form::Broken(reason.into()), ..Self::new(payload, position, version) }
    }

    /// A change that is not mapped, with the payload that a dead letter of it keeps.
    pub fn of_change(change: Change, payload: Bytes, position: Position, version: Version) -> Self {
        Self { form: Form::Change(change), ..Self::new(payload, position, version) }
    }

    /// Why the payload is no record, where it is none.
    pub fn why_broken(&self) -> Option<&str> {
        match &self.form {
            Form::Broken(reason) => Some(reason),
            Form::Json | Form::JsonOfOther(_) | Form::Change(_) => None,
        }
    }
}
