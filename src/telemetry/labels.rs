//! The values that the labels of metrics take.

use crate::embed::provider::Judgement;

/// How one event was settled, and `Redelivered`, which settles nothing: the event is on its way once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The index holds what it said.
    Indexed,
    /// It is kept for when its document has a text: until then the index holds nothing of it. Or the document is deleted, and the index
    /// held nothing of it before.
    Stored,
    /// The index held it already.
    Unchanged,
    /// A newer change of the same document left nothing of it for the index, and that one was settled.
    Superseded,
    /// The configuration says that it is of no interest.
    Filtered,
    /// It is in the dead letters.
    DeadLettered,
    /// It was lost on the way (a panic, a failed call) and sent again.
    Redelivered,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Indexed,
        Self::Stored,
        Self::Unchanged,
        Self::Superseded,
        Self::Filtered,
        Self::DeadLettered,
        Self::Redelivered,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Indexed => "indexed",
            Self::Stored => "stored",
            Self::Unchanged => "unchanged",
            Self::Superseded => "superseded",
            Self::Filtered => "filtered",
            Self::DeadLettered => "dead_lettered",
            Self::Redelivered => "redelivered",
        }
    }
}

/// Why a text was sent to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its document was not in the index.
    New,
    /// Its document was in the index with another text.
    Changed,
    /// The configuration changed, not the document.
    Migrated,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::New, Self::Changed, Self::Migrated];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Migrated => "migrated",
        }
    }
}

/// What came of one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchOutcome {
    /// Documents, or that there are none.
    Answered,
    /// It can never be answered: an empty text, a filter that the index does not know.
    Invalid,
    /// There is no such document to find similar ones of.
    NotFound,
    /// Provider, index or ledger could not answer.
    Unavailable,
}

impl SearchOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Invalid, Self::NotFound, Self::Unavailable];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Where the vector of a text that needed no call was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheTier {
    /// The document's own point: the text did not change.
    Index,
    /// The cache in memory.
    Memory,
    /// The ledger, by fingerprint.
    Ledger,
    /// A call that was on its way for an equal text, or had come and was not written yet.
    Flight,
}

impl CacheTier {
    /// Every tier, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Index, Self::Memory, Self::Ledger, Self::Flight];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Memory => "memory",
            Self::Ledger => "ledger",
            Self::Flight => "flight",
        }
    }
}

/// How one call to the provider ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestStatus {
    /// With vectors.
    Ok,
    /// With "not now": it is tried again.
    Retry,
    /// With a refusal of something in the batch: it is split.
    Refused,
    /// With an error that needs a person.
    Fatal,
}

impl RequestStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Retry, Self::Refused, Self::Fatal];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Fatal => "fatal",
        }
    }
}

impl From<&Judgement> for RequestStatus {
    fn from(judgement: &Judgement) -> Self {
        match judgement {
            Judgement::Done(_) => Self::Ok,
            Judgement::Retry { .. } => Self::Retry,
            Judgement::Refused { .. } => Self::Refused,
            Judgement::Fatal { .. } | Judgement::Forbidden { .. } => Self::Fatal,
        }
    }
}
