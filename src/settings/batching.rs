//! The `batching` section: how texts are grouped into calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Span};

/// How texts are grouped into calls. A batch is sent when any limit is reached.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingSettings {
    /// The most texts in a batch, 1 to 100,000. OpenAI's own 2,048 applies where that is lower. Set what a server of your own takes at
    /// once: a batch that it refuses as too large is halved and sent again.
    pub max_items: usize,
    /// The most tokens in a batch, estimated. A single text may exceed it and then goes alone. A lower
    /// `embedding.rate_limit.tokens_per_minute` applies instead.
    pub max_tokens: usize,
    /// The most bytes of text in a batch. A single text may exceed it and then goes alone.
    pub max_bytes: ByteSize,
    /// The longest that a text waits for others to fill its batch.
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
