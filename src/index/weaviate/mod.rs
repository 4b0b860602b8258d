//! A class of Weaviate, by gRPC; its schema and changes of metadata by REST. Tested with Weaviate 1.38.
//!
//! One object a point. Fields that `index.metadata` declares are properties, for filters; all metadata are kept as one text beside them.
//!
//! Weaviate makes a class by itself when it is written to and is not there, with another metric and other types. So it is looked at before
//! every write. It may also keep an object that it reports as failed for its vector's length, which breaks searches from then on: such
//! objects are deleted.

mod filter;
#[cfg(feature = "testkit")]
mod inspect;
mod messages;
mod names;
mod object;
mod rest;
mod schema;
mod verdict;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::document::{DocumentId, vector};
use crate::settings::Secret;
use crate::settings::index::Metric;
use crate::settings::weaviate::WeaviateSettings;

use super::external::collection::reserved::{CHUNK, DOCUMENT};
use super::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata, RefusedPoint, done_but,
    fitting, if_there,
};
use super::external::concurrent::concurrently;
use super::external::grpc;
use super::external::typed::{Fields, Sought};
use messages::{
    BatchDelete, BatchDeleteReply, BatchObjects, BatchObjectsReply, Found, NearVector, Search, SearchReply,
    WantedMetadata, WantedProperties,
};
use object::Declared;
use rest::Rest;

const BATCH_OBJECTS: &str = "/weaviate.v1.Weaviate/BatchObjects";
const BATCH_DELETE: &str = "/weaviate.v1.Weaviate/BatchDelete";
const SEARCH: &str = "/weaviate.v1.Weaviate/Search";

const GRPC_PORT: u16 = 50051;
/// What a call may carry: the server takes 100 MiB.
const MAX_BYTES: usize = 4 << 20;
/// The most ids in a call; the server does at most 10,000, unless it is told otherwise.
const MAX_IDS: usize = 1_000;

/// See the module.
pub struct WeaviateClass {
    rest: Rest,
    grpc: grpc::Client,
    class: String,
    place: String,
    dimensions: usize,
    fields: Fields,
    settings: WeaviateSettings,
    /// How many metadata may change at once, in all bulks together: each takes a call of its own.
    merges: Semaphore,
}

impl WeaviateClass {
    /// The class that the settings name. Asks nobody.
    ///
    /// # Errors
    /// A configuration that cannot be used: names the setting and what to do.
    pub fn new(settings: &WeaviateSettings, pipeline: &str, dimensions: usize) -> Result<Self, String> {
        let key = Secret::given("index.api_key", settings.api_key.as_ref(), settings.api_key_file.as_deref())?;
        let rest = Rest::new(settings, key.as_ref())?;
        let default = || format!("{}://{}:{GRPC_PORT}", rest.http.url().scheme(), rest.http.host());
        let header = key.map(|key| ("authorization", Secret::new(format!("Bearer {}", key.reveal()))));
        let grpc = grpc::Client::new(
            &settings.grpc_url.clone().unwrap_or_else(default),
            settings.ca_file.as_deref(),
            header,
            settings.timeout.as_duration(),
        )
        .map_err(|error| error.replace("index.url", "index.grpc_url"))?;
        let class = names::class(settings.collection.as_deref().unwrap_or(pipeline))?;
        settings.metadata.keys().try_for_each(|name| names::check_property(name))?;
        Ok(Self {
            place: format!("the class `{class}` of Weaviate at {}", rest.address()),
            rest,
            grpc,
            class,
            dimensions,
            fields: Fields::new(&settings.metadata),
            settings: settings.clone(),
            merges: Semaphore::new(settings.concurrency),
        })
    }

    async fn unary<Q, A>(&self, path: &'static str, question: Q) -> Result<A, CollectionError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.unary(path, question).await.map_err(|status| verdict::judge_grpc(&status))
    }

    /// Whether the class is there, and fits.
    async fn find_class(&self) -> Result<bool, CollectionError> {
        let class = self.rest.call(Method::GET, &format!("schema/{}", self.class), None).await;
        let Some(class) = if_there(class)? else { return Ok(false) };
        schema::check(&class, self.settings.metric, &self.fields).map_err(CollectionError::Unfit)?;
        Ok(true)
    }

    async fn need_class(&self) -> Result<(), CollectionError> {
        if !self.find_class().await? {
            return Err(CollectionError::Missing(format!("Weaviate has no class `{}`", self.class)));
        }
        Ok(())
    }

