//! Keeps vectors, each text's once, in one transaction.

use rusqlite::{CachedStatement, Connection, params};

use crate::document::Fingerprint;

use super::bloom::BloomFilter;
use super::file::{Recorded, VectorFile, recorded};
use super::places::{FIND, fill_filter, find, slot};
use super::segment;
use super::slots::{Place, Slot, SlotWriter};
use crate::ledger::error::{LedgerErrorKind, Trouble};
use crate::ledger::page::limit;

/// See the module.
pub(in crate::ledger) struct VectorKeeper<'c> {
    connection: &'c Connection,
    file: &'c VectorFile,
    bloom: &'c BloomFilter,
    find: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    drop_unused: CachedStatement<'c>,
    recorded: Option<Recorded>,
    /// How many vectors are new at most.
    new: usize,
    /// Made for the first new vector.
    writer: Option<SlotWriter>,
    /// Free slots, the lowest first, as many as may be needed, and how many of them are taken.
    free: Vec<Slot>,
    taken: usize,
    /// Slots that this transaction frees.
    freed: Vec<Slot>,
}

impl<'c> VectorKeeper<'c> {
    /// For at most `new` new vectors.
    pub(in crate::ledger) fn new(
        connection: &'c Connection,
        file: &'c VectorFile,
        bloom: &'c BloomFilter,
        new: usize,
    ) -> Result<Self, Trouble> {
        let recorded = recorded(connection)?;
        if bloom.is_worn(recorded.as_ref().map_or(0, |recorded| recorded.next)) {
            fill_filter(connection, bloom)?;
        }
        let mut free = connection.prepare_cached("SELECT slot FROM free_slots ORDER BY slot LIMIT ?1")?;
        let free = free.query_map([limit(new)], slot)?;
        Ok(Self {
            connection,
            file,
            bloom,
            find: connection.prepare_cached(FIND)?,
            insert: connection.prepare_cached("INSERT INTO vectors (id, fingerprint, key) VALUES (?1, ?2, ?3)")?,
            drop_unused: connection.prepare_cached(
                "DELETE FROM vectors WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM points WHERE vector = ?1)",
            )?,
            recorded,
            new,
            writer: None,
            free: free.collect::<Result<_, _>>()?,
            taken: 0,
            freed: Vec::new(),
        })
    }

    /// Keeps the vector of a text unless one is kept already; answers its slot.
    pub(in crate::ledger) fn keep(&mut self, text: &Fingerprint, vector: &[f32]) -> Result<Slot, Trouble> {
        let prefix = segment::prefix(text);
        if let Some(place) = find(&mut self.find, text, self.bloom.segments(prefix))? {
            // Another document has the same text, or had it.
            return Ok(place.slot);
        }
        let unused = self.recorded.as_ref().map_or(1, |recorded| recorded.next);
        let free = self.free.get(self.taken).copied();
        let place = Place { slot: free.unwrap_or(unused), text: *text };
        let segment = segment::of(place.slot);
        self.insert.execute(params![place.slot.cast_signed(), text.as_bytes(), segment::key(segment, prefix)])?;
        self.bloom.add(prefix, segment);
        let put = self.writer(vector.len())?.put(place, vector);
        put.map_err(|error| self.file.explain(error))?;
        match &mut self.recorded {
            Some(recorded) if free.is_none() => recorded.next += 1,
            _ => self.taken += 1,
        }
        Ok(place.slot)
    }

    fn writer(&mut self, dimensions: usize) -> Result<&mut SlotWriter, Trouble> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let file = match &self.recorded {
                    Some(recorded) => self.file.with_mark(recorded.mark),
                    None => {
                        let mark = fastrand::u128(..).to_le_bytes();
                        self.recorded = Some(Recorded { mark, next: 1 });
                        self.file.create(mark, dimensions)
                    }
                };
                SlotWriter::new(file.map_err(|error| self.file.explain(error))?, self.new)
            }
        };
        let held = writer.file().dimensions();
        if held != dimensions {
            let message = format!(
                "a vector has {dimensions} numbers, and those that are kept have {held}: use the embedding model that they were made \
                 with, or set `state.path` to another folder"
            );
            return Err(Trouble::Known(LedgerErrorKind::Other, message));
        }
        Ok(self.writer.insert(writer))
    }

    /// Drops a vector that no point refers to. Needs the index that [`super::keep_only_used`] makes.
    pub(in crate::ledger) fn drop_if_unused(&mut self, slot: Slot) -> rusqlite::Result<()> {
        if self.drop_unused.execute([slot.cast_signed()])? == 1 {
            self.freed.push(slot);
        }
        Ok(())
    }

    /// To be called before the commit: answers once the new vectors are on the disk.
    pub(in crate::ledger) fn finish(self) -> Result<(), Trouble> {
        if let (Some(writer), Some(recorded)) = (self.writer, &self.recorded) {
            writer.finish().map_err(|error| self.file.explain(error))?;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO vector_file VALUES (1, ?1, ?2)")?
                .execute(params![recorded.mark, recorded.next.cast_signed()])?;
        }
        if let Some(last) = self.free[..self.taken].last() {
            self.connection.prepare_cached("DELETE FROM free_slots WHERE slot <= ?1")?.execute([last.cast_signed()])?;
        }
        let mut insert = self.connection.prepare_cached("INSERT INTO free_slots VALUES (?1)")?;
        self.freed.iter().try_for_each(|slot| insert.execute([slot.cast_signed()]).map(drop))?;
        Ok(())
    }
}
