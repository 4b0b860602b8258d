//! What makes vectors comparable.

use serde::{Deserialize, Serialize};

/// A vector space. Vectors of two spaces never meet in one index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The provider's kind and model: `openai/text-embedding-3-small`, `builtin/minilm-static-en-128`.
    pub model: String,
    /// What tells versions of one model apart, where that is known: a hash of a local table, else empty.
    pub revision: String,
    /// Numbers in a vector.
    pub dimensions: usize,
}

impl Space {
    /// The model's name without the provider's kind, for metrics and logs.
    pub fn name(&self) -> &str {
        self.model.split_once('/').map_or(&self.model, |(_, name)| name)
    }

    /// The text that stands for the space in fingerprints.
    pub fn key(&self) -> String {
        format!("{}@{}#{}", self.model, self.revision, self.dimensions)
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} dimensions", self.model, self.dimensions)
    }
}
