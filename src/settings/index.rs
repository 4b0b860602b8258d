//! The `index` section: where vectors are kept and searched.

use serde::{Deserialize, Serialize};

use super::pinecone::PineconeSettings;
use super::weaviate::WeaviateSettings;

/// Where vectors are kept and searched, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum IndexSettings {
    /// In Vectide's own ledger, with a graph for fast search.
    Embedded(EmbeddedSettings),
    /// Nowhere: for dry runs and measurements. Everything else happens.
    Discard(DiscardSettings),
    /// In a serverless index of Pinecone.
    Pinecone(PineconeSettings),
    /// In a class of Weaviate.
    Weaviate(WeaviateSettings),
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self::Embedded(EmbeddedSettings::default())
    }
}

/// The embedded index.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// How nearness is measured.
    pub metric: Metric,
}

/// The discarding index.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscardSettings {}

/// How nearness is measured. A score is always larger for what is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The cosine of the angle, from -1 to 1.
    #[default]
    Cosine,
    /// The inner product.
    Dot,
    /// Euclidean distance; the score is its negative.
    L2,
}
