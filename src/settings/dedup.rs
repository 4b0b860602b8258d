//! The `dedup` section: what is remembered so that nothing is embedded twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Span};

/// What is remembered so that nothing is embedded twice.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupSettings {
    /// How long a vector stays in memory after it was last used.
    pub ttl: Span,
    /// How much memory vectors may take; the least used are dropped first.
    pub max_memory: ByteSize,
    /// Keep every vector in the ledger by its fingerprint, also when no document has that text any more, so that a text is paid for
    /// once, ever. A vector takes four bytes per dimension on disk.
    pub persist: bool,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self { ttl: Span::new(Duration::from_secs(3600)), max_memory: ByteSize::mebibytes(32), persist: true }
    }
}
