//! Points in a collection of Milvus, by gRPC.
//!
//! A point is a row: its `id` as text, its `vector`, its `document` and `chunk`, and all its `metadata` in one JSON column. Milvus cannot
//! change a row without its vector (newer servers only read it back by themselves), so new metadata is written with the whole point.
//!
//! Searches ask with bounded staleness: they may miss what was written in the last seconds.

mod filter;
#[cfg(feature = "testkit")]
mod inspect;
#[cfg(not(feature = "testkit"))]
mod messages;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub mod messages;
mod rows;
mod schema;
mod verdict;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::document::{DocumentId, vector};
use crate::settings::Secret;
use crate::settings::index::Metric;
use crate::settings::milvus::MilvusSettings;

use super::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, if_there,
};
use super::external::grpc::{self, Client};
use super::external::sift::Sift;
use messages::{
    Answer, CollectionSchema, Consistency, CreateCollection, CreateIndex, DataType, Delete, Description, Found,
    Indexes, KeyValue, Mutation, Named, Placeholder, Placeholders, Query, Rows, Search, SearchResults, Status, Upsert,
};
use rows::{column, jsons, longs, strings};
use schema::{CHUNK, DOCUMENT, ID, METADATA, VECTOR, check_fields, fields, is_name, metric_type};

/// The most bytes in one call: servers take 64 MiB, and older ones hold several copies.
const MAX_CALL: usize = 16 << 20;

macro_rules! method {
    ($name:literal) => {
        concat!("/milvus.proto.milvus.MilvusService/", $name)
    };
}

/// One collection of one server.
pub struct Milvus {
    client: Client,
    place: String,
    database: String,
    collection: String,
    metric: Metric,
    dimensions: usize,
    bulk: Bulk,
}

impl Milvus {
    /// The collection that the settings name, for vectors of so many numbers. Asks nobody yet.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn new(settings: &MilvusSettings, pipeline: &str, dimensions: usize) -> Result<Self, String> {
        let collection = settings.collection.as_deref().unwrap_or(pipeline);
        if !is_name(collection) {
            return Err("index.collection: a collection of Milvus is named by 1 to 255 letters, digits and `_`, without a digit at its start; set \
                        such a name where the pipeline's is none"
                .into());
        }
        let key = Secret::given("index.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        let header = key.as_ref().map(authorization);
        let client = Client::new(&settings.url, settings.ca_file.as_deref(), header, settings.timeout.as_duration())?;
        let database = settings.database.clone().unwrap_or_default();
        let within = if database.is_empty() { String::new() } else { format!("database `{database}`, ") };
        Ok(Self {
            place: format!("Milvus at {}, {within}collection `{collection}`", client.address()),
            client,
            database,
            collection: collection.to_owned(),
            metric: settings.metric,
            dimensions,
            bulk: Bulk {
                points: settings.batch,
                bytes: MAX_CALL,
                bytes_per_number: size_of::<f32>(),
                concurrency: settings.concurrency,
            },
        })
    }

