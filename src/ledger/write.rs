//! Writing documents: their state, their vectors and their points, all in one transaction.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use crate::document::{DocumentId, Fingerprint, Vector};

use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::packed::Chunks;
use super::vectors::VectorKeeper;
use super::{HeldChunk, Ledger, LedgerOptions, Moot, PointKey, TakenRecord, dead_letters};

/// How many bytes a row must lose to be written to another place. Less is not worth two writes to the indexes of the table.
const WORTH_MOVING: usize = 256;

/// What the ledger and the index shall hold of one document from now on.
#[derive(Debug)]
pub struct DocumentWrite {
    /// Which document.
    pub id: DocumentId,
    /// [`Document::to_json`](crate::document::Document::to_json) of the merged state, made where there is time for it.
    pub document: String,
    /// The newest record that it was made of; `None` where that is not known, or some of it lost against what the
    /// document knew.
    pub record: Option<TakenRecord>,
    /// The dead letters of this document that it makes moot, and clears. `None` for a document that was rejected, which clears none: its
    /// own may be among them.
    pub clears: Option<Moot>,
    /// The metadata beside the vectors, as canonical JSON text; `None` takes the document out of the index.
    pub metadata: Option<String>,
    /// All chunks in order. Points that are not kept by one of them are removed. Without metadata they get no points; their vectors
    /// are kept where vectors outlive points.
    pub chunks: Vec<ChunkWrite>,
}

impl DocumentWrite {
    /// For a document that cannot be in the index: what was said of it is kept, and the vectors of the chunks that were paid for.
    pub fn out_of_index(id: DocumentId, document: String, chunks: Vec<ChunkWrite>) -> Self {
        Self { id, document, record: None, clears: None, metadata: None, chunks }
    }
}

/// One chunk of a [`DocumentWrite`].
#[derive(Debug, Clone)]
pub struct ChunkWrite {
    /// The text that it is made from.
    pub fingerprint: Fingerprint,
    /// Where its vector is.
    pub vector: VectorSource,
}

impl ChunkWrite {
    /// Its vector, where the ledger may not have it yet.
    pub(super) fn new_vector(&self) -> Option<&Vector> {
        match &self.vector {
            VectorSource::Here(vector) => Some(vector),
            VectorSource::Held(_) => None,
        }
    }
}

/// Where the vector of a chunk is.
#[derive(Debug, Clone)]
pub enum VectorSource {
    /// In the index already, under this point of the same document.
    Held(PointKey),
    /// Here.
    Here(Vector),
}

/// What a write did to the points.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// New points, ascending by key.
    pub added: Vec<NewPoint>,
    /// Points that are gone.
    pub removed: Vec<PointKey>,
    /// With [`Points::Elsewhere`](super::Points::Elsewhere): what the other system lacks now. Noted until [`Ledger::finish_writes`].
    pub outstanding: Vec<Outstanding>,
}

/// A point that a write added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPoint {
    /// Its name.
    pub key: PointKey,
    /// Index into the writes.
    pub write: usize,
    /// Index into the chunks of that write.
    pub chunk: usize,
}

/// What another system lacks of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// Index into the writes.
    pub write: usize,
    /// It may hold the chunks below this number: those that the document no longer has must go.
    pub points: usize,
    /// Whether the points that it has must get their metadata anew.
    pub metadata: bool,
    /// By chunk number, whether it has the point with this vector.
    pub has: Vec<bool>,
}

impl Ledger {
    /// Makes the ledger hold these documents, in one durable transaction: all or nothing. Writing the same again changes nothing.
    /// When a document appears twice, the later counts. Dead letters of a document that are not newer than it are cleared.
    ///
    /// A chunk whose point is held keeps it, also when it moves to another place in the document; a point that no chunk keeps
    /// is removed.
    pub fn write(&self, writes: &[DocumentWrite]) -> Result<Written, LedgerError> {
        if writes.is_empty() {
            return Ok(Written::default());
        }
        let doing = "write documents";
        let bloom = self.bloom(doing)?;
        let last: HashMap<&str, usize, RandomState> =
            writes.iter().enumerate().map(|(index, write)| (write.id.as_str(), index)).collect();
        let new: Vec<&Vector> =
            writes.iter().flat_map(|write| &write.chunks).filter_map(ChunkWrite::new_vector).collect();
        if let Some(vector) = new.first().filter(|_| self.options.keeps_vectors()) {
            self.make_way_for(vector)?;
        }
        self.change(doing, |transaction| {
            let vectors = VectorKeeper::new(transaction, &self.vectors, bloom, new.len())?;
            let mut writing = Writing::begin(transaction, &self.options, vectors)?;
            for (index, write) in writes.iter().enumerate() {
                if last[write.id.as_str()] == index {
                    writing.document(index, write)?;
                }
            }
            fault_point!("documents written"?);
            writing.finish()
        })
    }
}

