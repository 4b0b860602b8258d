//! Embeddings by the fingerprint of their text: the database says in which slot of the file beside it each one lies.
//!
//! A vector is on the disk before the transaction commits that tells of it: slots are written first, then synchronised, then the
//! transaction commits. A crash in between leaves slots that nothing refers to. So a slot that is freed may be used again only
//! from the next transaction on: until the commit, what is committed still refers to it.
//!
//! A reader looks a slot up and then reads it, and meanwhile it may be freed and used again. The tag and the checksum tell, and
//! then the reader looks it up anew.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::document::{Fingerprint, Vector};

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::journal::limit;
use super::slots::{Mark, Place, Slot, SlotFile, SlotWriter, Wrong};

const FILE: &str = "vectors.bin";
/// How often a slot with wrong content is looked up anew before the file counts as damaged.
const TRIES: usize = 5;

/// The file of vectors of one ledger.
#[derive(Debug)]
pub(super) struct VectorFile {
    path: PathBuf,
    to_write: bool,
    /// Opened when it is needed first.
    open: Mutex<Option<Arc<SlotFile>>>,
}

impl VectorFile {
    pub(super) fn new(folder: &Path, to_write: bool) -> Self {
        Self { path: folder.join(FILE), to_write, open: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is no longer where it was opened.
    pub(super) fn is_gone(&self) -> bool {
        self.opened().is_some() && matches!(self.path.try_exists(), Ok(false))
    }

    fn opened(&self) -> Option<Arc<SlotFile>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, file: SlotFile) -> Arc<SlotFile> {
        let file = Arc::new(file);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&file));
        file
    }

    /// The file with this mark.
    fn with_mark(&self, mark: Mark) -> Result<Result<Arc<SlotFile>, Wrong>, Trouble> {
        if let Some(file) = self.opened().filter(|file| file.mark() == mark) {
            return Ok(Ok(file));
        }
        let file = SlotFile::open(&self.path, mark, self.to_write).map_err(|error| self.failed(error))?;
        Ok(file.map(|file| self.keep(file)))
    }

    fn create(&self, mark: Mark, dimensions: usize) -> Result<Arc<SlotFile>, Trouble> {
        let file = SlotFile::create(&self.path, mark, dimensions).map_err(|error| self.failed(error))?;
        Ok(self.keep(file))
    }

    fn check(&self, recorded: &Recorded) -> Result<Result<(), Wrong>, Trouble> {
        match self.with_mark(recorded.mark)? {
            Ok(file) => file.reaches(recorded.next).map_err(|error| self.failed(error)),
            Err(wrong) => Ok(Err(wrong)),
        }
    }

    fn failed(&self, error: std::io::Error) -> Trouble {
        Trouble::Io(self.path.clone(), error)
    }

    fn damaged(&self, wrong: Wrong) -> Trouble {
        let message = format!(
            "{}, which holds its vectors, {wrong}: put both files back from one copy, or move the folder away and run again to build \
             the index anew (its texts are embedded again)",
            self.path.display()
        );
        Trouble::Known(LedgerErrorKind::Corrupt, message)
    }
}

/// What the database knows of the file as a whole.
struct Recorded {
    mark: Mark,
    /// The first slot that was never used.
    next: Slot,
}

/// Nothing as long as there are no vectors.
fn recorded(connection: &Connection) -> rusqlite::Result<Option<Recorded>> {
    connection
        .prepare_cached("SELECT mark, next_slot FROM vector_file")?
        .query_row([], |row| Ok(Recorded { mark: row.get(0)?, next: row.get::<_, i64>(1)?.cast_unsigned() }))
        .optional()
}

/// A place from two columns, `vectors.id` and `vectors.fingerprint`.
pub(super) fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { slot: row.get::<_, i64>(0)?.cast_unsigned(), text: Fingerprint::from_bytes(row.get(1)?) })
}

impl Ledger {
    /// The vectors of these texts, in their order; `None` for one that is not kept.
    pub fn vectors(&self, fingerprints: &[Fingerprint]) -> Result<Vec<Option<Vector>>, LedgerError> {
        let select = "SELECT id, fingerprint FROM vectors WHERE fingerprint = ?1";
        self.look_up_vectors("look up vectors", fingerprints, |connection, fingerprint| {
            connection.prepare_cached(select)?.query_row([fingerprint.as_bytes()], place).optional()
        })
    }

