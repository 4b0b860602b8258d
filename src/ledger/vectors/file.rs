//! The file beside the database that holds the numbers of the vectors, opened when it is needed first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::slots::{Mark, Slot, SlotError, SlotFile, Wrong};
use crate::ledger::error::{LedgerErrorKind, Trouble};

pub(super) const FILE: &str = "vectors.bin";

/// The file of vectors of one ledger.
#[derive(Debug)]
pub(in crate::ledger) struct VectorFile {
    path: PathBuf,
    to_write: bool,
    /// Opened when it is needed first.
    open: Mutex<Option<Arc<SlotFile>>>,
}

impl VectorFile {
    pub(in crate::ledger) fn new(folder: &Path, to_write: bool) -> Self {
        Self { path: folder.join(FILE), to_write, open: Mutex::default() }
    }

    pub(in crate::ledger) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is no longer where it was opened. A reader may still have the old file open after the writer has begun a new one.
    pub(in crate::ledger) fn is_gone(&self) -> bool {
        let is_gone = |file: Arc<SlotFile>| {
            if self.to_write { file.id().is_gone_from(&self.path) } else { matches!(self.path.try_exists(), Ok(false)) }
        };
        self.opened().is_some_and(is_gone)
    }

    /// How many numbers each vector has; unknown until the file is needed first.
    pub(in crate::ledger) fn dimensions(&self) -> Option<usize> {
        self.opened().map(|file| file.dimensions())
    }

    pub(super) fn opened(&self) -> Option<Arc<SlotFile>> {
        self.open.lock().clone()
    }

    fn keep(&self, file: SlotFile) -> Arc<SlotFile> {
        let file = Arc::new(file);
        *self.open.lock() = Some(Arc::clone(&file));
        file
    }

    /// Goes on with another file, on a disk that fails, or a sound one again.
    #[cfg(test)]
    pub(super) fn exchange(&self, file: Arc<SlotFile>) {
        *self.open.lock() = Some(file);
    }

    /// The file with this mark.
    pub(super) fn with_mark(&self, mark: Mark) -> Result<Arc<SlotFile>, SlotError> {
        if let Some(file) = self.opened().filter(|file| file.mark() == mark) {
            return Ok(file);
        }
        Ok(self.keep(SlotFile::open(&self.path, mark, self.to_write)?))
    }

    /// Begins the file anew.
    pub(super) fn create(&self, mark: Mark, dimensions: usize) -> Result<Arc<SlotFile>, SlotError> {
        Ok(self.keep(SlotFile::create(&self.path, mark, dimensions)?))
    }

    /// Refuses a file that does not hold what the database says.
    pub(super) fn check(&self, recorded: &Recorded) -> Result<(), SlotError> {
        self.with_mark(recorded.mark)?.check_reaches(recorded.next)
    }

    pub(super) fn explain(&self, error: impl Into<SlotError>) -> Trouble {
        match error.into() {
            SlotError::Io(error) => Trouble::Io(self.path.clone(), error),
            SlotError::Wrong(wrong) => self.damaged(wrong),
        }
    }

    pub(super) fn damaged(&self, wrong: Wrong) -> Trouble {
        let message = format!(
            "{}, which holds its vectors, {wrong}: put both files back from one copy, or move the folder away and run again to build \
             the index anew (its texts are embedded again)",
            self.path.display()
        );
        Trouble::Known(LedgerErrorKind::Corrupt, message)
    }
}

/// What the database knows of the file as a whole.
pub(super) struct Recorded {
    pub(super) mark: Mark,
    /// The first slot that was never used.
    pub(super) next: Slot,
}

/// Nothing as long as there are no vectors.
pub(super) fn recorded(connection: &Connection) -> rusqlite::Result<Option<Recorded>> {
    connection
        .prepare_cached("SELECT mark, next_slot FROM vector_file")?
        .query_row([], |row| Ok(Recorded { mark: row.get(0)?, next: row.get::<_, i64>(1)?.cast_unsigned() }))
        .optional()
}
