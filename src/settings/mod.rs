//! `config.yaml` as types. The doc comments here are the user's reference: `docs/configuration.md` is made from them.

mod batching;
mod check;
pub mod chunking;
mod dedup;
pub mod document;
pub mod embedding;
pub mod expand;
pub mod field_kind;
pub mod index;
mod layers;
mod load;
pub mod milvus;
pub(crate) mod nearest;
mod node;
pub mod pgvector;
pub mod pinecone;
mod print;
pub mod problem;
pub mod qdrant;
mod read;
pub mod required;
mod secret;
pub mod separator;
mod server;
mod shutdown;
pub mod source;
mod state;
mod typed;
pub mod units;
pub mod weaviate;
mod yaml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use batching::BatchingSettings;
pub use chunking::ChunkingSettings;
pub use dedup::DedupSettings;
pub use document::DocumentSettings;
pub use embedding::EmbeddingSettings;
pub use index::IndexSettings;
pub use load::{load, load_text};
pub use print::print;
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use server::ServerSettings;
pub use shutdown::ShutdownSettings;
pub use source::SourceSettings;
pub use state::StateSettings;
pub use units::{ByteSize, Span};

/// The whole of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The pipeline's name. It is part of the ids in an index in another system, so that two pipelines may share a collection
    /// (`index.adopt`). Letters, digits, `-` and `_`.
    pub pipeline: String,
    /// How records become documents.
    pub document: DocumentSettings,
    /// Where records come from, by a name of your own: letters, digits, `-` and `_`, except `dead-letters`, `replan` and `rewrite`, which
    /// Vectide uses itself. At most one `http` and one `stdin`.
    pub sources: BTreeMap<String, SourceSettings>,
    /// How long texts are cut.
    #[serde(default)]
    pub chunking: ChunkingSettings,
    /// What is remembered so that nothing is embedded twice.
    #[serde(default)]
    pub dedup: DedupSettings,
    /// How texts are grouped into calls.
    #[serde(default)]
    pub batching: BatchingSettings,
    /// What turns texts into vectors.
    pub embedding: EmbeddingSettings,
    /// Where vectors are kept and searched. Absent: `embedded` with `cosine`.
    #[serde(default)]
    pub index: IndexSettings,
    /// Where the ledger lives.
    #[serde(default)]
    pub state: StateSettings,
    /// How a run ends when it is told to stop.
    #[serde(default)]
    pub shutdown: ShutdownSettings,
    /// The HTTP address for events, search, health and metrics. Absent: none is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSettings>,
}
