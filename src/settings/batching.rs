//! The `batching` section: how texts are grouped into calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Span};

/// How texts are grouped into calls. A batch is sent when any limit is reached.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingSettings {
    /// The most texts per batch, 1 to 100,000. OpenAI's own limit of 2,048 applies if it is lower. For your own server, set what it takes
    /// at once: a batch that it rejects as too large is halved and sent again.
    pub max_items: usize,
    /// The most tokens per batch, estimated. A single text may exceed this and is then sent alone. A lower
    /// `embedding.rate_limit.tokens_per_minute` applies instead.
    pub max_tokens: usize,
    /// The most bytes of text per batch. A single text may exceed this and is then sent alone.
    pub max_bytes: ByteSize,
    /// How long a text waits, at most, for others to fill its batch.
    pub max_wait: Span,
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self {
            max_items: 100,
            max_tokens: 250_000,
            max_bytes: ByteSize::mebibytes(4),
            max_wait: Span::new(Duration::from_millis(50)),
        }
    }
}