    async fn ask<A: Answer>(
        &self,
        method: &'static str,
        question: impl Message + 'static,
    ) -> Result<A, CollectionError> {
        let answer: A = self.ask_only(method, question).await?;
        match answer.status().and_then(verdict::judge) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Leaves it to the caller to read the answer's status.
    async fn ask_only<A: Answer>(
        &self,
        method: &'static str,
        question: impl Message + 'static,
    ) -> Result<A, CollectionError> {
        self.client.unary(method, question).await.map_err(|status| grpc::judge(&status, "Milvus"))
    }

    fn named(&self) -> Named {
        Named { database: self.database.clone(), collection: self.collection.clone() }
    }

    async fn schema(&self) -> Result<Option<CollectionSchema>, CollectionError> {
        let described = self.ask::<Description>(method!("DescribeCollection"), self.named()).await;
        Ok(if_there(described)?.map(|description| description.schema.unwrap_or_default()))
    }

    /// The metric of the vectors' index; `None` when there is no index yet.
    async fn indexed_metric(&self) -> Result<Option<String>, CollectionError> {
        let answer: Indexes = self.ask_only(method!("DescribeIndex"), self.named()).await?;
        if let Some(status) = answer.status().filter(|status| !verdict::no_index(status))
            && let Some(error) = verdict::judge(status)
        {
            return Err(error);
        }
        let index = answer.indexes.iter().find(|index| index.field == VECTOR);
        Ok(index.and_then(|index| messages::value(&index.params, "metric_type")).map(str::to_uppercase))
    }

    async fn create(&self) -> Result<(), CollectionError> {
        let schema = CollectionSchema { name: self.collection.clone(), fields: fields(self.dimensions) };
        let question = CreateCollection {
            database: self.database.clone(),
            collection: self.collection.clone(),
            schema: schema.encode_to_vec(),
            shards: 1,
        };
        self.ask::<Status>(method!("CreateCollection"), question).await.map(drop)
    }

    async fn create_index(&self) -> Result<(), CollectionError> {
        let question = CreateIndex {
            database: self.database.clone(),
            collection: self.collection.clone(),
            field: VECTOR.into(),
            index: VECTOR.into(),
            params: vec![
                KeyValue::new("index_type", "HNSW"),
                KeyValue::new("metric_type", metric_type(self.metric)),
                KeyValue::new("params", json!({ "M": 16, "efConstruction": 200 })),
            ],
        };
        self.ask::<Status>(method!("CreateIndex"), question).await.map(drop)
    }

    /// Each server forgets it when it is restarted, or does not: asking again does no harm.
    async fn load(&self) -> Result<(), CollectionError> {
        self.ask::<Status>(method!("LoadCollection"), self.named()).await.map(drop)
    }

    fn check_metric(&self, found: &str) -> Result<(), CollectionError> {
        let wanted = metric_type(self.metric);
        if found != wanted {
            return Err(CollectionError::Unfit(format!(
                "its index measures by {found}, and `index.metric` asks for {wanted}; correct the setting or choose another `index.collection`"
            )));
        }
        Ok(())
    }

    async fn try_establish(&self) -> Result<Established, CollectionError> {
        let existing = self.schema().await?;
        match &existing {
            Some(schema) => check_fields(schema, self.dimensions)?,
            None => self.create().await?,
        }
        // There is none either when its maker was interrupted.
        match self.indexed_metric().await? {
            Some(found) => self.check_metric(&found)?,
            None => self.create_index().await?,
        }
        self.load().await?;
        match existing {
            Some(_) => Ok(Established::Existing { points: self.count().await? }),
            None => Ok(Established::Created),
        }
    }

    async fn try_look(&self) -> Result<Option<Established>, CollectionError> {
        let Some(schema) = self.schema().await? else { return Ok(None) };
        check_fields(&schema, self.dimensions)?;
        // Without an index it was never finished, and holds nothing of ours.
        let Some(found) = self.indexed_metric().await? else { return Ok(None) };
        self.check_metric(&found)?;
        // One that somebody released stays so, for whoever looks changes nothing. Somebody had written to it.
        let answer: Rows = self.ask_only(method!("Query"), self.questioned(String::new(), &["count(*)"])).await?;
        match answer.status() {
            Some(status) if verdict::not_loaded(status) => Ok(Some(Established::Uncounted { at_least: 1 })),
            status => match status.and_then(verdict::judge) {
                Some(error) => Err(error),
                None => Ok(Some(Established::Existing { points: verdict::counted(&answer)? })),
            },
        }
    }

    async fn count(&self) -> Result<u64, CollectionError> {
        verdict::counted(&self.query(String::new(), &["count(*)"]).await?)
    }

    async fn query(&self, filter: String, output: &[&str]) -> Result<Rows, CollectionError> {
        self.ask(method!("Query"), self.questioned(filter, output)).await
    }

    fn questioned(&self, filter: String, output: &[&str]) -> Query {
        Query {
            database: self.database.clone(),
            collection: self.collection.clone(),
            filter,
            output: output.iter().map(ToString::to_string).collect(),
            consistency: Consistency::Strong.into(),
        }
    }

    async fn try_upsert(&self, points: &[Point]) -> Result<(), CollectionError> {
        let question = Upsert {
            database: self.database.clone(),
            collection: self.collection.clone(),
            columns: rows::write(points, self.dimensions),
            rows: u32::try_from(points.len()).expect("a call has fewer points than `batch`"),
        };
        let done: Mutation = self.ask(method!("Upsert"), question).await?;
        verdict::check_upserted(done.upserted, points.len())
    }

    async fn try_delete(&self, ids: &[Uuid]) -> Result<(), CollectionError> {
        let question =
            Delete { database: self.database.clone(), collection: self.collection.clone(), filter: among(ids) };
        self.ask::<Mutation>(method!("Delete"), question).await.map(drop)
    }

    async fn try_nearest(&self, nearest: Nearest<'_>) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let Some(filter) = nearest.filter else {
            return Ok(self.search(nearest.vector, "", &[DOCUMENT, CHUNK], nearest.limit).await?.0);
        };
        let expression = filter::wide(filter.condition()).unwrap_or_default();
        let mut sift = Sift::new(filter, nearest.limit);
        loop {
            let output = [DOCUMENT, CHUNK, METADATA];
            let (neighbours, found) = self.search(nearest.vector, &expression, &output, sift.asked()).await?;
            let metadata = column(&found.columns, METADATA).and_then(jsons).unwrap_or_default();
            if metadata.len() != neighbours.len() {
                return Err(incomplete());
            }
            let metadata = metadata.iter().map(|json| serde_json::from_slice::<Value>(json).ok());
            let with_metadata =
                neighbours.into_iter().zip(metadata).map(|(neighbour, metadata)| neighbour.zip(metadata));
            if let Some(passed) = sift.pass(with_metadata.collect())? {
                return Ok(passed.into_iter().map(Some).collect());
            }
        }
    }

