//! Records that could not be processed, kept until a person replays or drops them or a newer version makes them moot.

use rusqlite::{Connection, Row, Statement, params};
use sha2::{Digest, Sha256};

use crate::document::{DocumentId, Version};

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::held::{DeadLetter, NewDeadLetter};
use super::journal::limit;
use super::packed::StoredVersion;
use super::page;

const COLUMNS: &str = r#"SELECT id, at, source, position, document, version, reason, attempts, "order", payload, replay FROM dead_letters"#;

/// Payload read at once: a page of large records must fit into memory.
const PAGE_BYTES: usize = 32 << 20;

impl Ledger {
    /// Puts records among the dead letters. The same bytes at the same place of a source are kept once: burying them again adds
    /// to the attempts, renews the reason and the time, and takes a replay back.
    pub fn bury(&self, letters: &[NewDeadLetter], at_ms: i64) -> Result<(), LedgerError> {
        if letters.is_empty() {
            return Ok(());
        }
        self.change("keep dead letters", |transaction| {
            let mut statement = transaction.prepare_cached(
                r#"INSERT INTO dead_letters
                       (at, source, position, document, version, reason, attempts, "order", hash, payload)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                   ON CONFLICT (source, position, hash) DO UPDATE SET
                       at = excluded.at, document = excluded.document, version = excluded.version,
                       reason = excluded.reason, attempts = attempts + excluded.attempts, replay = 0"#,
            )?;
            for letter in letters {
                statement.execute(params![
                    at_ms,
                    letter.source,
                    letter.position,
                    letter.document.as_ref().map(DocumentId::as_str),
                    letter.version.map(StoredVersion),
                    letter.reason,
                    letter.attempts,
                    StoredVersion(letter.order),
                    Sha256::digest(&letter.payload).as_slice(),
                    letter.payload,
                ])?;
            }
            Ok(())
        })
    }

    /// The dead letters with numbers above `after`, in ascending order: at most `max`, and no more than 32 MiB of payload unless
    /// the first alone is larger.
    pub fn dead_letters(&self, after: i64, max: usize) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read("read the dead letters", |connection| {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            collect(&mut statement, after, max, PAGE_BYTES)
        })
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, LedgerError> {
        self.read("read a dead letter", |connection| {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
            let mut rows = statement.query([id])?;
            rows.next()?.map(dead_letter).transpose()
        })
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> Result<u64, LedgerError> {
        Ok(self.counts()?.dead_letters)
    }

    /// Drops dead letters for good; answers how many there were.
    pub fn drop_dead_letters(&self, ids: &[i64]) -> Result<usize, LedgerError> {
        self.change("drop dead letters", |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
            let mut dropped = 0;
            for id in ids {
                dropped += statement.execute([id])?;
            }
            Ok(dropped)
        })
    }

    /// Marks dead letters to go through the pipeline again, all of them for `None`; answers how many were marked now.
    pub fn request_replay(&self, ids: Option<&[i64]>) -> Result<usize, LedgerError> {
        self.change("replay dead letters", |transaction| {
            let Some(ids) = ids else {
                return Ok(transaction.execute("UPDATE dead_letters SET replay = 1 WHERE replay = 0", [])?);
            };
            let mut statement =
                transaction.prepare_cached("UPDATE dead_letters SET replay = 1 WHERE id = ?1 AND replay = 0")?;
            let mut marked = 0;
            for id in ids {
                marked += statement.execute([id])?;
            }
            Ok(marked)
        })
    }

    /// The dead letters that wait for their replay, with numbers above `after`, in ascending order: at most `max`, and no more
    /// than `max_bytes` of payload unless the first alone is larger.
    pub fn replays(&self, after: i64, max: usize, max_bytes: usize) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read("read the dead letters", |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} WHERE replay = 1 AND id > ?1 ORDER BY id LIMIT ?2"))?;
            collect(&mut statement, after, max, max_bytes)
        })
    }

    /// Drops dead letters whose replay settled, each with the attempts that it had when it was given. One that was buried again meanwhile
    /// has more, and stays, also when it was asked for again.
    pub fn finish_replay(&self, given: &[(i64, u32)]) -> Result<(), LedgerError> {
        self.change("drop replayed dead letters", |transaction| {
            let mut statement = transaction
                .prepare_cached("DELETE FROM dead_letters WHERE id = ?1 AND attempts = ?2 AND replay = 1")?;
            given.iter().try_for_each(|letter| statement.execute(*letter).map(drop))?;
            Ok(())
        })
    }
}

