//! What another system may not have yet.
//!
//! The ledger is ahead of an index in another system: a document is written here first, with a note that the other system may differ from
//! it and how many points it may hold. Then that system is written to, then the note is taken away. A crash in between leaves the note:
//! the document is written again, and what it no longer has is removed, whatever the crash left there.

use rusqlite::{Connection, Row, params};

use crate::document::DocumentId;

use super::Ledger;
use super::documents::{document_id, size};
use super::error::LedgerError;
use super::key_value::{forget_setting, set_setting, setting};
use super::packed::CHUNK_BYTES;
use super::page::{self, limit};

const COLLECTION: &str = "index.collection";
const MARK: &str = "index.collection.mark";

impl Ledger {
    /// Whether it notes what another system lacks: [`Points::Elsewhere`](super::Points::Elsewhere).
    pub fn notes_unwritten(&self) -> bool {
        self.options.is_external()
    }

    /// The documents that the other system may lack, with a number above `after`; ascending by number, which means nothing else. Each with
    /// its number and how many bytes are kept of what was said of it (JSON): at most `max`, and no more than `max_bytes` of these. The
    /// first is given in any case.
    pub fn unwritten_after(
        &self,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(i64, DocumentId, usize)>, LedgerError> {
        self.read("look for unwritten documents", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT unwritten.document, name, octet_length(documents.document)
                 FROM unwritten JOIN documents ON documents.id = unwritten.document
                 WHERE unwritten.document > ?1 ORDER BY unwritten.document LIMIT ?2",
            )?;
            let rows = statement.query(params![after, limit(max)])?;
            let listed = |row: &Row<'_>| Ok((row.get(0)?, document_id(row, 1)?, size(row, 2)?));
            page::within(max_bytes, rows.and_then(listed), |(_, _, bytes)| *bytes)
        })
    }

    /// The highest number that [`Ledger::unwritten_after`] gives; none when the other system lacks nothing.
    pub fn last_unwritten(&self) -> Result<Option<i64>, LedgerError> {
        self.read("look for unwritten documents", |connection| {
            Ok(connection.query_row("SELECT max(document) FROM unwritten", [], |row| row.get(0))?)
        })
    }

    /// The other system has everything of these documents, and nothing else of them.
    pub fn finish_writes(&self, documents: &[DocumentId]) -> Result<(), LedgerError> {
        if documents.is_empty() {
            return Ok(());
        }
        self.change("note what is written", |transaction| {
            let mut forget = transaction
                .prepare_cached("DELETE FROM unwritten WHERE document = (SELECT id FROM documents WHERE name = ?1)")?;
            for id in documents {
                forget.execute([id.as_str()])?;
            }
            Ok(())
        })
    }

    /// How many points the collection must hold: those that are held here, without those that it may not have yet.
    pub fn written_points(&self) -> Result<u64, LedgerError> {
        self.read("count", |connection| {
            let sql = "SELECT max(0, points - (SELECT coalesce(sum(points), 0) FROM unwritten)) FROM counts";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(i64::cast_unsigned))?)
        })
    }

    /// Whether the collection at this place with this mark is the one that has what is held here.
    pub fn is_collection(&self, place: &str, mark: Option<&str>) -> Result<bool, LedgerError> {
        self.read("look for the collection", |connection| {
            Ok(setting(connection, COLLECTION)?.as_deref() == Some(place)
                && setting(connection, MARK)?.as_deref() == mark)
        })
    }

    /// From now on the collection at this place, and no other, is to have what is held here; so far it has nothing of it. The mark tells it
    /// from another at the same place; `None` where the place alone does.
    pub fn set_collection(&self, place: &str, mark: Option<&str>) -> Result<(), LedgerError> {
        self.change("note the collection", |transaction| {
            transaction.execute(
                "INSERT INTO unwritten SELECT id, length(chunks) / ?1 FROM documents WHERE metadata IS NOT NULL
                 ON CONFLICT DO NOTHING",
                [CHUNK_BYTES as i64],
            )?;
            set_setting(transaction, COLLECTION, place)?;
            Ok(match mark {
                Some(mark) => set_setting(transaction, MARK, mark),
                None => forget_setting(transaction, MARK),
            }?)
        })
    }
}

