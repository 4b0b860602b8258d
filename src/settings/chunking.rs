//! The `chunking` section: how long texts are cut.

use serde::{Deserialize, Serialize};

/// How long texts are cut into chunks. A text within `max_tokens` is one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkingSettings {
    /// The most tokens per chunk: the model's own tokens where its tokenizer is known, otherwise bytes divided by four. At least 8.
    /// A lower limit of the model itself applies instead.
    pub max_tokens: usize,
    /// How many tokens the end of a chunk shares with the start of the next: at most half of `max_tokens`, or of the model's limit if
    /// that is lower.
    pub overlap: usize,
    /// Where a text may be cut: `plain` (paragraphs, sentences, words) or `markdown` (headings and blocks first).
    pub format: TextFormat,
}

/// The structure of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// Paragraphs, sentences, words.
    #[default]
    Plain,
    /// Markdown headings and blocks first.
    Markdown,
}

impl Default for ChunkingSettings {
    fn default() -> Self {
        Self { max_tokens: 8192, overlap: 0, format: TextFormat::Plain }
    }
}
