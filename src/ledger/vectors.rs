//! Embeddings by the fingerprint of their text.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::document::{Fingerprint, Vector};

use super::Ledger;
use super::error::LedgerError;
use super::packed::StoredVector;

/// The row of a vector.
pub(super) type VectorRow = i64;

impl Ledger {
    /// The vectors of these texts, in their order; `None` for one that is not kept.
    pub fn vectors(&self, fingerprints: &[Fingerprint]) -> Result<Vec<Option<Vector>>, LedgerError> {
        self.read("look up vectors", |connection| {
            let mut statement = connection.prepare_cached("SELECT vector FROM vectors WHERE fingerprint = ?1")?;
            let mut find = |fingerprint: &Fingerprint| {
                statement
                    .query_row([fingerprint.as_bytes()], |row| row.get::<_, StoredVector>(0).map(|vector| vector.0))
                    .optional()
            };
            Ok(fingerprints.iter().map(&mut find).collect::<Result<_, _>>()?)
        })
    }
}

/// Keeps vectors, each text's once.
pub(super) struct VectorKeeper<'c> {
    connection: &'c Connection,
    insert: CachedStatement<'c>,
    /// Reused from vector to vector.
    bytes: Vec<u8>,
}

impl<'c> VectorKeeper<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let insert = connection
            .prepare_cached("INSERT INTO vectors (fingerprint, vector) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        Ok(Self { connection, insert, bytes: Vec::new() })
    }

    /// Keeps the vector of a text unless one is kept already; answers its row.
    pub(super) fn keep(&mut self, fingerprint: &Fingerprint, vector: &[f32]) -> rusqlite::Result<VectorRow> {
        self.bytes.clear();
        self.bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
        if self.insert.execute(params![fingerprint.as_bytes(), self.bytes])? == 1 {
            return Ok(self.connection.last_insert_rowid());
        }
        // Another document has the same text, or had it.
        self.connection
            .prepare_cached("SELECT id FROM vectors WHERE fingerprint = ?1")?
            .query_row([fingerprint.as_bytes()], |row| row.get(0))
    }
}

/// Drops a vector that no point refers to. Needs the index that [`keep_only_used`] makes.
pub(super) fn drop_if_unused(connection: &Connection, row: VectorRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM vectors WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM points WHERE vector = ?1)")?
        .execute([row])?;
    Ok(())
}

/// From now on vectors go with their last point. Drops those that nothing refers to.
pub(super) fn keep_only_used(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS points_vector ON points (vector);
         DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.vector = vectors.id);",
    )
}

/// From now on vectors stay when their last point goes.
pub(super) fn keep_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DROP INDEX IF EXISTS points_vector")
}
