//! Points in a collection of Qdrant, by gRPC.
//!
//! A point has its vector without a name, and the document's metadata as its payload, with two fields of our own beside it. New metadata
//! replaces the payload and leaves the vector. With cosine, Qdrant scales vectors to length 1 when it takes them.

mod filter;
#[cfg(feature = "testkit")]
mod inspect;
#[cfg(not(feature = "testkit"))]
mod messages;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub mod messages;
mod payload;
mod verdict;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::Value;
use uuid::Uuid;

use crate::settings::Secret;
use crate::settings::index::Metric;
use crate::settings::qdrant::QdrantSettings;

use super::external::collection::reserved::{CHUNK, DOCUMENT};
use super::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata, done_but, fitting,
    if_there,
};
use super::external::grpc::Client;
use super::external::sift::Sift;
use messages::{
    BatchAnswer, CollectionAnswer, Count, CountAnswer, CreateCollection, Delete, Dense, Distance, Filter, Get,
    GetAnswer, GetCollection, Id, Ids, Only, Operation, OverwritePayload, PointId, PointStruct, Query, QueryAnswer,
    QueryPoints, Scored, Selector, UpdateBatch, Upsert, Vector, VectorInput, VectorParams, Vectors, VectorsConfig,
    With, WriteAnswer,
};

/// The most bytes in one call. Servers set no limit; each call is held in memory.
const MAX_CALL: usize = 16 << 20;

/// One collection of one server.
pub struct Qdrant {
    client: Client,
    place: String,
    collection: String,
    metric: Metric,
    dimensions: usize,
    bulk: Bulk,
}

