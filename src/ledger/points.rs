//! The reading side of the embedded index: points in the order they were made, their vectors, and whose they are.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::document::{DocumentId, Vector};

use super::Ledger;
use super::documents::document_id;
use super::error::LedgerError;
use super::key_value::{PLAN, forget_setting};
use super::packed::{Chunks, shared_text};
use super::page::limit;
use super::vectors::place;

/// Names a point in the index: one chunk of one document. Never used again for another point.
pub type PointKey = u64;

/// Whose a point is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointOwner {
    /// The document.
    pub document: DocumentId,
    /// The number of the chunk in it, from 0.
    pub chunk: usize,
    /// The document's metadata, as canonical JSON text.
    pub metadata: Arc<str>,
}

impl Ledger {
    /// The points with keys above `key`, in ascending order, at most `max`. Fewer may come although there are more; none come only
    /// when there are none.
    pub fn points_after(&self, key: PointKey, max: usize) -> Result<Vec<(PointKey, Vector)>, LedgerError> {
        let mut after = key;
        loop {
            let keys = self.point_keys_after(after, max)?;
            let vectors = self.vectors_of(&keys)?;
            // A point may go between the two calls.
            let points: Vec<_> =
                keys.iter().zip(vectors).filter_map(|(key, vector)| vector.map(|vector| (*key, vector))).collect();
            match keys.last() {
                Some(last) if points.is_empty() => after = *last,
                _ => return Ok(points),
            }
        }
    }

    /// The keys of the points above `key`, in ascending order, at most `max`: what is there, without reading vectors.
    pub fn point_keys_after(&self, key: PointKey, max: usize) -> Result<Vec<PointKey>, LedgerError> {
        self.read("read points", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT key FROM points WHERE key > ?1 ORDER BY key LIMIT ?2")?;
            let rows = statement.query_map(params![key.cast_signed(), limit(max)], |row| row.get(0))?;
            Ok(rows.map(|key| key.map(i64::cast_unsigned)).collect::<Result<_, _>>()?)
        })
    }

    /// The vectors of these points, in their order; `None` for a point that is gone.
    pub fn vectors_of(&self, keys: &[PointKey]) -> Result<Vec<Option<Vector>>, LedgerError> {
        let select = "SELECT vectors.id, vectors.fingerprint FROM points JOIN vectors ON vectors.id = points.vector
                      WHERE points.key = ?1";
        self.look_up_vectors("read vectors", keys, select, |select, key| {
            select.query_row([key.cast_signed()], place).optional()
        })
    }

    /// Whose these points are, in their order; `None` for a point that is gone.
    pub fn resolve(&self, keys: &[PointKey]) -> Result<Vec<Option<PointOwner>>, LedgerError> {
        self.read("look up points", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT documents.name, points.chunk, documents.metadata
                 FROM points JOIN documents ON documents.id = points.document WHERE points.key = ?1",
            )?;
            let mut owners = Vec::with_capacity(keys.len());
            for key in keys {
                let mut rows = statement.query([key.cast_signed()])?;
                let owner = match rows.next()? {
                    None => None,
                    Some(row) => Some(PointOwner {
                        document: document_id(row, 0)?,
                        chunk: row.get::<_, i64>(1)?.cast_unsigned() as usize,
                        metadata: shared_text(row.get_ref(2)?).map_err(rusqlite::Error::from)?,
                    }),
                };
                owners.push(owner);
            }
            Ok(owners)
        })
    }

    /// Shows every document in the index with its metadata (canonical JSON text) and the keys of its points in the order of
    /// its chunks. One consistent view; `each` must not call the ledger.
    pub fn for_each_document(&self, mut each: impl FnMut(&str, &str, &[PointKey])) -> Result<(), LedgerError> {
        self.read("read documents", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, metadata, chunks FROM documents WHERE metadata IS NOT NULL")?;
            let mut rows = statement.query([])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let text = |column| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
                keys.clear();
                keys.extend(row.get::<_, Chunks>(2)?.0.iter().map(|chunk| chunk.key));
                each(text(0)?, text(1)?, &keys);
            }
            Ok(())
        })
    }
}

/// Takes every document out of an index that was discarded and is kept from now on, so that planning the documents again fills it.
/// Vectors that are kept stay, and are not embedded again.
pub(super) fn forget_index(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "UPDATE documents SET metadata = NULL, record = NULL, chunks = x'' WHERE metadata IS NOT NULL;
         UPDATE counts SET indexed = 0, points = 0;",
    )?;
    // Whatever becomes of this process, they are planned again, also when the next one has the index of before.
    forget_setting(connection, PLAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{here, open, vector, write};

    #[test]
    fn gives_points_in_pages_and_tells_whose_they_are() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one"), here("two")]), write("b", vec![here("three")])]).unwrap();
        assert_eq!(ledger.points_after(0, 2).unwrap(), [(1, vector("one")), (2, vector("two"))]);
        assert_eq!(ledger.points_after(2, 2).unwrap(), [(3, vector("three"))]);
        assert_eq!(ledger.point_keys_after(1, 9).unwrap(), [2, 3]);
        let owner = ledger.resolve(&[9, 2]).unwrap();
        let expected =
            PointOwner { document: DocumentId::new("a").unwrap(), chunk: 1, metadata: Arc::from(r#"{"id":"a"}"#) };
        assert_eq!(owner, [None, Some(expected)]);
    }

    #[test]
    fn shows_the_documents_in_the_index_only() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one"), here("two")]), write("gone", vec![])]).unwrap();
        let mut seen = Vec::new();
        ledger.for_each_document(|id, metadata, keys| seen.push(format!("{id} {metadata} {keys:?}"))).unwrap();
        assert_eq!(seen, [r#"a {"id":"a"} [1, 2]"#]);
    }
}
