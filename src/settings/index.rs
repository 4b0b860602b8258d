//! The `index` section: where vectors are kept and searched.

use serde::{Deserialize, Serialize};

use super::milvus::MilvusSettings;
use super::pgvector::PgvectorSettings;
use super::qdrant::QdrantSettings;
use super::units::Span;

/// Where vectors are kept and searched, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum IndexSettings {
    /// In Vectide's own ledger, with a graph for fast search.
    Embedded(EmbeddedSettings),
    /// Nowhere: for dry runs and measurements. Everything else happens.
    Discard(DiscardSettings),
    /// In a table of PostgreSQL with the extension pgvector.
    Pgvector(PgvectorSettings),
    /// In a collection of Milvus.
    Milvus(MilvusSettings),
    /// In a collection of Qdrant.
    Qdrant(QdrantSettings),
}

/// What every index in another system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalSettings {
    /// The most points in a call.
    pub batch: usize,
    /// The most calls at once.
    pub concurrency: usize,
    /// How long a call may take.
    pub timeout: Span,
    /// Whether the collection may hold points already that are not of this pipeline's ledger.
    pub adopt: bool,
}

macro_rules! external {
    ($settings:expr) => {
        Some(ExternalSettings {
            batch: $settings.batch,
            concurrency: $settings.concurrency,
            timeout: $settings.timeout,
            adopt: $settings.adopt,
        })
    };
}

impl IndexSettings {
    /// Of an index in another system: what all of them have.
    pub fn external(&self) -> Option<ExternalSettings> {
        match self {
            Self::Embedded(_) | Self::Discard(_) => None,
            Self::Pgvector(settings) => external!(settings),
            Self::Milvus(settings) => external!(settings),
            Self::Qdrant(settings) => external!(settings),
        }
    }
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
