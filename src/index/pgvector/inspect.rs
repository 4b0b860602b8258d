//! What the table holds.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pgvector::Vector;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::document::DocumentId;
use crate::index::external::collection::{CollectionError, Point};
use crate::index::external::inspect::{Inspect, changed};

use super::PgvectorTable;

impl PgvectorTable {
    async fn try_fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, CollectionError> {
        let sql = format!(
            "SELECT id, document, chunk, embedding, metadata::text FROM {} WHERE id = ANY($1)",
            self.schema.table
        );
        let rows = self.query(&sql, &[&ids]).await?;
        let point = |row: &Row| {
            Ok(Point {
                id: row.get(0),
                document: DocumentId::new(row.get::<_, &str>(1)).map_err(|_| changed())?,
                chunk: row.get::<_, i32>(2) as usize,
                vector: row.get::<_, Vector>(3).to_vec().into(),
                metadata: Arc::from(row.get::<_, &str>(4)),
            })
        };
        rows.iter().map(point).collect()
    }
}

impl Inspect for PgvectorTable {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.try_fetch(ids).boxed()
    }
}