    async fn try_establish(&self) -> Result<Established, CollectionError> {
        if let Some(found) = self.try_look().await? {
            return Ok(found);
        }
        let class = schema::class(&self.class, self.settings.metric, &self.fields);
        match self.rest.call(Method::POST, "schema", Some(&class)).await {
            Ok(_) => Ok(Established::Created),
            // Another may have been faster; that is seen when it is looked for.
            Err(CollectionError::OneRefused(text)) => match self.try_look().await? {
                Some(found) => Ok(found),
                None => Err(CollectionError::Fatal(format!("the class cannot be made: {text}"))),
            },
            Err(error) => Err(error),
        }
    }

    async fn try_look(&self) -> Result<Option<Established>, CollectionError> {
        if !self.find_class().await? {
            return Ok(None);
        }
        // The schema does not say how many numbers a vector has, but every object does.
        let any = Search {
            limit: 1,
            metadata: Some(WantedMetadata { vector: true, ..WantedMetadata::default() }),
            ..self.search()
        };
        let reply: SearchReply = self.unary(SEARCH, any).await?;
        let Some(found) = reply.results.first() else { return Ok(Some(Established::Existing { points: 0 })) };
        let numbers = found.metadata.as_ref().map_or(0, |metadata| metadata.vector.len() / size_of::<f32>());
        if numbers != self.dimensions && numbers > 0 {
            return Err(CollectionError::Unfit(format!(
                "its vectors have {numbers} numbers, and those of the embedding model {}: name another class with `index.collection`",
                self.dimensions
            )));
        }
        let query = json!({ "query": format!("{{ Aggregate {{ {} {{ meta {{ count }} }} }} }}", self.class) });
        let answer = self.rest.call(Method::POST, "graphql", Some(&query)).await;
        Ok(Some(match verdict::counted(answer, &self.class)? {
            Some(points) => Established::Existing { points: points.max(1) },
            None => Established::Uncounted { at_least: 1 },
        }))
    }

    async fn try_upsert(&self, points: &[Point]) -> Result<(), CollectionError> {
        self.need_class().await?;
        let (made, mut refused) = fitting(points, |index, point| {
            let declared = Declared::read(&self.fields, &point.metadata)?;
            Ok((index, object::object(point, &self.class, declared)))
        });
        let (places, objects): (Vec<usize>, Vec<_>) = made.into_iter().unzip();
        if !objects.is_empty() {
            let reply: BatchObjectsReply = self.unary(BATCH_OBJECTS, BatchObjects { objects }).await?;
            let failed = verdict::failures(reply, &places)?;
            // Of all others, what was there before is still good.
            let broken: Vec<Uuid> = failed
                .iter()
                .filter(|(_, error)| verdict::is_kept(error))
                .map(|(index, _)| points[*index].id)
                .collect();
            self.try_delete(&broken).await?;
            for (index, error) in failed {
                if !verdict::is_of_the_object(&error) {
                    return Err(CollectionError::Unavailable { reason: error, after: None });
                }
                let reason = format!("Weaviate refused it: {error}");
                refused.push(RefusedPoint { index, reason, by_system: true });
            }
        }
        refused.sort_unstable_by_key(|refused| refused.index);
        done_but(refused)
    }

    async fn try_set_metadata(&self, points: &[PointMetadata]) -> Result<Vec<usize>, CollectionError> {
        self.need_class().await?;
        let merges = (0..points.len()).map(|index| async move {
            match self.merge(&points[index]).await {
                // What is refused is told by the upsert.
                Err(CollectionError::Missing(_) | CollectionError::OneRefused(_)) => Ok(Some(index)),
                done => done.map(|()| None),
            }
        });
        let merged = concurrently(merges, self.settings.concurrency).await?;
        let mut left: Vec<usize> = merged.into_iter().flatten().collect();
        left.sort_unstable();
        Ok(left)
    }

