//! Keeps the write-ahead log short.
//!
//! SQLite copies the log into the database every so often, but starts it anew only at a moment when nobody reads from it. Under
//! searches without a pause that moment may never come, so beyond a bound it is waited for.

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

/// How long readers may hold up a write for it. Searches take milliseconds; a person's open transaction may take hours.
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
        if bytes < self.next {
            return Ok(());
        }
        connection.busy_timeout(WAIT)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        connection.busy_timeout(BUSY)?;
        self.next = if busy? {
            tracing::warn!(log = %self.log.display(), bytes, "the log of the ledger grows: a reader keeps a transaction open");
            bytes + self.bound
        } else {
            self.bound
        };
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
}
