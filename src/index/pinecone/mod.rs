//! A serverless index of Pinecone, by its REST API of October 2025.
//!
//! One record a point. Fields that `index.metadata` declares are metadata of the record, for filters; all metadata are kept as one text
//! beside them, because Pinecone has no null, nothing nested, and only 64-bit floats as numbers. Metadata are never changed alone: that
//! cannot remove a key, so the whole record is written again.
//!
//! Pinecone answers a write before a search sees it, and a search does not wait.

mod api;
mod filter;
#[cfg(feature = "testkit")]
mod inspect;
mod names;
mod record;
mod wire;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::settings::index::Metric;
use crate::settings::pinecone::PineconeSettings;

use super::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, done_but, fitting,
};
use super::external::http::{json, parse};
use super::external::typed::{Fields, Sought};
use api::Api;
use record::chunk_of;

/// The most records in an upsert, and ids in a delete.
const MAX_RECORDS: usize = 1_000;
/// Below the 2 MB that Pinecone takes, for numbers that are longer than most.
const MAX_BYTES: usize = 3 << 19;
const BYTES_A_NUMBER: usize = 12;
/// An answer with the metadata of more records could exceed the 4 MB that Pinecone gives.
const MAX_NEIGHBOURS: usize = 1_000;
/// How soon to ask again for what is under way.
const SOON: Duration = Duration::from_secs(1);

/// See the module.
pub struct PineconeIndex {
    api: Api,
    settings: PineconeSettings,
    name: String,
    place: String,
    dimensions: usize,
    fields: Fields,
}

impl PineconeIndex {
    /// The index that the settings name. Asks nobody.
    ///
    /// # Errors
    /// A configuration that cannot be used: names the setting and what to do.
    pub fn new(settings: &PineconeSettings, pipeline: &str, dimensions: usize) -> Result<Self, String> {
        let name = settings.collection.as_deref().unwrap_or(pipeline).to_owned();
        names::check_index(&name)?;
        if !(1..=20_000).contains(&dimensions) {
            return Err(format!(
                "embedding.dimensions: Pinecone takes vectors of 1 to 20,000 numbers, not {dimensions}"
            ));
        }
        for (field, kind) in &settings.metadata {
            names::check_field(field, *kind)?;
        }
        let api = Api::new(settings, &name)?;
        let (namespace, at) = (&settings.namespace, api.http.host());
        Ok(Self {
            place: format!("the namespace `{namespace}` of the index `{name}` of Pinecone at {at}"),
            api,
            fields: Fields::new(&settings.metadata),
            settings: settings.clone(),
            name,
            dimensions,
        })
    }

    async fn try_establish(&self) -> Result<Established, CollectionError> {
        if let Some(found) = self.try_look().await? {
            return Ok(found);
        }
        let serverless = wire::Serverless { cloud: &self.settings.cloud, region: &self.settings.region };
        let create = wire::CreateIndex {
            name: &self.name,
            dimension: self.dimensions,
            metric: metric(self.settings.metric),
            spec: wire::Spec { serverless },
        };
        let created = match self.api.call(Method::POST, self.api.http.at("indexes"), Some(json(&create))).await {
            Ok(answer) => answer,
            Err(CollectionError::Missing(text)) => {
                return Err(CollectionError::Fatal(format!("check `index.cloud` and `index.region`: {text}")));
            }
            Err(CollectionError::OneRefused(text)) => {
                return Err(CollectionError::Fatal(format!("{text}; the index cannot be made")));
            }
            // 409, when another was faster, is among them: the next try finds it.
            Err(error) => return Err(error),
        };
        self.ready(&parse(&created.body)?)?;
        Ok(Established::Created)
    }

    async fn try_look(&self) -> Result<Option<Established>, CollectionError> {
        let Some(index) = self.api.describe().await? else { return Ok(None) };
        let wanted = metric(self.settings.metric);
        if index.metric != wanted {
            let setting = serde_json::to_string(&self.settings.metric).unwrap_or_default();
            return Err(CollectionError::Unfit(format!(
                "its metric is {}, and `index.metric` is {setting}, which is Pinecone's {wanted}: set it to the index's, or name another index",
                index.metric
            )));
        }
        if index.dimension != Some(self.dimensions) {
            return Err(CollectionError::Unfit(format!(
                "its vectors have {} numbers, and those of the embedding model {}: name another index with `index.collection`",
                index.dimension.map_or("no fixed count of".to_owned(), |found| found.to_string()),
                self.dimensions
            )));
        }
        self.ready(&index)?;
        let stats: wire::Stats = self.api.ask(Method::POST, "describe_index_stats", Some(&Map::new())).await?;
        let of = |namespace: &str| stats.namespaces.get(namespace).map_or(0, |stats| stats.vector_count);
        let namespace = self.settings.namespace.as_str();
        // The default one has two names.
        let points = if namespace == "__default__" { of(namespace).max(of("")) } else { of(namespace) };
        Ok(Some(Established::Delayed { points }))
    }

