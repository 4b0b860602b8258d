//! A table of PostgreSQL with the extension pgvector. Tested with PostgreSQL 18.4 and pgvector 0.8.5.
//!
//! One row a point. A statement is a transaction: a call is done as a whole or not at all, and durable when it is answered.

mod filter;
#[cfg(feature = "testkit")]
mod inspect;
mod schema;
mod session;
mod verdict;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pgvector::Vector;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::document::DocumentId;
use crate::settings::index::Metric;
use crate::settings::pgvector::PgvectorSettings;

use super::external::collection::{
    Bulk, Collection, CollectionError, Established, Nearest, Neighbour, Point, PointMetadata, done_but, fitting,
};
use schema::{Schema, Table};
use session::{Parameters, Sessions};

/// What a statement may carry: the server takes up to a gigabyte, and holds several copies of it meanwhile.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
pub struct PgvectorTable {
    place: String,
    schema: Schema,
    sessions: Sessions,
    /// Connections of their own: slow searches keep no write waiting.
    searching: Sessions,
    bulk: Bulk,
}

impl PgvectorTable {
    /// The table that the settings name. Asks nobody. With errors for a configuration that cannot be used.
    pub fn new(settings: &PgvectorSettings, pipeline: &str, dimensions: usize) -> Result<Self, String> {
        let table = Table::named(settings.collection.as_deref().unwrap_or(pipeline))?;
        let (sessions, searching) = (Sessions::new(settings)?, Sessions::new(settings)?);
        let place = format!("the table {table} of PostgreSQL at {}", sessions.address());
        let schema = Schema { table, dimensions, metric: settings.metric };
        let bulk = Bulk {
            points: settings.batch,
            bytes: MAX_BYTES,
            bytes_per_number: size_of::<f32>(),
            concurrency: settings.concurrency,
        };
        Ok(Self { place, schema, sessions, searching, bulk })
    }

