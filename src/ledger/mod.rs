//! The durable record of documents, points, vectors, positions, dead letters and the HTTP source's journal.
//!
//! One SQLite file, and beside it one with the numbers of the vectors. Every call blocks: call it from a blocking thread
//! ([`patience::blocking`]), never on an arbiter.
//! One process at a time holds the ledger for writing; any number may read beside it.

mod access;
mod clock;
mod connection;
mod counts;
mod dead_letters;
mod documents;
mod error;
pub mod journal;
pub mod key_value;
mod lock;
mod open;
mod options;
mod packed;
mod page;
pub mod patience;
mod points;
mod positions;
mod readers;
mod taken;
#[cfg(test)]
pub(crate) mod testing;
mod totals;
mod unwritten;
mod vectors;
mod wal;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::SetOnce;

pub use clock::{now_ms, now_nanos};
pub use counts::Counts;
pub use dead_letters::{DeadLetter, Letter, Moot};
pub use documents::{HeldDocument, HeldPoints};
pub use error::{LedgerError, LedgerErrorKind};
pub use journal::JournalEntry;
pub use options::{LedgerOptions, Points};
pub use packed::HeldChunk;
pub use points::{PointKey, PointOwner};
pub use taken::TakenRecord;
pub use totals::Totals;
pub use write::{ChunkWrite, DocumentWrite, NewPoint, Outstanding, VectorSource, Written};

use crate::actor::pulse::{self, Call, Ongoing, Underway};
use crate::same_file::FileId;
use crate::telemetry::Health;
use access::{Access, Writer};
use error::Trouble;
use patience::Patience;
use readers::Readers;
use vectors::{BloomFilter, VectorFile};

/// The ledger of one pipeline. Share it as `Arc<Ledger>`: reads run beside each other and beside one write.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: PathBuf,
    /// Which file it was when it was opened. The file itself is SQLite's alone: whoever else closes it takes the locks that
    /// SQLite has on it.
    id: FileId,
    options: LedgerOptions,
    // Fields are dropped in this order: the connection that writes closes last.
    readers: Readers,
    vectors: VectorFile,
    access: Access,
    /// The first damage that a call met.
    damage: SetOnce<LedgerError>,
    health: Arc<Health>,
    patience: Mutex<Patience>,
    underway: Arc<Underway>,
}

impl Ledger {
    /// Shows here when it is [waited for](patience::patiently).
    pub fn reporting_to(self, health: Arc<Health>) -> Self {
        Self { health, ..self }
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it was [opened](Ledger::open) to be written to: by this process alone.
    pub fn is_open_to_write(&self) -> bool {
        self.access.bloom().is_some()
    }

    /// Waits until a call meets damage in the file, which no waiting cures: to go on would be to lose, or to make it worse.
    pub async fn damaged(&self) -> LedgerError {
        self.damage.wait().await.clone()
    }

    /// The calls that have begun and have not ended.
    pub fn underway(&self) -> &Arc<Underway> {
        &self.underway
    }

    fn begin(&self, doing: &'static str, writes: bool) -> Option<Ongoing> {
        self.underway.begin(Call { callee: "the ledger", purpose: doing, writes, may_take: pulse::CALL_MAY_TAKE })
    }

    fn not_opened_to(&self, doing: &str) -> LedgerError {
        LedgerError::opened_only(self.access.purpose(), doing, &self.file)
    }

    /// To write vectors with.
    fn bloom(&self, doing: &str) -> Result<&BloomFilter, LedgerError> {
        self.access.bloom().ok_or_else(|| self.not_opened_to(doing))
    }

    fn explain(&self, trouble: Trouble, doing: &str) -> LedgerError {
        let error = self.gone().unwrap_or(trouble).explain(doing, &self.file);
        if error.kind() == LedgerErrorKind::Corrupt {
            // Refused unless it is the first.
            let _ = self.damage.set(error.clone());
        }
        error
    }

    /// What to say when a file is no longer where it was opened. The system goes on writing to a file that was removed or
    /// replaced, and then drops it.
    fn gone(&self) -> Option<Trouble> {
        let file = if self.id.is_gone_from(&self.file) {
            "the file".to_owned()
        } else if self.vectors.is_gone() {
            format!("{}, which holds its vectors,", self.vectors.path().display())
        } else {
            return None;
        };
        let message = format!(
            "{file} was removed, moved away or replaced while it was in use, so that nothing more is kept: put it back, or run \
             again in an empty folder to build the index anew"
        );
        Some(Trouble::Known(LedgerErrorKind::Corrupt, message))
    }

    /// Runs `work` on what was committed when it began. Nothing that is written meanwhile shows.
    fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        let _underway = self.begin(doing, false);
        self.readers
            .with(|connection| {
                // One transaction for all statements of a call: a consistent view, and one lock instead of one per row.
                let transaction = connection.unchecked_transaction()?;
                work(&transaction)
            })
            .map_err(|trouble| self.explain(trouble, doing))
    }

    /// Runs `work` in one durable transaction: all of it is kept, or nothing.
    fn change<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        let _underway = self.begin(doing, true);
        let writer = self.access.writer().ok_or_else(|| self.not_opened_to(doing))?;
        // A panic in the middle rolled its transaction back, so the connection is as good as before.
        let mut writer = writer.lock();
        let Writer { connection, log } = &mut *writer;
        let run = || -> Result<T, Trouble> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            fault_point!("before the ledger commits"?);
            transaction.commit()?;
            fault_point!("the ledger committed"?);
            self.gone().map_or(Ok(done), Err)
        };
        let done = run().map_err(|trouble| self.explain(trouble, doing))?;
        if let Err(error) = log.keep(connection) {
            // The work is done and durable: the next one tries again.
            tracing::warn!(file = %self.file.display(), %error, "the log of the ledger could not be shortened");
        }
        Ok(done)
    }
}
