//! Keeps the write-ahead log short.
//!
//! SQLite copies the log into the database every so often, but starts it anew only at a moment when nobody reads from it. While searches
//! come without a pause that moment may never come, so beyond a bound it is waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{BUSY, LOG_BOUND};

/// Where the log of this database lies.
pub(super) fn path(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// How long a write waits for readers to let that happen. Searches take milliseconds; a person's open transaction may take hours.
const WAIT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct LogBound {
    log: PathBuf,
    /// In bytes.
    bound: u64,
    /// The length at which it is tried next.
    next: u64,
}

impl LogBound {
    pub(super) fn new(database: &Path) -> Self {
        Self { log: path(database), bound: LOG_BOUND, next: LOG_BOUND }
    }

    /// Called after a commit, on the connection that made it.
    pub(super) fn keep(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let bytes = fs::metadata(&self.log).map_or(0, |log| log.len());
        if bytes < self.bound {
            // SQLite has started it anew by itself.
            self.next = self.bound;
        }
        if bytes < self.next {
            return Ok(());
        }
        // When it fails it is not tried after every commit, each of which would wait for it.
        self.next = bytes + self.bound;
        connection.busy_timeout(WAIT)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        connection.busy_timeout(BUSY)?;
        if busy? {
            tracing::warn!(log = %self.log.display(), bytes, "the log of the ledger grows: a reader keeps a transaction open");
        } else {
            self.next = self.bound;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{here, open, write};

    #[test]
    fn a_reader_that_stays_delays_it_and_no_write_fails() {
        let (folder, ledger) = open();
        let size = || fs::metadata(folder.path().join("ledger.sqlite-wal")).unwrap().len();
        let bound = 256 * 1024;
        ledger.access.writer().unwrap().lock().log.bound = bound;
        ledger.access.writer().unwrap().lock().log.next = bound;
        let fill = |name: &str| {
            for number in 0..40 {
                ledger.write(&[write(&format!("{name} {number}"), vec![here(&format!("{name} {number}"))])]).unwrap();
            }
        };
        let reader = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
        let transaction = reader.unchecked_transaction().unwrap();
        let count = |sql| transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM documents"), 0);
        fill("a");
        assert!(size() > 2 * bound, "{}", size());
        assert_eq!(count("SELECT count(*) FROM documents"), 0, "the reader still sees its own moment");
        drop(transaction);
        fill("b");
        assert!(size() < 2 * bound, "{}", size());
        assert_eq!(ledger.counts().unwrap().documents, 80);
    }

    #[test]
    fn what_fails_is_tried_again_a_bound_later_and_at_the_bound_once_sqlite_has_started_the_log_anew() {
        const BOUND: u64 = 1000;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut kept = LogBound { log: log.clone(), bound: BOUND, next: BOUND };
        let connection = Connection::open(folder.path().join("database")).unwrap();
        // In a transaction SQLite refuses to shorten the log.
        connection.execute_batch("PRAGMA journal_mode = wal; BEGIN IMMEDIATE; CREATE TABLE a (b)").unwrap();
        for (bytes, tried) in [(10_000, true), (10_999, false), (11_000, true), (999, false), (1_000, true)] {
            fs::File::create(&log).unwrap().set_len(bytes).unwrap();
            assert_eq!(kept.keep(&connection).is_err(), tried, "{bytes} bytes");
        }
    }
}