impl Qdrant {
    /// The collection that the settings name, for vectors of so many numbers. Asks nobody yet.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn new(settings: &QdrantSettings, pipeline: &str, dimensions: usize) -> Result<Self, String> {
        let collection = settings.collection.as_deref().unwrap_or(pipeline);
        if !is_name(collection) {
            return Err(
                "index.collection: a collection of Qdrant is named by 1 to 255 letters, digits, `-`, `_` and `.`"
                    .into(),
            );
        }
        let key = Secret::given("index.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        let header = key.map(|key| ("api-key", key));
        let client = Client::new(&settings.url, settings.ca_file.as_deref(), header, settings.timeout.as_duration())?;
        Ok(Self {
            place: format!("Qdrant at {}, collection `{collection}`", client.address()),
            client,
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

    async fn ask<A: Message + Default + 'static>(
        &self,
        method: &'static str,
        question: impl Message + 'static,
    ) -> Result<A, CollectionError> {
        self.client.unary(method, question).await.map_err(|status| verdict::judge(&status))
    }

    async fn params(&self) -> Result<Option<VectorsConfig>, CollectionError> {
        let question = GetCollection { collection: self.collection.clone() };
        let Some(answer) = if_there(self.ask::<CollectionAnswer>("/qdrant.Collections/Get", question).await)? else {
            return Ok(None);
        };
        let params = answer.info.and_then(|info| info.config).and_then(|config| config.params);
        Ok(Some(params.and_then(|params| params.vectors).unwrap_or_default()))
    }

    fn check(&self, found: &VectorsConfig) -> Result<(), CollectionError> {
        let unfit = |what: String| Err(CollectionError::Unfit(format!("{what}; choose another `index.collection`")));
        let Some(found) = &found.unnamed else {
            return unfit("its vectors have names, so Vectide did not make it".into());
        };
        if found.size != self.dimensions as u64 {
            return unfit(format!(
                "its vectors have {} dimensions, and those of the embedding have {}",
                found.size, self.dimensions
            ));
        }
        let wanted = distance(self.metric);
        if found.distance() != wanted {
            return unfit(format!("it measures by {:?}, and `index.metric` asks for {wanted:?}", found.distance()));
        }
        Ok(())
    }

    async fn create(&self) -> Result<(), CollectionError> {
        let params = VectorParams { size: self.dimensions as u64, distance: distance(self.metric).into() };
        let question = CreateCollection {
            collection: self.collection.clone(),
            vectors: Some(VectorsConfig { unnamed: Some(params) }),
        };
        self.ask::<()>("/qdrant.Collections/Create", question).await
    }

    async fn try_establish(&self) -> Result<Established, CollectionError> {
        match self.try_look().await? {
            Some(existing) => Ok(existing),
            None => self.create().await.map(|()| Established::Created),
        }
    }

    async fn try_look(&self) -> Result<Option<Established>, CollectionError> {
        let Some(found) = self.params().await? else { return Ok(None) };
        self.check(&found)?;
        let question = Count { collection: self.collection.clone(), exact: true };
        let counted = self.ask::<CountAnswer>("/qdrant.Points/Count", question).await?.counted.unwrap_or_default();
        Ok(Some(Established::Existing { points: counted.count }))
    }

    async fn try_upsert(&self, points: &[Point]) -> Result<(), CollectionError> {
        let (points, refused) = fitting(points, |_, point| {
            let payload = payload::write(&point.metadata, &point.document, point.chunk)?;
            Ok(PointStruct { id: Some(id(&point.id)), payload, vectors: Some(vectors(&point.vector)) })
        });
        if !points.is_empty() {
            let question = Upsert { collection: self.collection.clone(), wait: true, points };
            verdict::check_applied([self.ask::<WriteAnswer>("/qdrant.Points/Upsert", question).await?.update])?;
        }
        done_but(refused)
    }

    /// Qdrant refuses the payload of a point that it does not hold, so it is asked first which it holds.
    async fn try_set_metadata(&self, points: &[PointMetadata]) -> Result<Vec<usize>, CollectionError> {
        let question = Get {
            collection: self.collection.clone(),
            ids: points.iter().map(|point| id(&point.id)).collect(),
            with_payload: Some(With { all: Some(false), only: None }),
            with_vectors: None,
        };
        let found = self.ask::<GetAnswer>("/qdrant.Points/Get", question).await?.points;
        let held: HashSet<Uuid> = found.iter().filter_map(|point| uuid(point.id.as_ref()?)).collect();
        let (mut operations, mut left) = (Vec::with_capacity(points.len()), Vec::new());
        for (index, point) in points.iter().enumerate() {
            // What is refused is told by the upsert.
            match payload::write(&point.metadata, &point.document, point.chunk) {
                Ok(payload) if held.contains(&point.id) => operations.push(Operation {
                    overwrite: Some(OverwritePayload { payload, points: Some(selector(&[point.id])) }),
                }),
                _ => left.push(index),
            }
        }
        if !operations.is_empty() {
            let question = UpdateBatch { collection: self.collection.clone(), wait: true, operations };
            verdict::check_applied(
                self.ask::<BatchAnswer>("/qdrant.Points/UpdateBatch", question).await?.updates.into_iter().map(Some),
            )?;
        }
        Ok(left)
    }

    async fn try_delete(&self, ids: &[Uuid]) -> Result<(), CollectionError> {
        let question = Delete { collection: self.collection.clone(), wait: true, points: Some(selector(ids)) };
        verdict::check_applied([self.ask::<WriteAnswer>("/qdrant.Points/Delete", question).await?.update])
    }

    async fn try_nearest(&self, nearest: Nearest<'_>) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let Some(filter) = nearest.filter else {
            let ours = With { all: None, only: Some(Only { fields: vec![DOCUMENT.to_owned(), CHUNK.to_owned()] }) };
            let found = self.search(nearest.vector, None, ours, nearest.limit).await?;
            return Ok(found.into_iter().map(|ours| ours.map(|(neighbour, _)| neighbour)).collect());
        };
        let wide = filter::wide(filter.condition());
        let mut sift = Sift::new(filter, nearest.limit);
        loop {
            let all = With { all: Some(true), only: None };
            let found = self.search(nearest.vector, wide.clone(), all, sift.asked()).await?;
            if let Some(passed) = sift.pass(found)? {
                return Ok(passed.into_iter().map(Some).collect());
            }
        }
    }

    async fn search(
        &self,
        query: &[f32],
        filter: Option<Filter>,
        with_payload: With,
        most: usize,
    ) -> Result<Vec<Option<(Neighbour, Value)>>, CollectionError> {
        let question = QueryPoints {
            collection: self.collection.clone(),
            query: Some(Query { nearest: Some(VectorInput { dense: Some(Dense { data: query.to_vec() }) }) }),
            filter,
            limit: Some(most as u64),
            with_payload: Some(with_payload),
        };
        let found = self.ask::<QueryAnswer>("/qdrant.Points/Query", question).await?.points;
        let each = found.into_iter().map(|Scored { id, payload, score }| {
            let (document, chunk, metadata) = payload::read(payload)?;
            Some((Neighbour { id: uuid(id.as_ref()?)?, document, chunk, score: self.score(score) }, metadata))
        });
        Ok(each.collect())
    }

    /// Qdrant's Euclidean distance is smaller for what is nearer.
    fn score(&self, found: f32) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => found,
            Metric::L2 => -found,
        }
    }
}

impl Collection for Qdrant {
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

    fn set_metadata<'a>(&'a self, points: &'a [PointMetadata]) -> BoxFuture<'a, Result<Vec<usize>, CollectionError>> {
        self.try_set_metadata(points).boxed()
    }

    fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
        self.try_delete(ids).boxed()
    }

    fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Option<Neighbour>>, CollectionError>> {
        self.try_nearest(nearest).boxed()
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn distance(metric: Metric) -> Distance {
    match metric {
        Metric::Cosine => Distance::Cosine,
        Metric::Dot => Distance::Dot,
        Metric::L2 => Distance::Euclid,
    }
}

fn id(id: &Uuid) -> PointId {
    PointId { id: Some(Id::Uuid(id.to_string())) }
}

fn uuid(id: &PointId) -> Option<Uuid> {
    match id.id.as_ref()? {
        Id::Uuid(text) => text.parse().ok(),
        Id::Number(_) => None,
    }
}

fn selector(ids: &[Uuid]) -> Selector {
    Selector { ids: Some(Ids { ids: ids.iter().map(id).collect() }) }
}

fn vectors(vector: &[f32]) -> Vectors {
    Vectors { unnamed: Some(Vector { dense: Some(Dense { data: vector.to_vec() }) }) }
}
