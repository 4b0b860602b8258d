//! One decoded event: which document it is about, what it does, and when.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Version;

/// The longest document id that is accepted, in bytes. An id travels in URLs, index keys and log lines;
/// one that is longer is a broken record.
pub const MAX_ID_BYTES: usize = 1024;

/// Field names with their JSON values, as one event gave them.
pub type Fields = serde_json::Map<String, Value>;

/// The name of a document, unique within a pipeline: 1 to [`MAX_ID_BYTES`] bytes of UTF-8 without NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId(Arc<str>);

/// Why a text cannot name a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The id has no characters.
    #[error("the document id is empty")]
    Empty,
    /// The id is longer than [`MAX_ID_BYTES`].
    #[error("the document id has {0} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong(usize),
    /// The id holds a NUL byte, which most indexes and shells cut or refuse.
    #[error("the document id holds a NUL byte")]
    Nul,
}

impl DocumentId {
    /// Checks a text and takes it as an id.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidId::TooLong(text.len()));
        }
        if text.as_bytes().contains(&0) {
            return Err(InvalidId::Nul);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a change does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The event holds the whole document: fields it does not name go.
    Upsert,
    /// The event holds some fields: the others stay.
    Patch,
    /// The document is gone.
    Delete,
}

impl Operation {
    /// The name used in configuration, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// One decoded event.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The document that it is about.
    pub id: DocumentId,
    /// What it does.
    pub operation: Operation,
    /// Orders changes of one document: newest wins, field by field.
    pub version: Version,
    /// The fields it sets; `null` says that the document has no such field. Empty for a delete.
    pub fields: Fields,
    /// The lane its text waits in: 0 is ordinary, higher goes first.
    pub priority: u8,
    /// Whether its text is sent at once instead of waiting for a full batch.
    pub immediate: bool,
}
