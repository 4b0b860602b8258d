//! How much there is. Only the dead letters, of which there should be few, are counted.

use std::fs;
use std::path::Path;

use super::error::LedgerError;
use super::{Ledger, PointKey, wal};

/// How much the ledger holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Documents that any change ever named, deleted ones included.
    pub documents: u64,
    /// Documents in the index.
    pub indexed: u64,
    /// Points in the index.
    pub points: u64,
    /// Records in the dead letters.
    pub dead_letters: u64,
}

impl Ledger {
    /// How much the ledger holds now.
    pub fn counts(&self) -> Result<Counts, LedgerError> {
        self.read("count", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT documents, indexed, points, (SELECT count(*) FROM dead_letters) FROM counts")?;
            Ok(statement.query_row([], |row| {
                let column = |index| row.get(index).map(i64::cast_unsigned);
                Ok(Counts { documents: column(0)?, indexed: column(1)?, points: column(2)?, dead_letters: column(3)? })
            })?)
        })
    }

    /// How many points the index holds.
    pub fn point_count(&self) -> Result<u64, LedgerError> {
        self.count("SELECT points FROM counts")
    }

    /// The newest key that was ever given to a point; 0 when there was none.
    pub fn last_point_key(&self) -> Result<PointKey, LedgerError> {
        self.count("SELECT next_point - 1 FROM counts")
    }

    fn count(&self, sql: &str) -> Result<u64, LedgerError> {
        self.read("count", |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([], |row| row.get(0).map(i64::cast_unsigned))?)
        })
    }

    /// The bytes that the ledger takes on the disk: its file, the write-ahead log, the vectors.
    pub fn size_on_disk(&self) -> Result<u64, LedgerError> {
        let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
        let database = size(&self.file).map_err(|error| LedgerError::from_io("measure", &self.file, &error))?;
        let log = wal::path(&self.file);
        // The log goes when the last process closes the ledger, and without vectors there is no file of them.
        Ok([&*log, self.vectors.path()].into_iter().filter_map(|path| size(path).ok()).sum::<u64>() + database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{here, open, write};

    #[test]
    fn counts_follow_the_writes() {
        let (_folder, ledger) = open();
        assert_eq!(ledger.counts().unwrap(), Counts::default());
        ledger.write(&[write("a", vec![here("one"), here("two")]), write("b", vec![])]).unwrap();
        assert_eq!(ledger.counts().unwrap(), Counts { documents: 2, indexed: 1, points: 2, dead_letters: 0 });
        assert_eq!(ledger.last_point_key().unwrap(), 2);
        ledger.write(&[write("a", vec![])]).unwrap();
        assert_eq!(ledger.counts().unwrap(), Counts { documents: 2, indexed: 0, points: 0, dead_letters: 0 });
        assert_eq!(ledger.last_point_key().unwrap(), 2);
        assert!(ledger.size_on_disk().unwrap() > 0);
    }
}
