//! What an HTTP source accepted: on the disk before the answer is sent, gone some time after it is settled.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Ledger;
use super::error::LedgerError;
use super::key_value::{set_setting, setting};
use super::page::{self, limit};
use crate::document::Version;
use crate::telemetry::health::Component;

/// The partition under which the position of a source in its journal is kept.
pub const PARTITION: &str = "journal";

/// The newest time that an entry ever had. The entries themselves go.
const NEWEST: &str = "journal.newest";

/// Where what is settled of a source's journal ends, in a statement over `journal` with [`PARTITION`] as its first parameter. (The position
/// of a file of that name, of a source of another type, has a detail.)
const SETTLED: &str = r#"coalesce((SELECT "offset" FROM positions
    WHERE positions.source = journal.source AND "partition" = ?1 AND detail = ''), 0)"#;

const NANOS_IN_MS: i64 = 1_000_000;

/// One accepted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number: grows within a source and is never used again.
    pub seq: u64,
    /// Its place: greater than that of every entry before it, whatever the clock says, and within a millisecond of its time of arrival
    /// when the clock was never set back.
    pub order: Version,
    /// The record's bytes.
    pub payload: Vec<u8>,
}

impl Ledger {
    /// Appends records in one durable transaction, at this Unix time in nanoseconds; answers their numbers, in the order given. The health
    /// of the journal shows whether that works. Given no records it writes the time alone, to find that out.
    pub fn append_journal(&self, source: &str, payloads: &[&[u8]], now: i64) -> Result<Range<u64>, LedgerError> {
        let appended = self.append(source, payloads, now);
        match &appended {
            Ok(_) => {
                if self.health.ok(Component::Journal) {
                    tracing::info!("events can be written down again");
                }
            }
            Err(error) => {
                if self.health.degraded(Component::Journal, error.to_string()) {
                    tracing::error!(%error, "events cannot be written down; whoever sends some is asked to come back");
                }
            }
        }
        appended
    }

    fn append(&self, source: &str, payloads: &[&[u8]], now: i64) -> Result<Range<u64>, LedgerError> {
        self.change("append to the journal", |transaction| {
            let last = last_number(transaction)? + payloads.len() as i64;
            // What the numbers add is taken off before: else orders would run ahead of the clock, a nanosecond for each entry ever made.
            let at = now.saturating_sub(last).div_euclid(NANOS_IN_MS);
            let newest = setting(transaction, NEWEST)?.and_then(|at| at.parse().ok()).unwrap_or(i64::MIN);
            let at = at.max(newest);
            if at > newest || payloads.is_empty() {
                set_setting(transaction, NEWEST, &at.to_string())?;
            }
            let mut statement =
                transaction.prepare_cached("INSERT INTO journal (source, at, payload) VALUES (?1, ?2, ?3)")?;
            for payload in payloads {
                // Numbers follow each other: nobody else writes during the transaction.
                statement.execute(params![source, at, payload])?;
            }
            let end = last.cast_unsigned() + 1;
            Ok(end - payloads.len() as u64..end)
        })
    }