/// A row of `documents` as it was before the write.
struct Before {
    row: i64,
    indexed: bool,
    chunks: Vec<HeldChunk>,
    /// How much it holds: what was said of the document, its metadata and its chunks.
    bytes: usize,
    same_metadata: bool,
    /// How many points another system may hold, when it is not known to have what is held here.
    unwritten: Option<usize>,
}

/// One transaction of writes.
struct Writing<'t> {
    transaction: &'t Transaction<'t>,
    options: &'t LedgerOptions,
    select_document: CachedStatement<'t>,
    insert_document: CachedStatement<'t>,
    update_document: CachedStatement<'t>,
    delete_document: CachedStatement<'t>,
    insert_point: CachedStatement<'t>,
    move_point: CachedStatement<'t>,
    delete_point: CachedStatement<'t>,
    note_unwritten: CachedStatement<'t>,
    vectors: VectorKeeper<'t>,
    /// Whether any dead letter names a document: mostly none does, and nothing has to be looked up.
    letters: bool,
    next_point: PointKey,
    /// What is added to each of the `counts`.
    documents: i64,
    indexed: i64,
    points: i64,
    written: Written,
    /// Reused from document to document.
    packed: Vec<u8>,
}

impl<'t> Writing<'t> {
    fn begin(
        transaction: &'t Transaction<'t>,
        options: &'t LedgerOptions,
        vectors: VectorKeeper<'t>,
    ) -> Result<Self, Trouble> {
        let next_point: i64 =
            transaction.prepare_cached("SELECT next_point FROM counts")?.query_row([], |row| row.get(0))?;
        let outstanding = if options.is_external() {
            "metadata IS ?2, (SELECT points FROM unwritten WHERE document = documents.id)"
        } else {
            "?2 IS NULL, NULL"
        };
        Ok(Self {
            transaction,
            options,
            select_document: transaction.prepare_cached(&format!(
                "SELECT id, metadata IS NOT NULL, chunks,
                 octet_length(document) + octet_length(chunks) + coalesce(octet_length(metadata), 0), {outstanding}
                 FROM documents WHERE name = ?1"
            ))?,
            // Both take the same values: id, name, metadata, record, chunks, document. Without an id a row gets the next one.
            insert_document: transaction.prepare_cached("INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?,
            update_document: transaction.prepare_cached(
                "UPDATE documents SET metadata = ?3, record = ?4, chunks = ?5, document = ?6 WHERE id = ?1",
            )?,
            delete_document: transaction.prepare_cached("DELETE FROM documents WHERE id = ?1")?,
            insert_point: transaction.prepare_cached("INSERT INTO points VALUES (?1, ?2, ?3, ?4)")?,
            move_point: transaction.prepare_cached("UPDATE points SET chunk = ?2 WHERE key = ?1")?,
            delete_point: transaction.prepare_cached("DELETE FROM points WHERE key = ?1 RETURNING vector")?,
            note_unwritten: transaction.prepare_cached("INSERT OR REPLACE INTO unwritten VALUES (?1, ?2)")?,
            vectors,
            letters: dead_letters::any_of_a_document(transaction)?,
            next_point: next_point.cast_unsigned(),
            documents: 0,
            indexed: 0,
            points: 0,
            written: Written::default(),
            packed: Vec::new(),
        })
    }

    fn document(&mut self, index: usize, write: &DocumentWrite) -> Result<(), Trouble> {
        let before = self.before(write)?;
        let held = before.as_ref().map_or(&[][..], |before| &before.chunks);
        let wanted = if write.metadata.is_some() { &write.chunks[..] } else { &[] };
        let (chunks, gone) = self.assign_keys(write, wanted, held)?;

        Chunks::pack(&chunks, &mut self.packed);
        let metadata = write.metadata.as_deref();
        let record = write.record.filter(|_| metadata.is_some());
        let bytes = write.document.len() + self.packed.len() + metadata.map_or(0, str::len);
        let row = before.as_ref().map(|before| before.row);
        let values = params![row, write.id.as_str(), metadata, record, self.packed, write.document];
        match &before {
            None => {
                self.insert_document.execute(values)?;
                self.documents += 1;
            }
            // A row that is only updated leaves its page as empty as it makes it, for good: documents that come and are deleted would take
            // their full size for ever. Where a row is deleted SQLite fills pages that are nearly empty from their neighbours.
            Some(before) if bytes + WORTH_MOVING <= before.bytes => {
                self.delete_document.execute([before.row])?;
                self.insert_document.execute(values)?;
            }
            Some(_) => {
                self.update_document.execute(values)?;
            }
        }
        let row = row.unwrap_or_else(|| self.transaction.last_insert_rowid());
        self.indexed += i64::from(metadata.is_some()) - i64::from(before.as_ref().is_some_and(|before| before.indexed));
        self.points += chunks.len() as i64 - held.len() as i64;

        self.place_points(index, row, wanted, &chunks, held)?;
        if metadata.is_none() && self.options.persist_vectors {
            // Paid for, for a document that was rejected for another of its chunks.
            for chunk in &write.chunks {
                if let Some(vector) = chunk.new_vector() {
                    self.vectors.keep(&chunk.fingerprint, vector)?;
                }
            }
        }
        if self.options.keeps_points() {
            self.remove_points(&gone)?;
        }
        if self.options.is_external() {
            self.note_outstanding(index, row, before.as_ref(), &chunks)?;
        }
        self.written.removed.extend(gone);
        if let Some(moot) = write.clears.filter(|_| self.letters) {
            dead_letters::clear(self.transaction, &write.id, moot)?;
        }
        Ok(())
    }

    /// Notes what the other system lacks before it is written to, so that a crash in the middle leaves no point there that is forgotten
    /// here.
    fn note_outstanding(
        &mut self,
        write: usize,
        row: i64,
        before: Option<&Before>,
        chunks: &[HeldChunk],
    ) -> Result<(), Trouble> {
        let held = before.map_or(&[][..], |before| &before.chunks);
        let unwritten = before.and_then(|before| before.unwritten);
        let known =
            |number: usize| unwritten.is_none() && held.get(number).is_some_and(|held| held.key == chunks[number].key);
        let has: Vec<bool> = (0..chunks.len()).map(known).collect();
        let points = unwritten.unwrap_or_default().max(held.len());
        let metadata = before.is_none_or(|before| !before.same_metadata);
        if unwritten.is_none()
            && held.len() == chunks.len()
            && !has.contains(&false)
            && (!metadata || chunks.is_empty())
        {
            return Ok(());
        }
        self.note_unwritten.execute(params![row, points.max(chunks.len()) as i64])?;
        self.written.outstanding.push(Outstanding { write, points, metadata, has });
        Ok(())
    }

    fn before(&mut self, write: &DocumentWrite) -> Result<Option<Before>, Trouble> {
        let metadata = write.metadata.as_deref().filter(|_| self.options.is_external());
        let before = self.select_document.query_row(params![write.id.as_str(), metadata], |row| {
            Ok(Before {
                row: row.get(0)?,
                indexed: row.get(1)?,
                chunks: row.get::<_, Chunks>(2)?.0,
                bytes: row.get::<_, i64>(3)?.cast_unsigned() as usize,
                same_metadata: row.get(4)?,
                unwritten: row.get::<_, Option<i64>>(5)?.map(|points| points.cast_unsigned() as usize),
            })
        });
        Ok(before.optional()?)
    }

    /// The chunks with their keys, and the keys that none of them keeps.
    fn assign_keys(
        &mut self,
        write: &DocumentWrite,
        wanted: &[ChunkWrite],
        held: &[HeldChunk],
    ) -> Result<(Vec<HeldChunk>, Vec<PointKey>), Trouble> {
        let mut free: HashMap<PointKey, Fingerprint, RandomState> =
            held.iter().map(|chunk| (chunk.key, chunk.fingerprint)).collect();
        for chunk in wanted {
            if let VectorSource::Held(key) = chunk.vector
                && free.remove(&key) != Some(chunk.fingerprint)
            {
                let message = format!("document `{}` holds no point {key} of that text any more", write.id);
                return Err(Trouble::Known(LedgerErrorKind::Stale, message));
            }
        }
        let mut chunks = Vec::with_capacity(wanted.len());
        for (number, chunk) in wanted.iter().enumerate() {
            let fingerprint = chunk.fingerprint;
            let same_place = held.get(number).filter(|held| held.fingerprint == fingerprint).map(|held| held.key);
            let key = match chunk.vector {
                VectorSource::Held(key) => key,
                // Written before: a write that is repeated changes nothing.
                VectorSource::Here(_) => match same_place.filter(|key| free.remove(key).is_some()) {
                    Some(key) => key,
                    None => {
                        self.next_point += 1;
                        self.next_point - 1
                    }
                },
            };
            chunks.push(HeldChunk { fingerprint, key });
        }
        let gone = held.iter().map(|chunk| chunk.key).filter(|key| free.contains_key(key)).collect();
        Ok((chunks, gone))
    }

    /// Writes the rows of new points and their vectors, and the new place of those that moved.
    fn place_points(
        &mut self,
        index: usize,
        row: i64,
        wanted: &[ChunkWrite],
        chunks: &[HeldChunk],
        held: &[HeldChunk],
    ) -> Result<(), Trouble> {
        for (number, (wanted, chunk)) in wanted.iter().zip(chunks).enumerate() {
            if held.get(number).is_some_and(|held| held.key == chunk.key) {
                continue;
            }
            let (key, place) = (chunk.key.cast_signed(), number as i64);
            match &wanted.vector {
                VectorSource::Held(_) if self.options.keeps_points() => {
                    self.move_point.execute(params![key, place])?;
                }
                VectorSource::Held(_) => {}
                VectorSource::Here(vector) => {
                    if self.options.keeps_vectors() {
                        let vector = self.vectors.keep(&chunk.fingerprint, vector)?;
                        if self.options.keeps_points() {
                            self.insert_point.execute(params![key, row, place, vector.cast_signed()])?;
                        }
                    }
                    self.written.added.push(NewPoint { key: chunk.key, write: index, chunk: number });
                }
            }
        }
        Ok(())
    }

    fn remove_points(&mut self, gone: &[PointKey]) -> Result<(), Trouble> {
        for key in gone {
            let vector: Option<i64> = self.delete_point.query_row([key.cast_signed()], |row| row.get(0)).optional()?;
            if let Some(vector) = vector
                && !self.options.persist_vectors
            {
                self.vectors.drop_if_unused(vector.cast_unsigned())?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Written, Trouble> {
        self.vectors.finish()?;
        fault_point!("vectors written"?);
        let mut update = self.transaction.prepare_cached(
            "UPDATE counts SET next_point = ?1, documents = documents + ?2, indexed = indexed + ?3, points = points + ?4",
        )?;
        update.execute(params![self.next_point.cast_signed(), self.documents, self.indexed, self.points])?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;
    use crate::ledger::Points;
    use crate::ledger::testing::{chunks_of, fingerprint, held, here, open, open_with, options, vector, write};

    fn new((key, write, chunk): (PointKey, usize, usize)) -> NewPoint {
        NewPoint { key, write, chunk }
    }

    #[test]
    fn adds_keeps_moves_and_removes_points() {
        let (_folder, ledger) = open();
        let first = ledger.write(&[write("a", vec![here("one"), here("two")]), write("b", vec![here("one")])]).unwrap();
        assert_eq!(first, Written { added: [(1, 0, 0), (2, 0, 1), (3, 1, 0)].map(new).to_vec(), ..Written::default() });

        let second = ledger.write(&[write("a", vec![here("new"), held("one", 1)])]).unwrap();
        assert_eq!(second, Written { added: vec![new((4, 0, 0))], removed: vec![2], ..Written::default() });
        let owners = ledger.resolve(&[4, 1, 2]).unwrap();
        let chunks: Vec<_> = owners.iter().map(|owner| owner.as_ref().map(|owner| owner.chunk)).collect();
        assert_eq!(chunks, [Some(0), Some(1), None]);

        let third = ledger.write(&[write("a", vec![])]).unwrap();
        assert_eq!(third, Written { removed: vec![4, 1], ..Written::default() });
        assert_eq!(ledger.points_after(0, 10).unwrap(), [(3, vector("one"))]);
    }

    #[test]
    fn a_repeated_write_changes_nothing_and_the_later_of_two_counts() {
        let (_folder, ledger) = open();
        let twice = [write("a", vec![here("old")]), write("a", vec![here("one"), here("one")])];
        assert_eq!(ledger.write(&twice).unwrap().added, [(1, 1, 0), (2, 1, 1)].map(new));
        assert_eq!(ledger.write(&twice).unwrap(), Written::default());
        assert_eq!(ledger.vectors(&[fingerprint("old")]).unwrap(), [None]);
    }

    #[test]
    fn what_was_paid_for_a_rejected_document_is_kept_without_points() {
        for persist_vectors in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let ledger = open_with(&folder, LedgerOptions { persist_vectors, ..options() });
            let rejected = DocumentWrite { metadata: None, ..write("a", vec![here("paid")]) };
            assert_eq!(ledger.write(&[rejected]).unwrap(), Written::default());
            let kept = ledger.vectors(&[fingerprint("paid")]).unwrap().remove(0);
            assert_eq!(kept, persist_vectors.then(|| vector("paid")));
            assert_eq!(ledger.counts().unwrap().points, 0);
        }
    }

    #[test]
    fn a_point_that_is_gone_or_of_another_text_cannot_be_kept() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        for chunks in [vec![held("one", 9)], vec![held("other", 1)], vec![held("one", 1), held("one", 1)]] {
            let error = ledger.write(&[write("b", vec![here("two")]), write("a", chunks)]).unwrap_err();
            assert_eq!(error.kind(), LedgerErrorKind::Stale);
            assert_eq!(ledger.counts().unwrap().documents, 1, "all or nothing");
        }
    }

    fn pages(ledger: &Ledger) -> i64 {
        let count = |connection: &Connection| Ok(connection.pragma_query_value(None, "page_count", |row| row.get(0))?);
        ledger.read("count pages", count).unwrap()
    }

    #[test]
    fn documents_that_come_and_are_deleted_or_cut_short_take_no_more_room_every_day() {
        const DAYS: usize = 20;
        const A_DAY: usize = 40;
        type State<'a> = (usize, &'a [&'a str]);
        let [whole, short, deleted]: [State; 3] = [(3_000, &["one", "two"]), (60, &["one"]), (60, &[])];
        for (fate, states) in [
            ("deleted", &[deleted][..]),
            ("cut short", &[short]),
            ("deleted, made again and deleted", &[deleted, whole, deleted]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let ledger =
                open_with(&folder, LedgerOptions { persist_vectors: false, points: Points::Elsewhere, ..options() });
            let become_of = |day: usize, (bytes, texts): State| {
                // Not in the order in which they came.
                let ids = (0..A_DAY).map(|number| format!("{day}-{}", number * 7 % A_DAY));
                let chunks = || texts.iter().map(|text| here(text)).collect();
                let write = |id: String| DocumentWrite { document: "x".repeat(bytes), ..write(&id, chunks()) };
                ledger.write(&ids.map(write).collect::<Vec<_>>()).unwrap();
            };
            let mut after_a_week = 0;
            for day in 0..DAYS {
                become_of(day, whole);
                if let Some(yesterday) = day.checked_sub(1) {
                    states.iter().for_each(|state| become_of(yesterday, *state));
                }
                if day == 6 {
                    after_a_week = pages(&ledger);
                }
            }
            let grown = pages(&ledger) - after_a_week;
            assert!(grown < A_DAY as i64, "{fate}: {after_a_week} pages and {grown} more: a page per document");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// After any writes the ledger holds what a map would, and its points are exactly the chunks of its documents.
        #[test]
        fn holds_what_a_map_would(
            batches in vec(vec((0..4_usize, vec((0..5_usize, any::<bool>()), 0..4)), 1..4), 1..8),
            persist_vectors in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let ledger = open_with(&folder, LedgerOptions { persist_vectors, ..options() });
            let mut model: HashMap<String, Vec<Fingerprint>> = HashMap::new();
            for batch in batches {
                let mut writes = Vec::new();
                for (document, texts) in batch {
                    let id = format!("document {document}");
                    let write = write(&id, chunks_of(&ledger, &id, &texts));
                    model.insert(id, write.chunks.iter().map(|chunk| chunk.fingerprint).collect());
                    writes.push(write);
                }
                ledger.write(&writes).unwrap();
            }
            let mut points = Vec::new();
            for (id, document) in ledger.scan_documents(None, 100, usize::MAX).unwrap() {
                let chunks: Vec<_> = document.chunks.iter().map(|chunk| chunk.fingerprint).collect();
                prop_assert_eq!(Some(chunks), model.remove(id.as_str()));
                for (number, chunk) in document.chunks.iter().enumerate() {
                    let owner = ledger.resolve(&[chunk.key]).unwrap().remove(0).unwrap();
                    prop_assert_eq!((owner.document, owner.chunk), (id.clone(), number));
                    let vector = ledger.vectors_of(&[chunk.key]).unwrap().remove(0);
                    prop_assert!(vector.is_some());
                    prop_assert_eq!(vector, ledger.vectors(&[chunk.fingerprint]).unwrap().remove(0));
                    points.push(chunk.key);
                }
            }
            prop_assert!(model.is_empty());
            points.sort_unstable();
            prop_assert_eq!(ledger.point_count().unwrap(), points.len() as u64);
            prop_assert_eq!(ledger.point_keys_after(0, 1000).unwrap(), points);
        }
    }
}
