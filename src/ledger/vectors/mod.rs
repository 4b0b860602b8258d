//! The embedding of each text, kept once and found by the fingerprint of the text.
//!
//! Its numbers lie in `vectors.bin`, a file of [`slots`] of equal size, opened when it is first needed ([`file`]). Which slot is whose
//! the database says: the table `vectors` has a row for each text, with its slot, its fingerprint and the key that it is found by. That
//! key is the [`segment`] of the slot and then the first bits of the fingerprint, so a text is asked for once per segment, and a filter in
//! memory ([`bloom`]) tells which segments are worth it. [`places`] goes from a text to its slot in this way. [`keeper`] gives a new text
//! a slot: a free one, or else the next at the end.
//!
//! A vector is on the disk before the transaction commits that tells of it: slots are written first, then synchronised, then the
//! transaction commits. A crash in between leaves slots that nothing refers to. So a slot that is freed may be used again only
//! from the next transaction on: until the commit, what is committed still refers to it.
//!
//! A reader looks a slot up and then reads it, and meanwhile it may be freed and used again. The tag and the checksum tell, and
//! then the reader looks it up anew.

mod bloom;
mod file;
mod keeper;
mod places;
mod segment;
mod slots;
#[cfg(test)]
mod tests;

use std::slice;

use rusqlite::{CachedStatement, Connection};

use crate::document::{Fingerprint, Vector};

use super::error::{LedgerError, Trouble};
use super::{HeldChunk, Ledger};

pub(super) use bloom::BloomFilter;
pub(super) use file::VectorFile;
use file::{Recorded, recorded};
pub(super) use keeper::VectorKeeper;
pub(super) use places::place;
use places::{FIND, fill_filter, find, segments};
use slots::{Place, SlotError, Wrong};

/// How often a slot with wrong content is looked up anew before the file counts as damaged.
const TRIES: usize = 5;

impl Ledger {
    /// The vectors of these texts, in their order; `None` for one that is not kept.
    pub fn vectors(&self, fingerprints: &[Fingerprint]) -> Result<Vec<Option<Vector>>, LedgerError> {
        let doing = "look up vectors";
        let Some(bloom) = self.access.bloom() else {
            // Whoever only reads has no filter, and looks into all segments.
            let end = self.read(doing, |connection| Ok(segments(connection)?))?;
            return self.look_up_vectors(doing, fingerprints, FIND, |select, text| find(select, text, 0..end));
        };
        let may_be_kept = |text: &Fingerprint| bloom.segments(segment::prefix(text));
        if fingerprints.iter().all(|text| may_be_kept(text).is_empty()) {
            return Ok(vec![None; fingerprints.len()]);
        }
        // The filter is asked again, of what is seen then: a text that has moved since is where it says by then.
        self.look_up_vectors(doing, fingerprints, FIND, |select, text| find(select, text, may_be_kept(text)))
    }

    /// The vectors of chunks that documents hold, in their order; `None` for one that is not kept, or no longer held.
    pub fn vectors_of_chunks(&self, chunks: &[&HeldChunk]) -> Result<Vec<Option<Vector>>, LedgerError> {
        if self.options.keeps_points() {
            // A point says where its vector is.
            return self.vectors_of(&chunks.iter().map(|chunk| chunk.key).collect::<Vec<_>>());
        }
        self.vectors(&chunks.iter().map(|chunk| chunk.fingerprint).collect::<Vec<_>>())
    }

    /// To be called before any vector is written.
    pub(super) fn fill_bloom(&self) -> Result<(), LedgerError> {
        let Some(bloom) = self.access.bloom() else { return Ok(()) };
        self.read("open the ledger", |connection| fill_filter(connection, bloom))
    }