    /// The host of an index has the project in its name.
    async fn try_mark(&self) -> Result<Option<String>, CollectionError> {
        self.api.described().await.map(|index| Some(index.host))
    }

    fn ready(&self, index: &wire::Index) -> Result<(), CollectionError> {
        if !index.status.ready {
            return Err(CollectionError::Unavailable {
                reason: format!("the index is not ready yet ({})", index.status.state),
                after: Some(SOON),
            });
        }
        self.api.locate(index).map(drop)
    }

    async fn try_upsert(&self, points: &[Point]) -> Result<(), CollectionError> {
        let (records, refused) = fitting(points, |_, point| record::of(point, &self.fields));
        if !records.is_empty() {
            let sent = records.len();
            let upsert = wire::Upsert { vectors: records, namespace: &self.settings.namespace };
            let done: wire::Upserted = self.api.ask(Method::POST, "vectors/upsert", Some(&upsert)).await?;
            if let Some(count) = done.upserted_count.filter(|count| *count < sent) {
                let reason = format!("it wrote {count} of {sent} records, and did not say why");
                return Err(CollectionError::Unavailable { reason, after: None });
            }
        }
        done_but(refused)
    }

    async fn try_delete(&self, ids: &[Uuid]) -> Result<(), CollectionError> {
        let ids = ids.iter().map(Uuid::to_string).collect();
        let delete = wire::Delete { ids, namespace: &self.settings.namespace };
        self.api.ask_namespace::<Value>(Method::POST, "vectors/delete", Some(&delete)).await.map(drop)
    }

    async fn try_nearest(&self, nearest: Nearest<'_>) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let filter = match self.fields.filter(nearest.filter).map_err(CollectionError::OneRefused)? {
            Sought::Everything => None,
            Sought::Nothing => return Ok(Vec::new()),
            Sought::Where(typed) => Some(filter::translate(&typed).map_err(CollectionError::OneRefused)?),
        };
        let query = wire::Query {
            vector: nearest.vector,
            top_k: nearest.limit.min(MAX_NEIGHBOURS),
            filter,
            include_metadata: true,
            namespace: &self.settings.namespace,
        };
        let found: Option<wire::Matches> = self.api.ask_namespace(Method::POST, "query", Some(&query)).await?;
        Ok(found.unwrap_or_default().matches.iter().map(|found| self.neighbour(found)).collect())
    }

    fn neighbour(&self, found: &wire::Match) -> Option<Neighbour> {
        let id = found.id.parse().ok()?;
        let (document, chunk) = chunk_of(&found.metadata)?;
        let score = match self.settings.metric {
            Metric::Cosine | Metric::Dot => found.score,
            // Pinecone gives the square of the distance.
            Metric::L2 => -found.score.max(0.0).sqrt(),
        };
        Some(Neighbour { id, document, chunk, score })
    }
}

fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Dot => "dotproduct",
        Metric::L2 => "euclidean",
    }
}

impl Collection for PineconeIndex {
    fn place(&self) -> &str {
        &self.place
    }

    fn metric(&self) -> Metric {
        self.settings.metric
    }

    fn bulk(&self) -> Bulk {
        Bulk {
            points: self.settings.batch.clamp(1, MAX_RECORDS),
            bytes: MAX_BYTES,
            bytes_per_number: BYTES_A_NUMBER,
            concurrency: self.settings.concurrency,
        }
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout.as_duration()
    }

    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
        self.try_establish().boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<String>, CollectionError>> {
        self.try_mark().boxed()
    }

    fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>> {
        self.try_look().boxed()
    }

    fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.try_upsert(points).boxed()
    }

    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.try_delete(ids).boxed()
    }

    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Option<Neighbour>>, CollectionError>> {
        self.try_nearest(nearest).boxed()
    }

    fn most_neighbours(&self) -> usize {
        MAX_NEIGHBOURS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(yaml: &str) -> Result<PineconeIndex, String> {
        PineconeIndex::new(&serde_yaml::from_str(yaml).unwrap(), "products", 2)
    }

    #[test]
    fn a_configuration_that_cannot_be_used_names_the_setting() {
        for (yaml, setting, hint) in [
            ("{}", "index.api_key: ", "${PINECONE_API_KEY}"),
            ("{ api_key: \"a\\nb\" }", "index.api_key: ", "line end"),
            ("{ api_key: k, url: localhost }", "index.url: ", "address"),
            ("{ api_key: k, url: 'https://u:p4ss@x' }", "index.url: ", "api_key"),
            ("{ api_key: k, collection: My_Index }", "index.collection: ", "lower-case"),
            ("{ api_key: k, metadata: { sizes: 'number[]' } }", "index.metadata.sizes: ", "texts only"),
            ("{ api_key: k, metadata: { $x: text } }", "index.metadata.$x: ", "meaning"),
        ] {
            let error = index(yaml).err().unwrap();
            assert!(error.starts_with(setting) && error.contains(hint) && !error.contains("p4ss"), "{yaml}: {error}");
        }
    }
}
