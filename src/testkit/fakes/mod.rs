//! What lies outside the pipeline, on demand: a provider, an index and a source.

pub mod collection;
pub mod faults;
pub mod index;
pub mod provider;
pub mod source;

use std::path::Path;
use std::sync::Arc;

use crate::index::{Collection, ExternalIndex};
use crate::pipeline::Resources;
use crate::settings::Settings;

pub use collection::FakeCollection;
pub use faults::{AtOnce, Fault, Faults, SLOW};
pub use index::{FakeIndex, Indexed, write_all};
pub use provider::{Answer, FakeProvider};
pub use source::Script;

/// Documents of `id`, `v` (their version), `text` and `tag` (metadata); `op` is one of `put`, `patch`, `now` and `delete`.
const SETTINGS: &str = r#"
pipeline: test
document:
  id: id
  version: { field: v, unit: counter }
  text: "{{ text }}"
  metadata: [tag]
  events:
    field: op
    put: { operation: upsert }
    patch: { operation: patch }
    now: { operation: patch, priority: 5, immediate: true }
    delete: { operation: delete }
sources: {}
chunking: { max_tokens: 64 }
batching: { max_items: 10, max_wait: 50ms }
embedding: { provider: openai, preset: openai-small, concurrency: 4 }
index: { type: discard }
"#;

fn settings(folder: &Path) -> Settings {
    let mut settings: Settings = serde_yaml::from_str(SETTINGS).expect("these settings are right");
    settings.state.path = folder.to_owned();
    settings
}

/// What a pipeline rests on, with its ledger in this folder and fakes for all that lies outside.
pub async fn resources(folder: &Path, provider: Arc<FakeProvider>) -> (Arc<Resources>, Arc<FakeIndex>) {
    let opened = Resources::open_with(settings(folder), provider, crate::index::build);
    let opened = opened.await.expect("these resources can be opened");
    let index = Arc::new(FakeIndex::new(opened.ledger.clone()));
    (Arc::new(Resources { index: index.clone(), ..opened }), index)
}

/// As [`resources`], with an index in another system: this collection.
pub async fn resources_over(
    folder: &Path,
    provider: Arc<FakeProvider>,
    collection: Arc<dyn Collection>,
) -> Arc<Resources> {
    let mut settings = settings(folder);
    settings.index =
        serde_yaml::from_str("{ type: pgvector, url: 'postgres://nowhere' }").expect("these settings are right");
    let opened = Resources::open_with(settings, provider, |settings, ledger, dimensions| {
        Ok(Arc::new(ExternalIndex::new(ledger, collection, &settings.pipeline, dimensions, false)))
    });
    Arc::new(opened.await.expect("these resources can be opened"))
}