    async fn merge(&self, point: &PointMetadata) -> Result<(), CollectionError> {
        let declared = Declared::read(&self.fields, &point.metadata).map_err(CollectionError::OneRefused)?;
        let body = json!({ "class": self.class, "properties": declared.to_merge(&self.fields, &point.metadata) });
        let path = format!("objects/{}/{}", self.class, point.id);
        let _permit = self.merges.acquire().await.expect("the semaphore is never closed");
        self.rest.call(Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    async fn try_delete(&self, ids: &[Uuid]) -> Result<(), CollectionError> {
        for ids in ids.chunks(MAX_IDS) {
            let filters = Some(filter::ids(ids));
            let reply: BatchDeleteReply =
                self.unary(BATCH_DELETE, BatchDelete { collection: self.class.clone(), filters }).await?;
            verdict::check_deleted(&reply)?;
        }
        Ok(())
    }

    fn search(&self) -> Search {
        let names = [DOCUMENT, CHUNK].map(str::to_owned).to_vec();
        Search {
            collection: self.class.clone(),
            properties: Some(WantedProperties { names }),
            uses_127_api: true,
            ..Search::default()
        }
    }

    async fn try_nearest(&self, nearest: Nearest<'_>) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let filters = match self.fields.filter(nearest.filter).map_err(CollectionError::OneRefused)? {
            Sought::Everything => None,
            Sought::Nothing => return Ok(Vec::new()),
            Sought::Where(typed) => Some(filter::translate(&typed).map_err(CollectionError::OneRefused)?),
        };
        let search = Search {
            metadata: Some(WantedMetadata { uuid: true, distance: true, ..WantedMetadata::default() }),
            limit: u32::try_from(nearest.limit).unwrap_or(u32::MAX),
            filters,
            near: Some(NearVector { vector: vector::to_bytes(nearest.vector) }),
            ..self.search()
        };
        let reply: SearchReply = self.unary(SEARCH, search).await?;
        Ok(reply.results.iter().map(|found| self.neighbour(found)).collect())
    }

    fn neighbour(&self, found: &Found) -> Option<Neighbour> {
        let (document, chunk) = of(found)?;
        let metadata = found.metadata.as_ref()?;
        let (id, distance) = (metadata.id.parse().ok()?, metadata.distance);
        let score = match self.settings.metric {
            Metric::Cosine => 1.0 - distance,
            Metric::Dot => -distance,
            Metric::L2 => -distance.max(0.0).sqrt(),
        };
        Some(Neighbour { id, document, chunk, score })
    }
}

fn text<'a>(found: &'a Found, property: &str) -> Option<&'a str> {
    found.properties.as_ref()?.own.as_ref()?.fields.get(property)?.text.as_deref()
}

/// The document and the chunk that an object is of; `None` for an object of others.
fn of(found: &Found) -> Option<(DocumentId, usize)> {
    let document = DocumentId::new(text(found, DOCUMENT)?).ok()?;
    let own = found.properties.as_ref()?.own.as_ref()?;
    Some((document, usize::try_from(own.fields.get(CHUNK)?.whole?).ok()?))
}

impl Collection for WeaviateClass {
    fn place(&self) -> &str {
        &self.place
    }

    fn metric(&self) -> Metric {
        self.settings.metric
    }

    fn bulk(&self) -> Bulk {
        Bulk {
            points: self.settings.batch,
            bytes: MAX_BYTES,
            bytes_per_number: size_of::<f32>(),
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
        std::future::ready(Ok(Some(self.rest.http.folder().to_owned()))).boxed()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_used_names_the_setting() {
        let class = |yaml: &str| WeaviateClass::new(&serde_yaml::from_str(yaml).unwrap(), "products", 2);
        for (yaml, setting, hint) in [
            ("{ url: localhost }", "index.url: ", "address"),
            ("{ url: 'http://u:p4ss@x' }", "index.url: ", "api_key"),
            ("{ grpc_url: 'localhost:50051' }", "index.grpc_url: ", "http://"),
            ("{ api_key: ' ' }", "index.api_key: ", "environment"),
            ("{ collection: my-class }", "index.collection: ", "letters"),
            ("{ collection: 1st }", "index.collection: ", "letters"),
            ("{ metadata: { 'a b': text } }", "index.metadata.a b: ", "letters"),
            ("{ metadata: { id: text } }", "index.metadata.id: ", "meaning"),
        ] {
            let error = class(yaml).err().unwrap();
            assert!(error.starts_with(setting) && error.contains(hint) && !error.contains("p4ss"), "{yaml}: {error}");
        }
        let class = class("{ url: 'https://w.example' }").unwrap();
        assert_eq!(
            (class.place(), class.grpc.address()),
            ("the class `Products` of Weaviate at w.example", "w.example:50051")
        );
    }

    #[test]
    fn servers_behind_one_host_are_told_apart_by_their_paths() {
        for (url, expected) in [("http://w.example", ""), ("http://w.example/", ""), ("http://w.example/a/b/", "/a/b")]
        {
            let settings = WeaviateSettings { url: url.to_owned(), ..WeaviateSettings::default() };
            let class = WeaviateClass::new(&settings, "products", 2).unwrap();
            assert_eq!(class.mark().now_or_never(), Some(Ok(Some(expected.to_owned()))), "{url}");
        }
    }
}