    /// The records from number `from` on, in order: at most `max_records`, and no more than `max_bytes` of payload. The first is given in
    /// any case.
    pub fn journal(
        &self,
        source: &str,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<JournalEntry>, LedgerError> {
        self.read("read the journal", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, payload FROM journal WHERE source = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let rows = statement.query(params![source, from.cast_signed(), limit(max_records)])?;
            let entry = |row: &Row<'_>| {
                let seq = row.get::<_, i64>(0)?.cast_unsigned();
                Ok(JournalEntry { seq, order: order(row.get(1)?, seq), payload: row.get(2)? })
            };
            page::within(max_bytes, rows.and_then(entry), |entry| entry.payload.len())
        })
    }

    /// Drops the records before number `before`.
    pub fn trim_journal(&self, source: &str, before: u64) -> Result<(), LedgerError> {
        self.change("trim the journal", |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM journal WHERE source = ?1 AND seq < ?2")?;
            statement.execute(params![source, before.cast_signed()])?;
            Ok(())
        })
    }

    /// By source, how many records its journal holds that are not settled, where it holds any.
    pub fn journals(&self) -> Result<Vec<(String, u64)>, LedgerError> {
        self.read("read the journals", |connection| {
            let counts = format!("SELECT source, count(*) FROM journal WHERE seq >= {SETTLED} GROUP BY source");
            let mut statement = connection.prepare(&counts)?;
            let rows =
                statement.query_map([PARTITION], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The numbers of the records of a source that are not settled.
    pub fn unsettled_journal(&self, source: &str) -> Result<Range<u64>, LedgerError> {
        self.read("read the journal", |connection| {
            let range = format!(
                "SELECT coalesce(min(seq), 0), coalesce(max(seq) + 1, 0) FROM journal WHERE source = ?2 AND seq >= {SETTLED}"
            );
            let number = |row: &Row<'_>, column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
            let mut statement = connection.prepare_cached(&range)?;
            Ok(statement.query_row(params![PARTITION, source], |row| Ok(number(row, 0)?..number(row, 1)?))?)
        })
    }
}

/// Drops what is settled, also of sources that are no longer there to do so. The process that trimmed last may have left some.
pub(super) fn drop_settled(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(&format!("DELETE FROM journal WHERE seq < {SETTLED}"), [PARTITION])?;
    Ok(())
}

/// Entries of one time keep their order by number, at the price of a nanosecond each.
fn order(at: i64, seq: u64) -> Version {
    Version::from_nanos(i128::from(at) * i128::from(NANOS_IN_MS) + i128::from(seq))
}

/// The number of the newest entry that there ever was.
fn last_number(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let mut statement = transaction.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::{Partition, Position};
    use crate::ledger::LedgerErrorKind;
    use crate::ledger::testing::{open, options};
    use crate::telemetry::health::HealthState;

    const MS: i64 = NANOS_IN_MS;

    fn seqs(ledger: &Ledger, from: u64, max_records: usize, max_bytes: usize) -> Vec<u64> {
        ledger.journal("api", from, max_records, max_bytes).unwrap().iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn gives_records_in_order_within_the_limits() {
        let (_folder, ledger) = open();
        assert_eq!(ledger.append_journal("api", &[b"one", b"two"], 7 * MS).unwrap(), 1..3);
        assert_eq!(ledger.append_journal("other", &[b"theirs"], 8 * MS).unwrap(), 3..4);
        assert_eq!(ledger.append_journal("api", &[b"three"], 9 * MS + 4).unwrap(), 4..5);
        assert_eq!(
            ledger.journal("api", 4, 10, 100).unwrap(),
            [JournalEntry { seq: 4, order: Version::from_nanos(9_000_004), payload: b"three".to_vec() }]
        );
        for (from, max_records, max_bytes, expected) in [
            (0, 10, 100, &[1, 2, 4][..]),
            (0, 2, 100, &[1, 2]),
            (2, 10, 100, &[2, 4]),
            (0, 10, 6, &[1, 2]),
            (0, 10, 0, &[1]),
            (5, 10, 100, &[]),
        ] {
            assert_eq!(seqs(&ledger, from, max_records, max_bytes), expected);
        }
    }

    #[test]
    fn appending_nothing_gives_no_numbers() {
        let (_folder, ledger) = open();
        assert!(ledger.append_journal("api", &[], 1).unwrap().is_empty());
    }

    fn orders(ledger: &Ledger, from: u64) -> Vec<i128> {
        ledger.journal("api", from, 9, 99).unwrap().iter().map(|entry| entry.order.as_nanos()).collect()
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_record_older_than_one_before_it() {
        let (folder, ledger) = open();
        ledger.append_journal("api", &[b"a"], 70 * MS + 1).unwrap();
        assert_eq!(orders(&ledger, 0), [70_000_001]);
        ledger.trim_journal("api", 2).unwrap();
        drop(ledger);
        let ledger = Ledger::open(folder.path(), options()).unwrap();
        ledger.append_journal("api", &[b"b"], 50 * MS).unwrap();
        ledger.append_journal("api", &[b"c"], 71 * MS + 3).unwrap();
        assert_eq!(orders(&ledger, 0), [70_000_002, 71_000_003]);
    }

    #[test]
    fn after_any_number_of_records_one_is_as_old_as_when_it_came() {
        let (_folder, ledger) = open();
        ledger.append_journal("api", &[b"a"], 0).unwrap();
        for (number, now) in [(999_999, 5_000 * MS), (30_000_000_000, 35_000 * MS), (30_000_000_500, 35_000 * MS + 700)]
        {
            ledger.skip_journal_to(number);
            ledger.append_journal("api", &[b"b", b"c"], now).unwrap();
            let orders = orders(&ledger, number + 1);
            assert!(orders.iter().all(|order| (now - MS - 2..=now).contains(&(*order as i64))), "{orders:?} at {now}");
        }
        let all = orders(&ledger, 0);
        assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
    }

    #[test]
    fn a_full_disk_shows_until_something_can_be_written_again() {
        let (_folder, ledger) = open();
        let smallest = ledger.limit_pages(1);
        let large = vec![b'a'; 1 << 20];
        let error = ledger.append_journal("api", &[&large], MS).unwrap_err();
        let told = ledger.health.of(Component::Journal);
        assert_eq!((error.kind(), told.state), (LedgerErrorKind::Full, HealthState::Degraded));
        assert_eq!(told.reason, Some(error.to_string()));
        ledger.limit_pages(smallest + 1_000);
        assert!(ledger.append_journal("api", &[], 2 * MS).unwrap().is_empty());
        assert_eq!(ledger.health.of(Component::Journal).state, HealthState::Ok);
        assert_eq!(ledger.append_journal("api", &[&large], 3 * MS).unwrap(), 1..2);
    }

    #[test]
    fn what_is_settled_and_still_there_is_not_left() {
        let (_folder, ledger) = open();
        ledger.append_journal("api", &[b"a", b"b", b"c"], 1).unwrap();
        assert_eq!(ledger.unsettled_journal("api").unwrap(), 1..4);
        let partition = Arc::new(Partition { name: PARTITION.to_owned(), detail: String::new() });
        let settled = |offset| Position { partition: Arc::clone(&partition), offset, ordinal: offset };
        for (offset, left) in [(3, 3..4), (4, 0..0)] {
            ledger.commit_positions("api", &[settled(offset)]).unwrap();
            assert_eq!(ledger.unsettled_journal("api").unwrap(), left);
        }
    }

    #[test]
    fn what_is_settled_is_gone_when_it_is_opened_again_though_its_source_is_not() {
        let (folder, ledger) = open();
        ledger.append_journal("api", &[b"a", b"b", b"c"], 1).unwrap();
        ledger.append_journal("never settled", &[b"d"], 1).unwrap();
        let partition = |detail: &str| Arc::new(Partition { name: PARTITION.to_owned(), detail: detail.to_owned() });
        let settled = |detail, offset| Position { partition: partition(detail), offset, ordinal: offset };
        ledger.commit_positions("api", &[settled("", 3)]).unwrap();
        ledger.commit_positions("never settled", &[settled("of a file of that name", 9)]).unwrap();
        assert_eq!(ledger.unsettled_journal("never settled").unwrap(), 4..5);
        drop(ledger);
        let ledger = Ledger::open(folder.path(), options()).unwrap();
        assert_eq!(seqs(&ledger, 0, 9, 99), [3]);
        assert_eq!(ledger.journals().unwrap(), [("api".to_owned(), 1), ("never settled".to_owned(), 1)]);
        assert_eq!(ledger.append_journal("api", &[b"e"], 1).unwrap(), 5..6);
    }

    #[test]
    fn never_uses_a_number_again() {
        let (folder, ledger) = open();
        ledger.append_journal("api", &[b"a", b"b"], 1).unwrap();
        assert_eq!(ledger.journals().unwrap(), [("api".to_owned(), 2)]);
        ledger.trim_journal("api", 2).unwrap();
        assert_eq!(ledger.unsettled_journal("api").unwrap(), 2..3);
        ledger.trim_journal("api", 3).unwrap();
        assert!(ledger.unsettled_journal("api").unwrap().is_empty());
        drop(ledger);
        let ledger = Ledger::open(folder.path(), options()).unwrap();
        assert_eq!(ledger.append_journal("api", &[b"c"], 1).unwrap(), 3..4);
    }
}
