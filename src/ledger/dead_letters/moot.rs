//! Which dead letters a newer state of their document makes moot.

use rusqlite::Connection;

use crate::document::{Document, DocumentId, Version};

/// Which dead letters of a document a write of it makes moot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moot {
    /// Those up to this version whose change is part of the document.
    pub taken_in: Version,
    /// Those up to this version whose change never was: an upsert or a deletion that is not older has replaced whatever it said. A patch
    /// has not: what another record says of other fields is lost with its letter.
    pub replaced: Option<Version>,
}

impl Moot {
    /// What this state of a document makes moot.
    pub fn by(document: &Document) -> Self {
        Self { taken_in: document.newest(), replaced: document.replaced() }
    }

    /// What an upsert of this version makes moot.
    pub fn up_to(version: Version) -> Self {
        Self { taken_in: version, replaced: Some(version) }
    }
}

/// Whether any dead letter names a document.
pub(in crate::ledger) fn any_of_a_document(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_letters WHERE document IS NOT NULL)")?
        .query_row([], |row| row.get(0))
}

/// Clears the dead letters of a document that are moot now.
pub(in crate::ledger) fn clear(connection: &Connection, document: &DocumentId, moot: Moot) -> rusqlite::Result<()> {
    let mut find = connection
        .prepare_cached("SELECT id, version, taken_in FROM dead_letters WHERE document = ?1 AND version IS NOT NULL")?;
    let letters = find.query_map([document.as_str()], |row| {
        let (version, taken_in) = (row.get::<_, Version>(1)?, row.get(2)?);
        let until = if taken_in { Some(moot.taken_in) } else { moot.replaced };
        Ok((row.get::<_, i64>(0)?, until.is_some_and(|until| version <= until)))
    })?;
    let letters: Vec<(i64, bool)> = letters.collect::<Result<_, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
    letters.iter().filter(|(_, moot)| *moot).try_for_each(|(id, _)| delete.execute([id]).map(drop))
}