fn collect(
    statement: &mut Statement<'_>,
    after: i64,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<DeadLetter>, Trouble> {
    let rows = statement.query(params![after, limit(max)])?;
    page::within(max_bytes, rows.and_then(dead_letter), |letter| letter.letter.payload.len())
}

fn dead_letter(row: &Row<'_>) -> Result<DeadLetter, Trouble> {
    let id = row.get(0)?;
    let document: Option<String> = row.get(4)?;
    let document = document.map(|name| DocumentId::new(&name)).transpose().map_err(|error| {
        Trouble::Known(LedgerErrorKind::Corrupt, format!("dead letter {id} names a broken document: {error}"))
    })?;
    let letter = NewDeadLetter {
        source: row.get(2)?,
        position: row.get(3)?,
        document,
        version: row.get::<_, Option<StoredVersion>>(5)?.map(|version| version.0),
        reason: row.get(6)?,
        attempts: row.get(7)?,
        order: row.get::<_, StoredVersion>(8)?.0,
        payload: row.get(9)?,
    };
    Ok(DeadLetter { id, at: row.get(1)?, replay: row.get(10)?, letter })
}

/// Whether any dead letter names a document.
pub(super) fn any_of_a_document(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_letters WHERE document IS NOT NULL)")?
        .query_row([], |row| row.get(0))
}

/// Clears the dead letters of a document that are not newer than what it holds now.
pub(super) fn clear(connection: &Connection, document: &DocumentId, newest: Version) -> rusqlite::Result<()> {
    let mut find = connection
        .prepare_cached("SELECT id, version FROM dead_letters WHERE document = ?1 AND version IS NOT NULL")?;
    let letters = find.query_map([document.as_str()], |row| Ok((row.get(0)?, row.get::<_, StoredVersion>(1)?.0)))?;
    let moot = letters.filter(|letter| !matches!(letter, Ok((_, version)) if *version > newest));
    let moot: Vec<(i64, Version)> = moot.collect::<Result<_, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
    moot.iter().try_for_each(|(id, _)| delete.execute([id]).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::DocumentWrite;
    use crate::ledger::testing::{open, write};

    fn letter(position: &str, payload: &str) -> NewDeadLetter {
        NewDeadLetter {
            source: "files".to_owned(),
            position: position.to_owned(),
            document: None,
            version: None,
            reason: "it is broken".to_owned(),
            payload: payload.as_bytes().to_vec(),
            attempts: 1,
            order: Version::from_nanos(i128::MAX),
        }
    }

    fn of_document(position: &str, version: i128) -> NewDeadLetter {
        let document = Some(DocumentId::new("a").unwrap());
        NewDeadLetter { document, version: Some(Version::from_nanos(version)), ..letter(position, "x") }
    }

    fn ids(letters: &[DeadLetter]) -> Vec<i64> {
        letters.iter().map(|letter| letter.id).collect()
    }

    #[test]
    fn the_same_record_is_kept_once() {
        let (_folder, ledger) = open();
        ledger.bury(&[letter("f:1", "x"), letter("f:1", "y")], 5).unwrap();
        ledger.request_replay(Some(&[1])).unwrap();
        let again = NewDeadLetter { reason: "still broken".to_owned(), attempts: 2, ..letter("f:1", "x") };
        ledger.bury(std::slice::from_ref(&again), 9).unwrap();
        let expected = DeadLetter { id: 1, at: 9, replay: false, letter: NewDeadLetter { attempts: 3, ..again } };
        assert_eq!(ledger.dead_letter(1).unwrap(), Some(expected));
        assert_eq!(ledger.dead_letter_count().unwrap(), 2);
        assert_eq!(ids(&ledger.dead_letters(1, 10).unwrap()), [2]);
    }

    #[test]
    fn a_replay_ends_unless_the_record_failed_again() {
        let (_folder, ledger) = open();
        ledger.bury(&["f:1", "f:2", "f:3"].map(|position| letter(position, "four")), 1).unwrap();
        assert_eq!(ledger.request_replay(Some(&[3])).unwrap(), 1);
        assert_eq!(ledger.request_replay(None).unwrap(), 2);
        assert_eq!(ids(&ledger.replays(0, 10, 8).unwrap()), [1, 2]);
        assert_eq!(ids(&ledger.replays(1, 1, 0).unwrap()), [2]);
        ledger.bury(&[letter("f:2", "four"), letter("f:3", "four")], 2).unwrap();
        assert_eq!(
            ledger.request_replay(Some(&[3])).unwrap(),
            1,
            "asked for again before the first replay is known to be over"
        );
        ledger.finish_replay(&[(1, 1), (2, 1), (3, 1)]).unwrap();
        assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), [2, 3]);
        assert_eq!(ids(&ledger.replays(0, 10, 100).unwrap()), [3]);
        assert_eq!(ledger.drop_dead_letters(&[2, 3, 9]).unwrap(), 2);
        assert_eq!(ledger.dead_letter_count().unwrap(), 0);
    }

    #[test]
    fn a_document_clears_its_letters_that_are_not_newer() {
        let (_folder, ledger) = open();
        ledger
            .bury(&[of_document("f:1", 9), of_document("f:2", 10), of_document("f:3", 11), letter("f:4", "x")], 1)
            .unwrap();
        ledger.write(&[write("b", vec![])]).unwrap();
        ledger.write(&[DocumentWrite { clears: None, ..write("a", vec![]) }]).unwrap();
        assert_eq!(ledger.dead_letter_count().unwrap(), 4);
        ledger.write(&[DocumentWrite { clears: Some(Version::from_nanos(10)), ..write("a", vec![]) }]).unwrap();
        assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), [3, 4]);
    }
}
