//! What the collection holds.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use uuid::Uuid;

use crate::document::DocumentId;
use crate::index::external::collection::{CollectionError, Point};
use crate::index::external::inspect::{Inspect, changed};

use super::messages::{Column, FieldData, Vectors};
use super::rows::{column, jsons, longs, strings};
use super::schema::{CHUNK, DOCUMENT, ID, METADATA, VECTOR};
use super::{Milvus, among};

impl Milvus {
    async fn try_fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, CollectionError> {
        let found = self.query(among(ids), &[ID, DOCUMENT, CHUNK, METADATA, VECTOR]).await?;
        points_of(&found.columns, self.dimensions).ok_or_else(changed)
    }
}

impl Inspect for Milvus {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.try_fetch(ids).boxed()
    }
}

/// Points of the columns of an answer; `None` when they are none of ours.
fn points_of(columns: &[FieldData], dimensions: usize) -> Option<Vec<Point>> {
    // An answer without rows may be one without columns.
    let Some(ids) = column(columns, ID) else { return columns.is_empty().then(Vec::new) };
    let ids = strings(ids)?;
    let numbers = match &column(columns, VECTOR)?.column {
        Some(Column::Vectors(Vectors { floats: Some(floats), .. })) => floats.data.as_slice(),
        _ => &[],
    };
    let (documents, chunks) = (strings(column(columns, DOCUMENT)?)?, longs(column(columns, CHUNK)?)?);
    let metadata = jsons(column(columns, METADATA)?)?;
    let each = ids.iter().enumerate().map(|(at, id)| {
        // As text it may have other spaces or another form of a number than the one that was written.
        let metadata: Value = serde_json::from_slice(metadata.get(at)?).ok()?;
        Some(Point {
            id: id.parse().ok()?,
            document: DocumentId::new(documents.get(at)?).ok()?,
            chunk: usize::try_from(*chunks.get(at)?).ok()?,
            metadata: metadata.to_string().into(),
            vector: numbers.get(at * dimensions..(at + 1) * dimensions)?.into(),
        })
    });
    each.collect()
}