/// The index is no longer in another system. What is left there is not known from now on.
pub(super) fn forget_collection(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM unwritten", [])?;
    forget_setting(connection, COLLECTION)?;
    forget_setting(connection, MARK)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::testing::{chunks_of, held, here, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, Outstanding, Points};

    fn external() -> LedgerOptions {
        LedgerOptions { points: Points::Elsewhere, ..options() }
    }

    fn names(ledger: &Ledger) -> Vec<String> {
        ledger.unwritten_after(0, 100, 1 << 20).unwrap().into_iter().map(|(_, id, _)| id.to_string()).collect()
    }

    fn id(name: &str) -> DocumentId {
        DocumentId::new(name).unwrap()
    }

    #[test]
    fn what_is_written_is_noted_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, external());
        let written =
            ledger.write(&[write("a", vec![here("one"), here("two")]), write("b", vec![here("three")])]).unwrap();
        let whole = |write, chunks| Outstanding { write, points: 0, metadata: true, has: vec![false; chunks] };
        assert_eq!(written.outstanding, [whole(0, 2), whole(1, 1)]);
        assert_eq!(names(&ledger), ["a", "b"]);
        assert!(ledger.documents(&[id("a")]).unwrap().remove(0).unwrap().unwritten);
        ledger.finish_writes(&[id("a")]).unwrap();
        assert_eq!(names(&ledger), ["b"]);
        assert!(!ledger.documents(&[id("a")]).unwrap().remove(0).unwrap().unwritten);
    }

    #[test]
    fn only_what_the_other_system_lacks_is_outstanding() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, external());
        ledger.write(&[write("a", vec![here("one"), here("two")])]).unwrap();
        ledger.finish_writes(&[id("a")]).unwrap();

        assert_eq!(ledger.write(&[write("a", vec![held("one", 1), held("two", 2)])]).unwrap().outstanding, []);
        assert_eq!(ledger.last_unwritten().unwrap(), None, "nothing changed");

        let mut priced = write("a", vec![held("one", 1), held("two", 2)]);
        priced.metadata = Some(r#"{"price":1}"#.to_owned());
        let outstanding = ledger.write(&[priced]).unwrap().outstanding;
        assert_eq!(outstanding, [Outstanding { write: 0, points: 2, metadata: true, has: vec![true, true] }]);
        ledger.finish_writes(&[id("a")]).unwrap();

        // A chunk that moved is another point: its number names it there.
        let mut shorter = write("a", vec![held("two", 2)]);
        shorter.metadata = Some(r#"{"price":1}"#.to_owned());
        let outstanding = ledger.write(&[shorter]).unwrap().outstanding;
        assert_eq!(outstanding, [Outstanding { write: 0, points: 2, metadata: false, has: vec![false] }]);
    }

    #[test]
    fn a_write_that_was_not_finished_is_done_whole_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let first = [write("a", vec![here("one"), here("two"), here("three")])];
        open_with(&folder, external()).write(&first).unwrap();
        let ledger = open_with(&folder, external());
        let outstanding = ledger.write(&[write("a", vec![here("one")])]).unwrap().outstanding;
        assert_eq!(outstanding, [Outstanding { write: 0, points: 3, metadata: false, has: vec![false] }]);
        let outstanding = ledger.write(&[write("a", vec![])]).unwrap().outstanding;
        assert_eq!(outstanding, [Outstanding { write: 0, points: 3, metadata: true, has: vec![] }]);
        ledger.finish_writes(&[id("a")]).unwrap();
        assert_eq!(names(&ledger), [""; 0]);
    }

    #[test]
    fn an_empty_collection_lacks_everything_and_an_index_elsewhere_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, external());
        ledger.write(&[write("a", vec![here("one")]), write("gone", vec![])]).unwrap();
        ledger.finish_writes(&[id("a"), id("gone")]).unwrap();
        assert_eq!(names(&ledger), [""; 0]);
        let all = [("here", Some("first")), ("there", None), ("there", Some("second"))];
        let is = |ledger: &Ledger| all.map(|(place, mark)| ledger.is_collection(place, mark).unwrap());
        for (number, (place, mark)) in all.into_iter().enumerate() {
            ledger.set_collection(place, mark).unwrap();
            assert_eq!(names(&ledger), ["a"]);
            assert_eq!(is(&ledger), [0, 1, 2].map(|each| each == number));
            ledger.finish_writes(&[id("a")]).unwrap();
        }
        ledger.set_collection("there", Some("second")).unwrap();
        drop(ledger);
        drop(open_with(&folder, options()));
        let ledger = open_with(&folder, external());
        assert_eq!(names(&ledger), [""; 0], "deletes may have passed it by meanwhile");
        assert_eq!(is(&ledger), [false; 3]);
    }

    #[test]
    fn what_the_collection_may_lack_is_not_counted_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, external());
        ledger.write(&[write("a", vec![here("one"), here("two")]), write("b", vec![here("three")])]).unwrap();
        assert_eq!(ledger.written_points().unwrap(), 0);
        ledger.finish_writes(&[write("a", vec![]).id]).unwrap();
        assert_eq!(ledger.written_points().unwrap(), 2);
        ledger.set_collection("another", None).unwrap();
        assert_eq!(ledger.written_points().unwrap(), 0);
    }

    /// How many points are noted of a document.
    fn noted(ledger: &Ledger, id: &DocumentId) -> usize {
        let sql = "SELECT points FROM unwritten JOIN documents ON documents.id = unwritten.document WHERE name = ?1";
        let points =
            |connection: &Connection| Ok(connection.query_row(sql, [id.as_str()], |row| row.get::<_, u32>(0))?);
        ledger.read("look", points).unwrap() as usize
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is written, and however far what is outstanding gets each time: a document without a note is there as it is here, and
        /// no point of one with a note is forgotten.
        #[test]
        fn what_the_other_system_holds_is_what_is_held_here_or_noted(
            batches in vec(vec((0..3_usize, vec((0..4_usize, any::<bool>()), 0..4), 0..2_u8, 0..4_u8), 1..4), 1..8),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let ledger = open_with(&folder, external());
            // By document and chunk number: the text and the metadata.
            let mut there = HashMap::<_, BTreeMap<_, _>>::new();
            for batch in batches {
                let (mut writes, mut fates) = (Vec::new(), Vec::new());
                for (document, texts, price, fate) in batch {
                    let id = format!("document {document}");
                    let write = write(&id, chunks_of(&ledger, &id, &texts));
                    writes.push(DocumentWrite { metadata: write.metadata.map(|_| price.to_string()), ..write });
                    fates.push(fate);
                }
                for Outstanding { write, points, metadata, has } in ledger.write(&writes).unwrap().outstanding {
                    let (DocumentWrite { id, metadata: text, chunks, .. }, fate) = (&writes[write], fates[write]);
                    let point = |chunk: usize| (chunks[chunk].fingerprint, text.clone());
                    let there = there.entry(id.clone()).or_default();
                    if fate > 0 {
                        for chunk in (0..has.len()).filter(|chunk| metadata || !has[*chunk]) {
                            let before = there.insert(chunk, point(chunk));
                            let text = before.map(|(fingerprint, _)| fingerprint);
                            prop_assert!(!has[chunk] || text == Some(chunks[chunk].fingerprint), "it is not there");
                        }
                    }
                    if fate > 1 {
                        (has.len()..points).for_each(|chunk| drop(there.remove(&chunk)));
                    }
                    if fate > 2 {
                        ledger.finish_writes(std::slice::from_ref(id)).unwrap();
                    }
                }
                for (id, here) in ledger.scan_documents(None, 100, usize::MAX).unwrap() {
                    let there = there.entry(id.clone()).or_default();
                    if here.unwritten {
                        let noted = noted(&ledger, &id);
                        prop_assert!(there.keys().all(|chunk| *chunk < noted), "{id}: {noted} are noted");
                        continue;
                    }
                    let here = here.chunks.iter().map(|chunk| (chunk.fingerprint, here.metadata.clone()));
                    prop_assert_eq!(&*there, &here.enumerate().collect(), "{}", id);
                }
            }
        }
    }
}