    /// The vector of each key, in their order, where `find` has its place from this statement.
    pub(super) fn look_up_vectors<K>(
        &self,
        doing: &'static str,
        keys: &[K],
        select: &str,
        find: impl Fn(&mut CachedStatement<'_>, &K) -> rusqlite::Result<Option<Place>>,
    ) -> Result<Vec<Option<Vector>>, LedgerError> {
        let look_up = |keys: &[K]| {
            self.read(doing, |connection| {
                // First of all: from here on the call sees one state.
                let recorded = recorded(connection)?;
                let mut select = connection.prepare_cached(select)?;
                let places: Result<Vec<_>, _> = keys.iter().map(|key| find(&mut select, key)).collect();
                self.vectors_at(recorded, &places?)
            })
        };
        let mut found = look_up(keys)?;
        for (key, found) in keys.iter().zip(&mut found) {
            // Used again after it was looked up. One alone is looked up and read so fast that this hardly happens twice.
            let mut tries = 0;
            while found.is_err() && tries < TRIES {
                tries += 1;
                *found = look_up(slice::from_ref(key))?.remove(0);
            }
        }
        let vectors: Result<_, Wrong> = found.into_iter().collect();
        vectors.map_err(|wrong| self.explain(self.vectors.damaged(wrong), doing))
    }

    fn vectors_at(
        &self,
        recorded: Option<Recorded>,
        places: &[Option<Place>],
    ) -> Result<Vec<Result<Option<Vector>, Wrong>>, Trouble> {
        let known: Vec<Place> = places.iter().copied().flatten().collect();
        let Some(recorded) = recorded.filter(|_| !known.is_empty()) else {
            return Ok(vec![Ok(None); places.len()]);
        };
        let read = match self.vectors.with_mark(recorded.mark) {
            Ok(file) => file.read(&known).map_err(|error| self.vectors.explain(error))?,
            Err(SlotError::Wrong(wrong)) => vec![Err(wrong); known.len()],
            Err(error) => return Err(self.vectors.explain(error)),
        };
        let mut read = read.into_iter();
        Ok(places.iter().map(|place| place.and_then(|_| read.next()).transpose()).collect())
    }

    /// Refuses a file of vectors that does not hold what the database says.
    pub(super) fn check_vectors(&self) -> Result<(), LedgerError> {
        let doing = "open the ledger";
        self.read(doing, |connection| match recorded(connection)? {
            Some(recorded) => self.vectors.check(&recorded).map_err(|error| self.vectors.explain(error)),
            None => Ok(()),
        })
    }

    /// Keeps vectors of texts, in one durable transaction, before any document uses them.
    pub fn keep_vectors(&self, vectors: &[(Fingerprint, Vector)]) -> Result<(), LedgerError> {
        let doing = "keep vectors";
        let Some((_, first)) = vectors.first() else { return Ok(()) };
        let bloom = self.bloom(doing)?;
        self.make_way_for(first)?;
        self.change(doing, |transaction| {
            let mut keeper = VectorKeeper::new(transaction, &self.vectors, bloom, vectors.len())?;
            for (text, vector) in vectors {
                keeper.keep(text, vector)?;
            }
            keeper.finish()
        })
    }

    /// Whether vectors are kept that have another length than this: they are lost when one of this length comes and no point uses them.
    pub fn keeps_other_lengths(&self, dimensions: usize) -> Result<bool, LedgerError> {
        if !self.have_other_lengths(dimensions) {
            return Ok(false);
        }
        self.read("look for vectors", |connection| {
            Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM vectors)", [], |row| row.get(0))?)
        })
    }

    /// Whether the file of vectors is of another length than this, though it may hold none.
    fn have_other_lengths(&self, dimensions: usize) -> bool {
        self.vectors.dimensions().is_some_and(|held| held != dimensions)
    }

    /// Forgets all vectors when they have another length than those to come and no document uses them: they are of a model that
    /// the index is no longer of. In a transaction of its own: the file is made anew only when nothing refers to it.
    pub(super) fn make_way_for(&self, vector: &[f32]) -> Result<(), LedgerError> {
        if self.have_other_lengths(vector.len()) && self.point_count()? == 0 {
            self.forget_other_lengths(vector.len())?;
        }
        Ok(())
    }

    /// Asks again whether there is something to forget, now that nobody else can write: another call may have made way, and written, since
    /// the question was asked first.
    fn forget_other_lengths(&self, dimensions: usize) -> Result<(), LedgerError> {
        self.change("forget vectors of another length", |transaction| {
            let Some(recorded) = recorded(transaction)? else { return Ok(()) };
            let file = self.vectors.with_mark(recorded.mark).map_err(|error| self.vectors.explain(error))?;
            let used: bool = transaction.query_row("SELECT EXISTS (SELECT 1 FROM points)", [], |row| row.get(0))?;
            if file.dimensions() != dimensions && !used {
                forget_all(transaction)?;
            }
            Ok(())
        })
    }
}

/// From now on vectors go with their last point.
pub(super) fn keep_only_used(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("CREATE INDEX IF NOT EXISTS points_vector ON points (vector)")
}

/// Drops vectors that nothing refers to.
pub(super) fn drop_unused(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "INSERT INTO free_slots SELECT id FROM vectors WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.vector = vectors.id);
         DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.vector = vectors.id);",
    )
}

/// From now on vectors stay when their last point goes.
pub(super) fn keep_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DROP INDEX IF EXISTS points_vector")
}

/// Without vectors no file is needed: the next vector begins a new one.
pub(super) fn forget_empty_file(connection: &Connection) -> rusqlite::Result<()> {
    let any: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM vectors)", [], |row| row.get(0))?;
    if any { Ok(()) } else { forget_all(connection) }
}

fn forget_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM vectors; DELETE FROM free_slots; DELETE FROM vector_file;")
}
