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

#[cfg(test)]
mod tests {
    use crate::ledger::testing::{fingerprint, here, open, open_with, options, vector, write};
    use crate::ledger::{Ledger, LedgerOptions};

    fn texts(ledger: &Ledger) -> Vec<bool> {
        let vectors = ledger.vectors(&[fingerprint("one"), fingerprint("two")]).unwrap();
        vectors.iter().map(Option::is_some).collect()
    }

    #[test]
    fn a_text_of_two_documents_is_kept_once() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")]), write("b", vec![here("one")])]).unwrap();
        assert_eq!(ledger.vectors(&[fingerprint("none"), fingerprint("one")]).unwrap(), [None, Some(vector("one"))]);
        let kept: i64 =
            ledger.read("count", |c| Ok(c.query_row("SELECT count(*) FROM vectors", [], |r| r.get(0))?)).unwrap();
        assert_eq!(kept, 1);
        assert_eq!(ledger.vectors_of(&[2, 9, 1]).unwrap(), [Some(vector("one")), None, Some(vector("one"))]);
    }

    #[test]
    fn an_unused_vector_stays_when_vectors_persist() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        ledger.write(&[write("a", vec![])]).unwrap();
        assert_eq!(texts(&ledger), [true, false]);
    }

    #[test]
    fn a_vector_goes_with_its_last_point_when_vectors_do_not_persist() {
        let forgetful = LedgerOptions { persist_vectors: false, ..options() };
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")]), write("b", vec![here("one")])]).unwrap();
        ledger.write(&[write("c", vec![here("two")])]).unwrap();
        ledger.write(&[write("c", vec![])]).unwrap();
        assert_eq!(texts(&ledger), [true, true]);
        drop(ledger);
        let ledger = open_with(&folder, forgetful);
        assert_eq!(texts(&ledger), [true, false], "the unused one goes at the start");
        ledger.write(&[write("a", vec![])]).unwrap();
        assert_eq!(texts(&ledger), [true, false], "`b` still has it");
        ledger.write(&[write("b", vec![])]).unwrap();
        assert_eq!(texts(&ledger), [false, false]);
    }

    #[test]
    fn without_vectors_the_chunks_are_known_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let discard = LedgerOptions { store_vectors: false, persist_vectors: false, store_points: false, ..options() };
        let ledger = open_with(&folder, discard);
        let written = ledger.write(&[write("a", vec![here("one")])]).unwrap();
        assert_eq!(written.added, [(1, 0, 0)]);
        assert_eq!(texts(&ledger), [false, false]);
        let held = ledger.documents(&[write("a", vec![]).id]).unwrap().remove(0).unwrap();
        assert_eq!(held.chunks[0].fingerprint, fingerprint("one"));
        assert_eq!(ledger.points_after(0, 10).unwrap(), []);
        assert_eq!(ledger.write(&[write("a", vec![])]).unwrap().removed, [1]);
    }
}
