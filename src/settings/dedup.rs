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
    /// How much memory vectors may take; the least used go first.
    pub max_memory: ByteSize,
    /// Keep every vector in the ledger by its fingerprint, so that a text is paid for once, ever. Costs four bytes a
    /// dimension a text on disk.
    pub persist: bool,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self { ttl: Span::new(Duration::from_secs(3600)), max_memory: ByteSize::mebibytes(256), persist: true }
    }
}
