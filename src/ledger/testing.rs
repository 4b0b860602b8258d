//! What the tests of the ledger share.

use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tempfile::TempDir;

use crate::document::fingerprint::Fingerprinter;
use crate::document::{DocumentId, Fingerprint, Vector, Version};

use super::{ChunkWrite, DocumentWrite, Ledger, LedgerError, LedgerOptions, Moot, PointKey, Points, VectorSource};

pub(crate) fn options() -> LedgerOptions {
    LedgerOptions { pipeline: "test".to_owned(), persist_vectors: true, points: Points::Here }
}

/// A new ledger; the folder goes when it is dropped.
pub(crate) fn open() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, options());
    (folder, ledger)
}

pub(crate) fn open_with(folder: &TempDir, options: LedgerOptions) -> Ledger {
    Ledger::open(folder.path(), options).unwrap()
}

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    Fingerprinter::new("test").of(text)
}

pub(crate) const DIMENSIONS: usize = 16;

/// A vector that tells its text.
pub(super) fn vector(text: &str) -> Vector {
    text.bytes().map(f32::from).chain(std::iter::repeat(0.0)).take(DIMENSIONS).collect()
}

/// A chunk with a vector that has to be kept.
pub(crate) fn here(text: &str) -> ChunkWrite {
    ChunkWrite { fingerprint: fingerprint(text), vector: VectorSource::Here(vector(text)) }
}

/// A chunk that keeps its point.
pub(super) fn held(text: &str, key: PointKey) -> ChunkWrite {
    ChunkWrite { fingerprint: fingerprint(text), vector: VectorSource::Held(key) }
}

/// Chunks of numbered texts for a document. Each keeps a point that the document holds of its text, if it is to and there is one left.
pub(super) fn chunks_of(ledger: &Ledger, id: &str, texts: &[(usize, bool)]) -> Vec<ChunkWrite> {
    let before = ledger.documents(&[DocumentId::new(id).unwrap()]).unwrap().remove(0);
    let mut free = before.map_or(vec![], |before| before.chunks);
    let chunk = |(text, keeps): &(usize, bool)| {
        let text = format!("text {text}");
        match free.iter().position(|held| *keeps && held.fingerprint == fingerprint(&text)) {
            Some(place) => held(&text, free.remove(place).key),
            None => here(&text),
        }
    };
    texts.iter().map(chunk).collect()
}

/// A document of these chunks; not in the index when there are none.
pub(crate) fn write(id: &str, chunks: Vec<ChunkWrite>) -> DocumentWrite {
    DocumentWrite {
        id: DocumentId::new(id).unwrap(),
        document: r#"{"fields":[]}"#.to_owned(),
        record: None,
        clears: Some(Moot::up_to(Version::from_nanos(1))),
        metadata: (!chunks.is_empty()).then(|| format!(r#"{{"id":"{id}"}}"#)),
        chunks,
    }
}

impl Ledger {
    /// What is read next finds its file busy, while what is answered is kept.
    pub(crate) fn busy_reader(&self) -> Connection {
        let file = self.folder().join("busy.sqlite");
        let [other, reader] = [(); 2].map(|()| Connection::open(&file).unwrap());
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        reader.busy_timeout(Duration::ZERO).unwrap();
        self.readers.keep(reader);
        other
    }

    /// What is read next is read from this, until [`Ledger::drop_readers`].
    pub(crate) fn read_from(&self, reader: Connection) {
        self.readers.keep(reader);
    }

    /// What is read next is read from its file again.
    pub(crate) fn drop_readers(&self) {
        self.readers.drop_idle();
    }

    /// From now on its file may not grow: SQLite says what it says of a full disk. A change that finds room in the file still succeeds.
    pub(crate) fn fill_disk(&self) {
        // No fewer pages than there are, so it stops where it is.
        self.limit_pages(1);
    }

    /// There is room again.
    pub(crate) fn free_disk(&self) {
        self.limit_pages(i64::from(u32::MAX) - 1);
    }

    /// Nothing can be written until this is dropped.
    pub(crate) fn hold(&self) -> impl Drop {
        self.access.writer().unwrap().lock()
    }

    /// What the journal of a source holds.
    pub(crate) fn journal_of(&self, source: &str) -> Vec<String> {
        let entries = self.journal(source, 0, usize::MAX, usize::MAX).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.payload).unwrap()).collect()
    }

    /// From now on its file may have this many pages, or as many as it has already; answers how many that is.
    pub(super) fn limit_pages(&self, pages: i64) -> i64 {
        // A panic in the middle of a change leaves it whole.
        let writer = self.access.writer().unwrap().lock();
        writer.connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0)).unwrap()
    }
}

/// Copies these files of a ledger: what is on the disk at this moment is what a killed process leaves.
pub(super) fn copy(from: &TempDir, to: &TempDir, names: &[&str]) {
    for name in names {
        std::fs::copy(from.path().join(name), to.path().join(name)).unwrap();
    }
}

impl Ledger {
    /// How many dead letters there are.
    pub(crate) fn dead_letter_count(&self) -> Result<u64, LedgerError> {
        Ok(self.counts()?.dead_letters)
    }

    /// As if this many records had been appended to the journal, and dropped. One must have been.
    pub(crate) fn skip_journal_to(&self, number: u64) {
        let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'journal'";
        let skip = |transaction: &Transaction<'_>| Ok(transaction.execute(sql, [number.cast_signed()])?);
        assert_eq!(self.change("skip numbers", skip).unwrap(), 1);
    }
}