    /// The vector of each key, in their order, where `find` knows its place.
    pub(super) fn look_up_vectors<K>(
        &self,
        doing: &str,
        keys: &[K],
        find: impl Fn(&Connection, &K) -> rusqlite::Result<Option<Place>>,
    ) -> Result<Vec<Option<Vector>>, LedgerError> {
        let look_up = |keys: &[K]| {
            self.read(doing, |connection| {
                let places: Result<Vec<_>, _> = keys.iter().map(|key| find(connection, key)).collect();
                self.vectors_at(connection, &places?)
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
        connection: &Connection,
        places: &[Option<Place>],
    ) -> Result<Vec<Result<Option<Vector>, Wrong>>, Trouble> {
        let known: Vec<Place> = places.iter().copied().flatten().collect();
        let Some(recorded) = recorded(connection)?.filter(|_| !known.is_empty()) else {
            return Ok(vec![Ok(None); places.len()]);
        };
        let read = match self.vectors.with_mark(recorded.mark)? {
            Ok(file) => file.read(&known).map_err(|error| self.vectors.failed(error))?,
            Err(wrong) => vec![Err(wrong); known.len()],
        };
        let mut read = read.into_iter();
        Ok(places.iter().map(|place| place.and_then(|_| read.next()).transpose()).collect())
    }

    /// Refuses a file of vectors that does not hold what the database says.
    pub(super) fn check_vectors(&self) -> Result<(), LedgerError> {
        let doing = "open the ledger";
        self.read(doing, |connection| match recorded(connection)? {
            Some(recorded) => self.vectors.check(&recorded)?.map_err(|wrong| self.vectors.damaged(wrong)),
            None => Ok(()),
        })
    }

    /// Forgets all vectors when they have another length than those to come and no document uses them: they are of a model that
    /// the index is no longer of. In a transaction of its own: the file is made anew only when nothing refers to it.
    pub(super) fn make_way_for(&self, vector: &[f32]) -> Result<(), LedgerError> {
        let other = self.vectors.opened().is_some_and(|file| file.dimensions() != vector.len());
        if other && self.point_count()? == 0 {
            self.change("forget vectors of another length", |transaction| Ok(forget_all(transaction)?))?;
        }
        Ok(())
    }
}

/// Keeps vectors, each text's once, in one transaction.
pub(super) struct VectorKeeper<'c> {
    connection: &'c Connection,
    file: &'c VectorFile,
    insert: CachedStatement<'c>,
    recorded: Option<Recorded>,
    /// Made for the first new vector.
    writer: Option<SlotWriter>,
    /// Free slots, the lowest first, as many as may be needed, and how many of them are taken.
    free: Vec<Slot>,
    taken: usize,
    /// Slots that this transaction frees.
    freed: Vec<Slot>,
}

impl<'c> VectorKeeper<'c> {
    /// For at most so many new vectors.
    pub(super) fn new(connection: &'c Connection, file: &'c VectorFile, new: usize) -> rusqlite::Result<Self> {
        let mut free = connection.prepare_cached("SELECT slot FROM free_slots ORDER BY slot LIMIT ?1")?;
        let free = free.query_map([limit(new)], slot)?;
        Ok(Self {
            connection,
            file,
            insert: connection
                .prepare_cached("INSERT INTO vectors (id, fingerprint) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?,
            recorded: recorded(connection)?,
            writer: None,
            free: free.collect::<Result<_, _>>()?,
            taken: 0,
            freed: Vec::new(),
        })
    }

    /// Keeps the vector of a text unless one is kept already; answers its slot.
    pub(super) fn keep(&mut self, text: &Fingerprint, vector: &[f32]) -> Result<Slot, Trouble> {
        let unused = self.recorded.as_ref().map_or(1, |recorded| recorded.next);
        let free = self.free.get(self.taken).copied();
        let place = Place { slot: free.unwrap_or(unused), text: *text };
        if self.insert.execute(params![place.slot.cast_signed(), text.as_bytes()])? == 0 {
            // Another document has the same text, or had it.
            let mut select = self.connection.prepare_cached("SELECT id FROM vectors WHERE fingerprint = ?1")?;
            return Ok(select.query_row([text.as_bytes()], slot)?);
        }
        let put = self.writer(vector.len())?.put(place, vector);
        put.map_err(|error| self.file.failed(error))?;
        match &mut self.recorded {
            Some(recorded) if free.is_none() => recorded.next += 1,
            _ => self.taken += 1,
        }
        Ok(place.slot)
    }

    fn writer(&mut self, dimensions: usize) -> Result<&mut SlotWriter, Trouble> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => SlotWriter::new(match &self.recorded {
                Some(recorded) => self.file.with_mark(recorded.mark)?.map_err(|wrong| self.file.damaged(wrong))?,
                None => {
                    let mark = fastrand::u128(..).to_le_bytes();
                    self.recorded = Some(Recorded { mark, next: 1 });
                    self.file.create(mark, dimensions)?
                }
            }),
        };
        let held = writer.file().dimensions();
        if held != dimensions {
            let message = format!(
                "a vector has {dimensions} numbers, and those that are kept have {held}: use the embedding model that they were made \
                 with, or set `state.path` to another folder"
            );
            return Err(Trouble::Known(LedgerErrorKind::Other, message));
        }
        Ok(self.writer.insert(writer))
    }

    /// Drops a vector that no point refers to. Needs the index that [`keep_only_used`] makes.
    pub(super) fn drop_if_unused(&mut self, slot: Slot) -> rusqlite::Result<()> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM vectors WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM points WHERE vector = ?1)",
        )?;
        if delete.execute([slot.cast_signed()])? == 1 {
            self.freed.push(slot);
        }
        Ok(())
    }

    /// To be called before the commit: answers once the new vectors are on the disk.
    pub(super) fn finish(self) -> Result<(), Trouble> {
        if let (Some(writer), Some(recorded)) = (self.writer, &self.recorded) {
            writer.finish().map_err(|error| self.file.failed(error))?;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO vector_file VALUES (1, ?1, ?2)")?
                .execute(params![recorded.mark, recorded.next.cast_signed()])?;
        }
        if let Some(last) = self.free[..self.taken].last() {
            self.connection.prepare_cached("DELETE FROM free_slots WHERE slot <= ?1")?.execute([last.cast_signed()])?;
        }
        let mut insert = self.connection.prepare_cached("INSERT INTO free_slots VALUES (?1)")?;
        self.freed.iter().try_for_each(|slot| insert.execute([slot.cast_signed()]).map(drop))?;
        Ok(())
    }
}

fn slot(row: &Row<'_>) -> rusqlite::Result<Slot> {
    row.get(0).map(i64::cast_unsigned)
}

/// From now on vectors go with their last point. Drops those that nothing refers to.
pub(super) fn keep_only_used(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS points_vector ON points (vector);
         INSERT INTO free_slots SELECT id FROM vectors WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.vector = vectors.id);
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