    async fn search(
        &self,
        query: &[f32],
        filter: &str,
        output: &[&str],
        most: usize,
    ) -> Result<(Vec<Option<Neighbour>>, Found), CollectionError> {
        let question = Search {
            database: self.database.clone(),
            collection: self.collection.clone(),
            filter: filter.to_owned(),
            placeholders: placeholders(query),
            filter_language: 1,
            output: output.iter().map(ToString::to_string).collect(),
            params: vec![
                KeyValue::new("anns_field", VECTOR),
                KeyValue::new("topk", most),
                KeyValue::new("metric_type", metric_type(self.metric)),
                KeyValue::new("params", json!({ "ef": (2 * most).max(128) })),
                KeyValue::new("round_decimal", -1),
            ],
            queries: 1,
            consistency: Consistency::Bounded.into(),
        };
        let found = self.ask::<SearchResults>(method!("Search"), question).await?.found.unwrap_or_default();
        Ok((self.neighbours(&found)?, found))
    }

    fn neighbours(&self, found: &Found) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let ids = found.ids.as_ref().and_then(|ids| ids.texts.as_ref()).map_or(&[][..], |ids| &ids.data);
        let documents = column(&found.columns, DOCUMENT).and_then(strings).unwrap_or_default();
        let chunks = column(&found.columns, CHUNK).and_then(longs).unwrap_or_default();
        if [ids.len(), documents.len(), chunks.len()] != [found.scores.len(); 3] {
            return Err(incomplete());
        }
        let each = found.scores.iter().zip(ids).zip(documents).zip(chunks).map(|(((score, id), document), chunk)| {
            Some(Neighbour {
                id: id.parse().ok()?,
                document: DocumentId::new(document).ok()?,
                chunk: usize::try_from(*chunk).ok()?,
                score: self.score(*score),
            })
        });
        Ok(each.collect())
    }

    /// Milvus leaves out the root of a Euclidean distance.
    fn score(&self, found: f32) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => found,
            Metric::L2 => -found.max(0.0).sqrt(),
        }
    }
}

impl Collection for Milvus {
    fn place(&self) -> &str {
        &self.place
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn bulk(&self) -> Bulk {
        self.bulk
    }

    fn timeout(&self) -> Duration {
        self.client.timeout()
    }

    fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
        self.try_establish().boxed()
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
}

/// The header that has the key in it: a token, or `user:password`.
fn authorization(key: &Secret) -> (&'static str, Secret) {
    ("authorization", Secret::new(base64_simd::STANDARD.encode_to_string(key.reveal())))
}

/// An answer to a search that has not all that was asked for.
fn incomplete() -> CollectionError {
    CollectionError::Unavailable { reason: "its answer to a search has not all that was asked for".into(), after: None }
}

/// An expression for the points with these ids, which have no character to be escaped.
fn among(ids: &[Uuid]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    format!("{ID} in [{}]", ids.join(","))
}

fn placeholders(query: &[f32]) -> Vec<u8> {
    let placeholder = Placeholder {
        tag: "$0".into(),
        data_type: DataType::FloatVector.into(),
        values: vec![vector::to_bytes(query)],
    };
    Placeholders { placeholders: vec![placeholder] }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_as_base64() {
        let (name, value) = authorization(&Secret::new("root:Milvus"));
        assert_eq!((name, value.reveal()), ("authorization", "cm9vdDpNaWx2dXM="));
    }
}
