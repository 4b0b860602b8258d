//! What the collection holds.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::index::external::collection::{CollectionError, Point};
use crate::index::external::inspect::{Inspect, changed};

use super::messages::{Get, GetAnswer, Retrieved, With};
use super::{Qdrant, id, payload, uuid};

impl Qdrant {
    async fn try_fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, CollectionError> {
        let all = Some(With { all: Some(true), only: None });
        let question = Get {
            collection: self.collection.clone(),
            ids: ids.iter().map(id).collect(),
            with_payload: all.clone(),
            with_vectors: all,
        };
        let found = self.ask::<GetAnswer>("/qdrant.Points/Get", question).await?.points;
        found.into_iter().map(|point| point_of(point).ok_or_else(changed)).collect()
    }
}

impl Inspect for Qdrant {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.try_fetch(ids).boxed()
    }
}

fn point_of(found: Retrieved) -> Option<Point> {
    let vector = found.vectors?.unnamed?.dense?;
    let (document, chunk, metadata) = payload::read(found.payload)?;
    Some(Point {
        id: uuid(found.id.as_ref()?)?,
        document,
        chunk,
        metadata: metadata.to_string().into(),
        vector: vector.data.into(),
    })
}
