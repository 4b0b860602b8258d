//! The `index` section: where vectors are kept and searched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field_kind::FieldKind;
use super::milvus::MilvusSettings;
use super::pgvector::PgvectorSettings;
use super::pinecone::PineconeSettings;
use super::qdrant::QdrantSettings;
use super::units::Span;
use super::weaviate::WeaviateSettings;

/// Where vectors are kept and searched, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum IndexSettings {
    /// In Vectide's own ledger, with a graph for fast search.
    Embedded(EmbeddedSettings),
    /// Nowhere: for measurements, in a `state.path` of their own. Everything else happens, and texts are paid for. To learn what a first
    /// run would send, without sending it: `vectide --set 'embedding={provider: hashed, dimensions: 16}' --set 'index={type: discard}'
    /// --set state.path=/tmp/estimate --set server.listen=127.0.0.1:0 run --until-idle` prints the number of texts and about how many
    /// tokens they have, even beside a running process. It takes as much disk as the records, and some hundred bytes for each; remove the
    /// folder before you ask again. A source of type `kafka` needs another `group` for this, because in the same one it takes partitions
    /// away and moves the group's offsets, and no `dead_letter_topic`, because bad records would be copied to it again.
    Discard(DiscardSettings),
    /// In a table of PostgreSQL with the extension pgvector.
    Pgvector(PgvectorSettings),
    /// In a collection of Milvus.
    Milvus(MilvusSettings),
    /// In a collection of Qdrant.
    Qdrant(QdrantSettings),
    /// In a serverless index of Pinecone.
    Pinecone(PineconeSettings),
    /// In a class of Weaviate.
    Weaviate(WeaviateSettings),
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
    /// What it is, as `type` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Discard(_) => "discard",
            Self::Pgvector(_) => "pgvector",
            Self::Milvus(_) => "milvus",
            Self::Qdrant(_) => "qdrant",
            Self::Pinecone(_) => "pinecone",
            Self::Weaviate(_) => "weaviate",
        }
    }

    /// Of an index in another system: what all of them have.
    pub fn external(&self) -> Option<ExternalSettings> {
        match self {
            Self::Embedded(_) | Self::Discard(_) => None,
            Self::Pgvector(settings) => external!(settings),
            Self::Milvus(settings) => external!(settings),
            Self::Qdrant(settings) => external!(settings),
            Self::Pinecone(settings) => external!(settings),
            Self::Weaviate(settings) => external!(settings),
        }
    }

    /// The fields of the metadata that searches filter by, where the index wants them declared.
    pub fn declared_metadata(&self) -> Option<&BTreeMap<String, FieldKind>> {
        match self {
            Self::Pinecone(settings) => Some(&settings.metadata),
            Self::Weaviate(settings) => Some(&settings.metadata),
            _ => None,
        }
    }

    /// Whether metadata are kept beside Vectide's own fields, so that none may have the name of one of those.
    pub fn keeps_metadata_flat(&self) -> bool {
        matches!(self, Self::Qdrant(_))
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
