//! Records that could not be processed, kept until a person replays or drops them or a newer version makes them moot.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use sha2::{Digest, Sha256};

use crate::document::{Document, DocumentId, Version};

use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::page::{self, limit};
use super::{HeldDocument, Ledger, documents};

const COLUMNS: &str = r#"SELECT id, at, source, position, document, version, reason, attempts, "order", payload, replay, taken_in FROM dead_letters"#;

/// Payload read at once: a page of large records must fit into memory.
const PAGE_BYTES: usize = 32 << 20;

/// Which dead letters of a document a write of it makes moot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moot {
    /// Those up to this version whose change is part of the document.
    pub taken_in: Version,
    /// Those up to this version whose change never was: an upsert or a deletion that is not older has replaced whatever it said. A patch
    /// has not: what another record says of other fields is lost with its letter.
    pub replaced: Option<Version>,
}

impl Moot {
    /// What this state of a document makes moot.
    pub fn by(document: &Document) -> Self {
        Self { taken_in: document.newest(), replaced: document.replaced() }
    }

    /// What an upsert of this version makes moot.
    pub fn up_to(version: Version) -> Self {
        Self { taken_in: version, replaced: Some(version) }
    }
}

/// What a dead letter says: a record that could not be processed, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The source's name in the configuration.
    pub source: String,
    /// Where in the source, as a person would look it up.
    pub position: String,
    /// The document, where the record told it.
    pub document: Option<DocumentId>,
    /// The change's version, where the record told it.
    pub version: Option<Version>,
    /// Why, in one sentence.
    pub reason: String,
    /// The record's bytes as the source gave them.
    pub payload: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// The version that the source's own order gives it; used again when it is replayed.
    pub order: Version,
    /// Whether its change is part of the document, which is only not in the index.
    pub taken_in: bool,
}

impl Letter {
    /// Whether there is a record in it. There is none of a document that was only looked at again.
    fn has_record(&self) -> bool {
        !self.payload.is_empty()
    }
}

/// A record in the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// When it last failed, Unix milliseconds.
    pub at: i64,
    /// Whether it waits to go through the pipeline again.
    pub replay: bool,
    /// What it says.
    pub letter: Letter,
}

