//! The `dedup` section: what is remembered so that nothing is embedded twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Span};

/// What is remembered so that nothing is embedded twice.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupSettings {
    /// How long a vector stays in memory after its last use.
    pub ttl: Span,
    /// How much memory vectors may take; the least used are dropped first.
    pub max_memory: ByteSize,
    /// Keep every vector in the ledger by its text's fingerprint, even when no document has that text any longer, so that each text is paid
    /// for once, ever. A vector takes four bytes per dimension on disk, and stays there: every text that was ever replaced leaves one.
    pub persist: bool,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self { ttl: Span::new(Duration::from_secs(3600)), max_memory: ByteSize::mebibytes(32), persist: true }
    }
}
