//! How far each source is settled.

use std::sync::Arc;

use rusqlite::params;

use crate::delivery::{Partition, Position};

use super::Ledger;
use super::error::LedgerError;

impl Ledger {
    /// The positions committed for a source, by partition.
    pub fn positions(&self, source: &str) -> Result<Vec<Position>, LedgerError> {
        self.read("read the positions", |connection| {
            let mut statement = connection.prepare_cached(
                r#"SELECT "partition", detail, "offset", ordinal FROM positions WHERE source = ?1 ORDER BY "partition""#,
            )?;
            let rows = statement.query_map([source], |row| {
                Ok(Position {
                    partition: Arc::new(Partition { name: row.get(0)?, detail: row.get(1)? }),
                    offset: row.get::<_, i64>(2)?.cast_unsigned(),
                    ordinal: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Commits positions of a source: of each partition the last one given is kept.
    pub fn commit_positions(&self, source: &str, positions: &[Position]) -> Result<(), LedgerError> {
        if positions.is_empty() {
            return Ok(());
        }
        self.change("commit positions", |transaction| {
            let mut statement = transaction.prepare_cached(
                r#"INSERT INTO positions VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
                   SET detail = excluded.detail, "offset" = excluded."offset", ordinal = excluded.ordinal"#,
            )?;
            for position in positions {
                statement.execute(params![
                    source,
                    position.partition.name,
                    position.partition.detail,
                    position.offset.cast_signed(),
                    position.ordinal.cast_signed()
                ])?;
            }
            Ok(())
        })
    }

    /// Forgets how far partitions of a source were settled, by name: they are read from their start, should they come again.
    pub fn forget_partitions(&self, source: &str, names: &[String]) -> Result<(), LedgerError> {
        self.change("forget positions", |transaction| {
            let mut statement =
                transaction.prepare_cached(r#"DELETE FROM positions WHERE source = ?1 AND "partition" = ?2"#)?;
            for name in names {
                statement.execute([source, name])?;
            }
            Ok(())
        })
    }

    /// Forgets how far a source was settled: it is read from its start again. For tests and benchmarks.
    pub fn forget_positions(&self, source: &str) -> Result<(), LedgerError> {
        self.change("forget positions", |transaction| {
            transaction.execute("DELETE FROM positions WHERE source = ?1", [source])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::open;

    fn position(name: &str, detail: &str, offset: u64) -> Position {
        let partition = Arc::new(Partition { name: name.to_owned(), detail: detail.to_owned() });
        Position { partition, offset, ordinal: offset / 2 }
    }

    #[test]
    fn keeps_one_position_for_each_partition_of_each_source() {
        let (_folder, ledger) = open();
        let (big, small) = (u64::MAX, 8);
        ledger.commit_positions("files", &[position("b", "1", small), position("a", "1", 2)]).unwrap();
        ledger.commit_positions("files", &[position("a", "2", big)]).unwrap();
        ledger.commit_positions("other", &[position("a", "x", 4)]).unwrap();
        assert_eq!(ledger.positions("files").unwrap(), [position("a", "2", big), position("b", "1", small)]);
        ledger.forget_partitions("files", &["a".to_owned(), "none".to_owned()]).unwrap();
        assert_eq!(ledger.positions("files").unwrap(), [position("b", "1", small)]);
        ledger.forget_positions("files").unwrap();
        assert_eq!(ledger.positions("files").unwrap(), []);
        assert_eq!(ledger.positions("other").unwrap(), [position("a", "x", 4)]);
    }
}