impl Ledger {
    /// Puts records among the dead letters. The same bytes at the same place of a source are kept once: burying them again adds
    /// to the attempts, renews the reason and the time, and takes a replay back. Of two orders it has the later, and of two versions for
    /// one document: a file that was written anew gave the record again, behind all that came in between. What is part of its document
    /// stays so when it is refused now, and its letter stands for that document whatever id is read in it. What the document makes moot as
    /// it is held is not kept, as if it had been buried before.
    ///
    /// A letter without a record, of a document that was only looked at again, is kept only while no letter with a record stands for the
    /// document: else that one gets its reason and its attempts.
    pub fn bury(&self, letters: &[Letter], at_ms: i64) -> Result<(), LedgerError> {
        if letters.is_empty() {
            return Ok(());
        }
        self.change("keep dead letters", |transaction| {
            for letter in letters {
                if !renew_its_own(transaction, letter, at_ms)? {
                    keep(transaction, letter, at_ms)?;
                }
                if let Some(id) = letter.document.as_ref().filter(|_| letter.taken_in && letter.has_record()) {
                    drop_those_without_record(transaction, id)?;
                }
            }
            // Once each: a document may be large, and the letters that name it many.
            let documents: BTreeSet<_> = letters.iter().filter_map(|letter| letter.document.as_ref()).collect();
            for id in documents {
                if let Some(document) = at_rest(transaction, id)? {
                    clear(transaction, id, Moot::by(&document))?;
                }
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
    /// has more, and stays, also when it was asked for again. So does one whose document is refused all the same: under another
    /// configuration its record was ignored, or said something of another document.
    pub fn finish_replay(&self, given: &[(i64, u32)]) -> Result<(), LedgerError> {
        self.change("drop replayed dead letters", |transaction| {
            let mut taken_in = transaction.prepare_cached(
                "SELECT document FROM dead_letters
                 WHERE id = ?1 AND attempts = ?2 AND replay = 1 AND taken_in AND document IS NOT NULL",
            )?;
            let mut keep = transaction.prepare_cached("UPDATE dead_letters SET replay = 0 WHERE id = ?1")?;
            let mut drop_it = transaction
                .prepare_cached("DELETE FROM dead_letters WHERE id = ?1 AND attempts = ?2 AND replay = 1")?;
            for letter in given {
                let document =
                    taken_in.query(*letter)?.next()?.map(|row| documents::document_id(row, 0)).transpose()?;
                let held = document.map(|id| documents::look_up(transaction, &id)).transpose()?.flatten();
                if held.is_some_and(|held| is_refused(&held)) {
                    keep.execute([letter.0])?;
                } else {
                    drop_it.execute(*letter)?;
                }
            }
            Ok(())
        })
    }
}

/// Renews the letter with a record that stands for the document of a letter without one, or does nothing. Whether there is one.
fn renew_its_own(connection: &Connection, letter: &Letter, at_ms: i64) -> rusqlite::Result<bool> {
    let Some(document) = letter.document.as_ref().filter(|_| !letter.has_record()) else { return Ok(false) };
    let mut renew = connection.prepare_cached(
        "UPDATE dead_letters SET at = ?2, reason = ?3, attempts = attempts + ?4, replay = 0 WHERE id =
             (SELECT max(id) FROM dead_letters WHERE document = ?1 AND taken_in = 1 AND octet_length(payload) > 0)",
    )?;
    Ok(renew.execute(params![document.as_str(), at_ms, letter.reason, letter.attempts])? > 0)
}

/// Drops the letters without a record: one with a record stands for the document from now on.
fn drop_those_without_record(connection: &Connection, document: &DocumentId) -> rusqlite::Result<()> {
    let mut drop =
        connection.prepare_cached("DELETE FROM dead_letters WHERE document = ?1 AND octet_length(payload) = 0")?;
    drop.execute([document.as_str()])?;
    Ok(())
}

/// Keeps a letter, or renews the one of the same bytes at the same place.
fn keep(connection: &Connection, letter: &Letter, at_ms: i64) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached(
        r#"SELECT "order", version FROM dead_letters WHERE source = ?1 AND position = ?2 AND hash = ?3"#,
    )?;
    let mut statement = connection.prepare_cached(
        r#"INSERT INTO dead_letters
               (at, source, position, document, version, reason, attempts, "order", hash, payload, taken_in)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
           ON CONFLICT (source, position, hash) DO UPDATE SET
               at = excluded.at, reason = excluded.reason, attempts = attempts + excluded.attempts, replay = 0,
               "order" = excluded."order", taken_in = max(taken_in, excluded.taken_in),
               document = iif(excluded.taken_in < taken_in, document, excluded.document),
               version = iif(excluded.taken_in < taken_in AND excluded.document IS NOT document, version, excluded.version)"#,
    )?;
    let hash = Sha256::digest(&letter.payload);
    let place = params![letter.source, letter.position, hash.as_slice()];
    let versions = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let before: Option<(Version, Option<Version>)> = known.query_row(place, versions).optional()?;
    let (order, version) = before.unwrap_or((letter.order, None));
    statement.execute(params![
        at_ms,
        letter.source,
        letter.position,
        letter.document.as_ref().map(DocumentId::as_str),
        letter.version.max(version),
        letter.reason,
        letter.attempts,
        order.max(letter.order),
        hash.as_slice(),
        letter.payload,
        letter.taken_in,
    ])?;
    Ok(())
}

fn collect(
    statement: &mut Statement<'_>,
    after: i64,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<DeadLetter>, Trouble> {
    let rows = statement.query(params![after, limit(max)])?;
    page::within(max_bytes, rows.and_then(dead_letter), |dead| dead.letter.payload.len())
}

fn dead_letter(row: &Row<'_>) -> Result<DeadLetter, Trouble> {
    let id = row.get(0)?;
    let document: Option<String> = row.get(4)?;
    let document = document.map(|name| DocumentId::new(&name)).transpose().map_err(|error| {
        Trouble::Known(LedgerErrorKind::Corrupt, format!("dead letter {id} names a broken document: {error}"))
    })?;
    let letter = Letter {
        source: row.get(2)?,
        position: row.get(3)?,
        document,
        version: row.get(5)?,
        reason: row.get(6)?,
        attempts: row.get(7)?,
        order: row.get(8)?,
        payload: row.get(9)?,
        taken_in: row.get(11)?,
    };
    Ok(DeadLetter { id, at: row.get(1)?, replay: row.get(10)?, letter })
}

/// Whether any dead letter names a document.
pub(super) fn any_of_a_document(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_letters WHERE document IS NOT NULL)")?
        .query_row([], |row| row.get(0))
}

/// Whether a document that has fields is out of the index because a change of it was refused.
fn is_refused(held: &HeldDocument) -> bool {
    held.buried && held.document.has_fields()
}

/// A document that is in the index as it is, or has nothing to be there.
fn at_rest(connection: &Connection, id: &DocumentId) -> Result<Option<Document>, Trouble> {
    let held = documents::look_up(connection, id)?.filter(|held| !held.unwritten && !is_refused(held));
    Ok(held.map(|held| held.document))
}

/// Clears the dead letters of a document that are moot now.
pub(super) fn clear(connection: &Connection, document: &DocumentId, moot: Moot) -> rusqlite::Result<()> {
    let mut find = connection
        .prepare_cached("SELECT id, version, taken_in FROM dead_letters WHERE document = ?1 AND version IS NOT NULL")?;
    let letters = find.query_map([document.as_str()], |row| {
        let (version, taken_in) = (row.get::<_, Version>(1)?, row.get(2)?);
        let until = if taken_in { Some(moot.taken_in) } else { moot.replaced };
        Ok((row.get::<_, i64>(0)?, until.is_some_and(|until| version <= until)))
    })?;
    let letters: Vec<(i64, bool)> = letters.collect::<Result<_, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
    letters.iter().filter(|(_, moot)| *moot).try_for_each(|(id, _)| delete.execute([id]).map(drop))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, Operation, Version};
    use crate::ledger::DocumentWrite;
    use crate::ledger::testing::{here, open, write};

    fn letter(position: &str, payload: &str) -> Letter {
        Letter {
            source: "files".to_owned(),
            position: position.to_owned(),
            document: None,
            version: None,
            reason: "it is broken".to_owned(),
            payload: payload.as_bytes().to_vec(),
            attempts: 1,
            order: Version::from_nanos(i128::MAX),
            taken_in: true,
        }
    }

    fn of_document(position: &str, version: i128) -> Letter {
        let document = Some(DocumentId::new("a").unwrap());
        Letter { document, version: Some(Version::from_nanos(version)), ..letter(position, "x") }
    }

    fn ids(letters: &[DeadLetter]) -> Vec<i64> {
        letters.iter().map(|letter| letter.id).collect()
    }

    #[test]
    fn the_same_record_is_kept_once() {
        let (_folder, ledger) = open();
        ledger.bury(&[letter("f:1", "x"), letter("f:1", "y")], 5).unwrap();
        ledger.request_replay(Some(&[1])).unwrap();
        let again = Letter { reason: "still broken".to_owned(), attempts: 2, ..letter("f:1", "x") };
        ledger.bury(std::slice::from_ref(&again), 9).unwrap();
        let expected = DeadLetter { id: 1, at: 9, replay: false, letter: Letter { attempts: 3, ..again } };
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

    /// As JSON text: what one change of this version makes.
    fn said(operation: Operation, version: i128, fields: serde_json::Value) -> String {
        let (id, version) = (DocumentId::new("a").unwrap(), Version::from_nanos(version));
        let fields = fields.as_object().unwrap().clone();
        Document::from(Change { id, operation, version, fields, priority: 0, immediate: false }).to_json()
    }

    fn upserted(version: i128, fields: serde_json::Value) -> String {
        said(Operation::Upsert, version, fields)
    }

    #[test]
    fn a_replay_that_says_nothing_of_a_document_that_is_refused_leaves_it_its_letter() {
        let (_folder, ledger) = open();
        let never_taken_in = Letter { taken_in: false, ..of_document("f:2", 6) };
        let boots = json!({ "title": "boots" });
        for (document, left) in [(upserted(5, boots), &[1][..]), (upserted(5, json!({})), &[])] {
            ledger.write(&[DocumentWrite { document, clears: None, ..write("a", vec![]) }]).unwrap();
            ledger.bury(&[of_document("f:1", 6), never_taken_in.clone()], 1).unwrap();
            ledger.request_replay(None).unwrap();
            let given: Vec<_> = ledger.replays(0, 10, 100).unwrap().into_iter().map(|dead| (dead.id, 1)).collect();
            ledger.finish_replay(&given).unwrap();
            assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), left);
            assert!(ledger.replays(0, 10, 100).unwrap().is_empty(), "it is not tried again and again");
            ledger.drop_dead_letters(&[1]).unwrap();
        }
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
        ledger
            .write(&[DocumentWrite { clears: Some(Moot::up_to(Version::from_nanos(10))), ..write("a", vec![]) }])
            .unwrap();
        assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), [3, 4]);
    }

    #[test]
    fn what_is_part_of_its_document_stays_so_when_it_is_refused_later_and_goes_with_the_next_version() {
        let (_folder, ledger) = open();
        let refused = |document: Option<&str>, version: Option<i128>| Letter {
            document: document.map(|id| DocumentId::new(id).unwrap()),
            version: version.map(Version::from_nanos),
            reason: "unknown event type".to_owned(),
            taken_in: false,
            ..of_document("f:1", 5)
        };
        for again in [refused(Some("a"), Some(5)), refused(Some("b"), Some(9)), refused(None, None)] {
            ledger.bury(&[of_document("f:1", 5), again.clone()], 1).unwrap();
            let letter = ledger.dead_letters(0, 1).unwrap().remove(0).letter;
            assert_eq!(letter, Letter { reason: again.reason, attempts: 2, ..of_document("f:1", 5) });
            let clears = Some(Moot { taken_in: Version::from_nanos(6), replaced: None });
            ledger.write(&[DocumentWrite { clears, ..write("a", vec![here("boots")]) }]).unwrap();
            assert_eq!(ledger.dead_letter_count().unwrap(), 0);
            ledger.write(&[write("a", vec![])]).unwrap();
        }
    }

    #[test]
    fn what_comes_again_behind_newer_changes_and_is_refused_is_not_moot_by_these() {
        let (_folder, ledger) = open();
        let again = Letter { taken_in: false, order: Version::from_nanos(9), ..of_document("f:1", 9) };
        ledger.bury(&[Letter { order: Version::from_nanos(5), ..of_document("f:1", 5) }, again], 1).unwrap();
        for (newest, left) in [(8, 1), (9, 0)] {
            let clears = Some(Moot { taken_in: Version::from_nanos(newest), replaced: None });
            ledger.write(&[DocumentWrite { clears, ..write("a", vec![here("boots")]) }]).unwrap();
            assert_eq!(ledger.dead_letter_count().unwrap(), left);
        }
    }

    #[test]
    fn what_was_never_taken_in_is_moot_only_once_all_of_its_document_was_replaced() {
        let (_folder, ledger) = open();
        let refused = Letter { taken_in: false, ..of_document("f:1", 5) };
        ledger.bury(&[refused, of_document("f:2", 5)], 1).unwrap();
        let patched = |version, replaced: Option<i128>| {
            let replaced = replaced.map(Version::from_nanos);
            let clears = Some(Moot { taken_in: Version::from_nanos(version), replaced });
            ledger.write(&[DocumentWrite { clears, ..write("a", vec![]) }]).unwrap();
            ids(&ledger.dead_letters(0, 10).unwrap())
        };
        assert_eq!(patched(6, None), [1]);
        assert_eq!(patched(7, Some(4)), [1]);
        assert!(patched(8, Some(5)).is_empty());
    }

    #[test]
    fn a_change_that_a_newer_one_has_brought_into_the_index_is_not_buried_after_it() {
        let (_folder, ledger) = open();
        let document = |version| upserted(version, json!({ "title": "boots" }));
        let late = Letter { taken_in: true, ..of_document("f:1", 5) };
        let bury = |letter: &Letter| {
            ledger.bury(std::slice::from_ref(letter), 1).unwrap();
            ledger.dead_letter_count().unwrap()
        };
        ledger.write(&[DocumentWrite { document: document(5), ..write("a", vec![]) }]).unwrap();
        assert_eq!(bury(&late), 1, "it is not in the index");
        ledger.write(&[DocumentWrite { document: document(6), ..write("a", vec![here("boots")]) }]).unwrap();
        assert_eq!(bury(&late), 0);
        assert_eq!(bury(&Letter { taken_in: true, ..of_document("f:2", 7) }), 1, "it is newer");
        assert_eq!(bury(&Letter { taken_in: false, ..late }), 1, "an upsert has replaced what it said");
        assert_eq!(bury(&Letter { taken_in: false, ..of_document("f:3", 7) }), 2, "nothing has what it said");
    }

    #[test]
    fn what_was_never_taken_in_is_kept_or_not_whichever_was_first_it_or_what_replaces_it() {
        let boots = json!({ "title": "boots" });
        let (upsert, patch) = (upserted(6, boots.clone()), said(Operation::Patch, 6, boots));
        let moot = Some(Moot::up_to(Version::from_nanos(6)));
        let of_patch = moot.map(|moot| Moot { replaced: None, ..moot });
        let cases = [
            ("in the index", &upsert, vec![here("boots")], moot, 0),
            ("without a text", &upsert, vec![], moot, 0),
            ("refused", &upsert, vec![], None, 2),
            ("patched", &patch, vec![here("boots")], of_patch, 1),
        ];
        for (case, document, chunks, clears, left) in cases {
            for is_first in [true, false] {
                let (_folder, ledger) = open();
                let bury = || ledger.bury(&[Letter { taken_in: false, ..of_document("f:1", 5) }], 1).unwrap();
                if is_first {
                    bury();
                }
                let (document, chunks) = (document.clone(), chunks.clone());
                ledger.write(&[DocumentWrite { document, clears, ..write("a", chunks) }]).unwrap();
                if clears.is_none() {
                    ledger.bury(&[of_document("f:2", 6)], 1).unwrap();
                }
                if !is_first {
                    bury();
                }
                assert_eq!(ledger.dead_letter_count().unwrap(), left, "{case}, its letter first: {is_first}");
            }
        }
    }

    #[test]
    fn which_letter_of_a_document_comes_first_in_a_write_decides_nothing() {
        let letters = [Letter { taken_in: false, ..of_document("f:1", 5) }, of_document("f:2", 6)];
        let [first, second] = letters.clone();
        for letters in [letters, [second, first]] {
            let (_folder, ledger) = open();
            let document = upserted(6, json!({ "title": "boots" }));
            ledger.write(&[DocumentWrite { document, clears: None, ..write("a", vec![]) }]).unwrap();
            ledger.bury(&letters, 1).unwrap();
            assert_eq!(ledger.dead_letter_count().unwrap(), 2, "the document is refused");
        }
    }

    #[test]
    fn a_document_that_is_only_looked_at_again_has_no_letter_beside_that_of_its_record() {
        let (_folder, ledger) = open();
        let looked_at_again = |source: &str, reason: &str| Letter {
            source: source.to_owned(),
            reason: reason.to_owned(),
            payload: vec![],
            ..of_document("a", 0)
        };
        let bury = |letter: Letter, at| {
            ledger.bury(&[letter], at).unwrap();
            let letters = ledger.dead_letters(0, 10).unwrap().into_iter();
            letters.map(|dead| (dead.id, dead.at, dead.letter.reason, dead.letter.attempts)).collect::<Vec<_>>()
        };
        let is = |id, at, reason: &str, attempts| (id, at, reason.to_owned(), attempts);
        let refused = Letter { taken_in: false, ..of_document("f:1", 4) };
        let refused = [bury(refused, 1), vec![is(2, 2, "its text is empty", 1)]].concat();
        assert_eq!(bury(looked_at_again("replan", "its text is empty"), 2), refused, "nothing has what the other said");

        let of_record = |at, reason: &str, attempts| vec![refused[0].clone(), is(3, at, reason, attempts)];
        assert_eq!(bury(of_document("f:2", 5), 3), of_record(3, "it is broken", 1));
        ledger.request_replay(Some(&[3])).unwrap();
        assert_eq!(bury(looked_at_again("replan", "too long"), 4), of_record(4, "too long", 2));
        assert_eq!(bury(looked_at_again("rewrite", "its text is empty"), 5), of_record(5, "its text is empty", 3));
        let dead = ledger.dead_letter(3).unwrap().unwrap();
        assert_eq!((dead.replay, dead.letter.position.as_str(), &dead.letter.payload[..]), (false, "f:2", &b"x"[..]));
    }

    #[test]
    fn a_record_that_comes_again_has_its_later_place_in_the_order() {
        let (_folder, ledger) = open();
        let at = |order: i128| Letter { order: Version::from_nanos(order), ..of_document("f:2", order) };
        for (order, expected) in [(100, 100), (300, 300), (200, 300)] {
            ledger.bury(&[at(order)], 1).unwrap();
            let letter = ledger.dead_letter(1).unwrap().unwrap().letter;
            let expected = Version::from_nanos(expected);
            assert_eq!((letter.order, letter.version), (expected, Some(expected)));
        }
    }
}
