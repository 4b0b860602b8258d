//! What the class holds.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::document::vector;
use crate::index::external::collection::reserved::{CHUNK, DOCUMENT, METADATA};
use crate::index::external::collection::{CollectionError, Point};
use crate::index::external::inspect::{Inspect, changed};

use super::messages::{Found, Search, SearchReply, WantedMetadata, WantedProperties};
use super::{SEARCH, WeaviateClass, filter, of, text};

impl WeaviateClass {
    async fn try_fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, CollectionError> {
        let names = [DOCUMENT, CHUNK, METADATA].map(str::to_owned).to_vec();
        let search = Search {
            properties: Some(WantedProperties { names }),
            metadata: Some(WantedMetadata { uuid: true, vector: true, ..WantedMetadata::default() }),
            limit: ids.len() as u32,
            filters: Some(filter::ids(ids)),
            ..self.search()
        };
        let reply: SearchReply = self.unary(SEARCH, search).await?;
        reply.results.iter().map(|found| point_of(found).ok_or_else(changed)).collect()
    }
}

impl Inspect for WeaviateClass {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.try_fetch(ids).boxed()
    }
}

fn point_of(found: &Found) -> Option<Point> {
    let (document, chunk) = of(found)?;
    let metadata = found.metadata.as_ref()?;
    Some(Point {
        id: metadata.id.parse().ok()?,
        document,
        chunk,
        metadata: text(found, METADATA)?.into(),
        vector: vector::from_bytes(&metadata.vector)?,
    })
}