    async fn execute(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64, CollectionError> {
        self.sessions.session().await?.execute(sql, parameters).await
    }

    async fn query(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, CollectionError> {
        self.sessions.session().await?.query(sql, parameters).await
    }

    async fn try_establish(&self) -> Result<Established, CollectionError> {
        self.schema.establish(&mut self.sessions.session().await?).await
    }

    async fn try_mark(&self) -> Result<Option<String>, CollectionError> {
        self.schema.found_in(&mut self.sessions.session().await?).await
    }

    async fn try_look(&self) -> Result<Option<Established>, CollectionError> {
        self.schema.look(&mut self.sessions.session().await?).await
    }

    async fn try_upsert(&self, points: &[Point]) -> Result<(), CollectionError> {
        let (fine, refused) = fitting(points, |_, point| match nul_in(&point.document, &point.metadata) {
            None => Ok(point),
            Some(what) => Err(format!("{what} holds the character U+0000, which PostgreSQL cannot store")),
        });
        self.upsert_fine(&fine).await?;
        done_but(refused)
    }

    async fn upsert_fine(&self, points: &[&Point]) -> Result<(), CollectionError> {
        let ids: Vec<Uuid> = points.iter().map(|point| point.id).collect();
        let documents: Vec<&str> = points.iter().map(|point| point.document.as_str()).collect();
        let chunks: Vec<i32> = points.iter().map(|point| i32::try_from(point.chunk).unwrap_or(i32::MAX)).collect();
        let metadata: Vec<&str> = points.iter().map(|point| &*point.metadata).collect();
        let vectors: Vec<Vector> = points.iter().map(|point| Vector::from(point.vector.to_vec())).collect();
        let sql = format!(
            "INSERT INTO {} (id, document, chunk, embedding, metadata)
             SELECT i, d, c, e, m::jsonb FROM unnest($1::uuid[], $2::text[], $3::int4[], $4::vector[], $5::text[]) AS t (i, d, c, e, m)
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, chunk = excluded.chunk, embedding = excluded.embedding,
             metadata = excluded.metadata",
            self.schema.table
        );
        let written = self.execute(&sql, &[&ids, &documents, &chunks, &vectors, &metadata]).await?;
        if written != points.len() as u64 {
            return Err(CollectionError::Fatal(format!(
                "it wrote {written} of {} rows: a trigger or a rule of the table keeps others back; take it away",
                points.len()
            )));
        }
        Ok(())
    }

    async fn try_set_metadata(&self, points: &[PointMetadata]) -> Result<Vec<usize>, CollectionError> {
        let fine = points.iter().filter(|point| nul_in(&point.document, &point.metadata).is_none());
        let (ids, metadata): (Vec<Uuid>, Vec<&str>) = fine.map(|point| (point.id, &*point.metadata)).unzip();
        let sql = format!(
            "UPDATE {} SET metadata = m::jsonb FROM unnest($1::uuid[], $2::text[]) AS t (i, m) WHERE id = i RETURNING id",
            self.schema.table
        );
        let done = self.query(&sql, &[&ids, &metadata]).await?;
        if done.len() == points.len() {
            return Ok(Vec::new());
        }
        let done: HashSet<Uuid> = done.iter().map(|row| row.get(0)).collect();
        Ok(points.iter().enumerate().filter(|(_, point)| !done.contains(&point.id)).map(|(index, _)| index).collect())
    }

    async fn try_delete(&self, ids: &[Uuid]) -> Result<(), CollectionError> {
        let sql = format!("DELETE FROM {} WHERE id = ANY($1)", self.schema.table);
        self.execute(&sql, &[&ids]).await.map(drop)
    }

    async fn try_nearest(&self, nearest: Nearest<'_>) -> Result<Vec<Option<Neighbour>>, CollectionError> {
        let vector = Vector::from(nearest.vector.to_vec());
        let limit = nearest.limit as i64;
        let condition = filter::translate(nearest.filter, 3);
        let distance = self.schema.distance("$1");
        let sql = format!(
            "SELECT id, document, chunk, ({distance})::float8 FROM {} WHERE {} ORDER BY {distance} LIMIT $2",
            self.schema.table, condition.sql
        );
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&vector, &limit];
        parameters.extend(condition.parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)));
        let mut session = self.searching.session().await?;
        let mut rows = session.query(&sql, &parameters).await?;
        // The graph gives up after so many rows that do not count, for the filter or because they were deleted, and says nothing: only a
        // plan without it shows whether there are no more. Only graphs are searched by plain index scans here.
        if rows.len() < nearest.limit {
            rows = session.query_with("enable_indexscan = off", &sql, &parameters).await?;
        }
        Ok(rows.iter().map(|row| self.neighbour(row)).collect())
    }

    /// Any column of a row of others may be empty.
    fn neighbour(&self, row: &Row) -> Option<Neighbour> {
        let id = row.get::<_, Option<_>>(0)?;
        let document = DocumentId::new(row.get::<_, Option<&str>>(1)?).ok()?;
        let chunk = usize::try_from(row.get::<_, Option<i32>>(2)?).ok()?;
        let distance: f64 = row.get::<_, Option<_>>(3)?;
        let score = match self.schema.metric {
            Metric::Cosine => 1.0 - distance,
            // `<#>` is the negative product: the index only knows ascending order.
            Metric::Dot | Metric::L2 => -distance,
        };
        Some(Neighbour { id, document, chunk, score: score as f32 })
    }
}

/// PostgreSQL's texts hold every character but NUL, and it does not say in which point it found one.
fn nul_in(document: &DocumentId, metadata: &str) -> Option<String> {
    if document.as_str().contains('\0') {
        return Some("its id".to_owned());
    }
    // An escaped backslash before `u0000` is no NUL.
    let field = metadata.contains("\\u0000").then(|| schema::field_with_nul(metadata)).flatten()?;
    Some(format!("the metadata `{field}`"))
}

impl Collection for PgvectorTable {
    fn place(&self) -> &str {
        &self.place
    }

    fn metric(&self) -> Metric {
        self.schema.metric
    }

    fn bulk(&self) -> Bulk {
        self.bulk
    }

    fn timeout(&self) -> Duration {
        self.sessions.timeout()
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
