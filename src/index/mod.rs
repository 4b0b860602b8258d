//! The index: where vectors are kept and searched.
//!
//! To add one that is in another system: implement [`Collection`] in a file or folder beside these, add a variant to `settings::index`
//! and an arm to [`collection()`].

pub mod actor;
pub mod discard;
pub mod distance;
pub mod embedded;
pub mod external;
pub mod filter;
#[cfg(feature = "milvus")]
pub mod milvus;
pub mod patience;
#[cfg(feature = "pgvector")]
pub mod pgvector;
pub mod pinecone;
#[cfg(feature = "qdrant")]
pub mod qdrant;
pub mod space;
pub mod target;
#[cfg(feature = "weaviate")]
pub mod weaviate;

use std::sync::Arc;

use crate::ledger::{Ledger, LedgerError, LedgerErrorKind};
use crate::settings::{IndexSettings, Settings};

pub use discard::DiscardIndex;
pub use embedded::EmbeddedIndex;
pub use external::ExternalIndex;
pub use external::collection::Collection;
pub use filter::Filter;
pub use target::{Hit, IndexError, Progress, Query, RefusedWrite, VectorIndex};

/// The index that the configuration asks for, to write to and to search; only to search where the ledger was opened to be read. What it
/// derives from the ledger it may keep in `settings.state.path`; vectors have `dimensions` numbers. Blocks, and asks no other system; to
/// be called inside a Tokio runtime, where the index runs its own work.
///
/// # Errors
/// What is wrong with the configuration, or why the ledger cannot be read or the graph's folder used.
pub fn build(settings: &Settings, ledger: Arc<Ledger>, dimensions: usize) -> Result<Arc<dyn VectorIndex>, IndexError> {
    Ok(match &settings.index {
        IndexSettings::Embedded(embedded) => {
            Arc::new(EmbeddedIndex::open(ledger, &settings.state.path, embedded.metric, dimensions)?)
        }
        IndexSettings::Discard(_) => Arc::new(DiscardIndex::new(ledger)),
        _ => external(settings, ledger, dimensions)?,
    })
}

fn external(settings: &Settings, ledger: Arc<Ledger>, dimensions: usize) -> Result<Arc<dyn VectorIndex>, IndexError> {
    let collection = collection(settings, dimensions).map_err(IndexError::Unfit)?;
    let adopt = settings.index.external().is_some_and(|external| external.adopt);
    Ok(Arc::new(ExternalIndex::new(ledger, collection, &settings.pipeline, dimensions, adopt)))
}

/// The collection in another system that the configuration names. Asks nobody.
///
/// # Errors
/// What is wrong with the configuration, in one sentence.
pub fn collection(settings: &Settings, dimensions: usize) -> Result<Arc<dyn Collection>, String> {
    let pipeline = settings.pipeline.as_str();
    Ok(match &settings.index {
        IndexSettings::Embedded(_) | IndexSettings::Discard(_) => {
            return Err(format!("index.type: `{}` is not in another system", settings.index.kind()));
        }
        #[cfg(feature = "pgvector")]
        IndexSettings::Pgvector(pgvector) => Arc::new(pgvector::PgvectorTable::new(pgvector, pipeline, dimensions)?),
        #[cfg(feature = "milvus")]
        IndexSettings::Milvus(milvus) => Arc::new(milvus::Milvus::new(milvus, pipeline, dimensions)?),
        #[cfg(feature = "qdrant")]
        IndexSettings::Qdrant(qdrant) => Arc::new(qdrant::Qdrant::new(qdrant, pipeline, dimensions)?),
        IndexSettings::Pinecone(pinecone) => Arc::new(pinecone::PineconeIndex::new(pinecone, pipeline, dimensions)?),
        #[cfg(feature = "weaviate")]
        IndexSettings::Weaviate(weaviate) => Arc::new(weaviate::WeaviateClass::new(weaviate, pipeline, dimensions)?),
        #[allow(unreachable_patterns, reason = "with all features")]
        other => {
            let feature = other.kind();
            return Err(format!(
                "index.type: this vectide was built without `{feature}`: build it with `--features {feature}`"
            ));
        }
    })
}

impl From<LedgerError> for IndexError {
    fn from(error: LedgerError) -> Self {
        match error.kind() {
            LedgerErrorKind::Stale => Self::Stale(error.to_string()),
            _ if error.is_temporary() => Self::Unavailable(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}
