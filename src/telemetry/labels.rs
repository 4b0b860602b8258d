//! The values that the labels of metrics take.

use serde::{Deserialize, Serialize};

/// Makes enums whose values have one name everywhere: as a metric's label, in JSON, and on a page.
macro_rules! labels {
    ($(
        $(#[$doc:meta])*
        pub enum $label:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $label {
            $($(#[$value_doc])* #[serde(rename = $text)] $value,)+
        }

        impl $label {
            /// Every value.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl $crate::telemetry::counters::Label for $label {
            const VALUES: &'static [Self] = &Self::ALL;

            fn text(self) -> &'static str {
                self.as_str()
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    )+};
}
pub(super) use labels;

labels! {
    /// How one event was settled, and `Redelivered`, which settles nothing: the event is on its way once more.
    pub enum Outcome {
        /// The index holds what it said.
        Indexed = "indexed",
        /// It is kept for when its document has a text: until then the index holds nothing of it. Or the document is deleted, and the
        /// index held nothing of it before.
        Stored = "stored",
        /// The index held it already.
        Unchanged = "unchanged",
        /// Other changes of the same document, newer or of the same version, left nothing of it for the index, and those were settled.
        Superseded = "superseded",
        /// The configuration says that it is of no interest.
        Filtered = "filtered",
        /// It is in the dead letters.
        DeadLettered = "dead_lettered",
        /// It was lost on the way (a panic, a failed call) and sent again.
        Redelivered = "redelivered",
    }

    /// Why a text was sent to the provider.
    pub enum Reason {
        /// Its document was not in the index.
        New = "new",
        /// Its document was in the index with another text.
        Changed = "changed",
        /// The configuration changed, not the document.
        Migrated = "migrated",
    }

    /// What came of one search.
    pub enum SearchOutcome {
        /// Documents, or that there are none.
        Answered = "answered",
        /// It can never be answered: an empty text, a filter that the index does not know.
        Invalid = "invalid",
        /// There is no such document to find similar ones of.
        NotFound = "not_found",
        /// Provider, index or ledger could not answer.
        Unavailable = "unavailable",
        /// Who asked went away before there was an answer.
        Abandoned = "abandoned",
    }

    /// Where the vector of a text that needed no call was found, in the order in which they are shown.
    pub enum CacheTier {
        /// The document's own point: the text did not change.
        Index = "index",
        /// The cache in memory.
        Memory = "memory",
        /// The ledger, by fingerprint.
        Ledger = "ledger",
        /// An equal text that was on its way to its vector, or had it and was not written yet.
        Flight = "flight",
    }

    /// How one call to the provider ended.
    pub enum RequestStatus {
        /// With vectors.
        Ok = "ok",
        /// With "not now": it is tried again.
        Retry = "retry",
        /// With a refusal of something in the call, or of what may be in it: it is split.
        Refused = "refused",
        /// With an error that needs a person.
        Fatal = "fatal",
    }
}
