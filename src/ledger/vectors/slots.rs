//! The file of vectors: slots of equal size, written and read by their numbers.
//!
//! A vector is large and never changes, so a database would only copy it: into its log, then into its pages, with a checksum
//! each time. Here it is written once. Which slot holds what is for the database to know; a slot that it does not know of
//! is free, whatever is in it.
//!
//! Header, little-endian: magic (8 bytes), version (4), dimensions (4), mark of the ledger (16), CRC-32 of all before (4).
//! Slot: the numbers (4 each), the tag of its text (8), CRC-32 of all before in it (4). Slot 1 follows the header.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::document::{Fingerprint, Vector, vector};
use crate::same_file::FileId;

const MAGIC: &[u8; 8] = b"VctdVect";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 36;
const TAG_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// Slots read or written at once, in bytes, unless one alone is larger: enough that a call to the system costs little beside
/// the copying, and small enough for the processor's cache.
const BLOCK: usize = 256 * 1024;

/// The number of a slot, from 1.
pub(in crate::ledger) type Slot = u64;

/// Says which ledger a file belongs to: random, and kept in both.
pub(super) type Mark = [u8; 16];

/// What is wrong with the file, as the end of a sentence about it.
pub(super) type Wrong = &'static str;

/// Why the file cannot be used.
#[derive(Debug)]
pub(super) enum SlotError {
    Io(io::Error),
    Wrong(Wrong),
}

impl From<io::Error> for SlotError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const CUT_OFF: Wrong = "is cut off";

/// Where the vector of a text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Place {
    pub(super) slot: Slot,
    pub(super) text: Fingerprint,
}

/// An open file of vectors.
#[derive(Debug)]
pub(super) struct SlotFile {
    file: File,
    id: FileId,
    mark: Mark,
    dimensions: usize,
}

impl SlotFile {
    /// Puts a file without slots in the place of whatever is there, durably.
    pub(super) fn create(path: &Path, mark: Mark, dimensions: usize) -> io::Result<Self> {
        let small = u32::try_from(dimensions).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&small.to_le_bytes());
        header.extend_from_slice(&mark);
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());

        let temporary = path.with_extension("new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        let id = FileId::of(&file.metadata()?);
        Ok(Self { file, id, mark, dimensions })
    }

    /// Opens the file of the ledger with this mark.
    pub(super) fn open(path: &Path, mark: Mark, to_write: bool) -> Result<Self, SlotError> {
        let file = OpenOptions::new().read(true).write(to_write).open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SlotError::Wrong("is missing"),
            _ => SlotError::Io(error),
        })?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => SlotError::Wrong(CUT_OFF),
            _ => SlotError::Io(error),
        })?;
        let id = FileId::of(&file.metadata()?);
        let dimensions = dimensions_of(&header, mark).map_err(SlotError::Wrong)?;
        Ok(Self { file, id, mark, dimensions })
    }

    /// Which file it is.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// How many numbers each vector has.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Refuses a file that is too short for the slots before this one.
    pub(super) fn check_reaches(&self, end: Slot) -> Result<(), SlotError> {
        if self.file.metadata()?.len() < self.offset(end) { Err(SlotError::Wrong(CUT_OFF)) } else { Ok(()) }
    }

    /// The vectors at these places, in their order. Slots that lie side by side are read at once.
    pub(super) fn read(&self, places: &[Place]) -> io::Result<Vec<Result<Vector, Wrong>>> {
        let slot = |index: &usize| places[*index].slot;
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_unstable_by_key(slot);
        let mut vectors = vec![Err(CUT_OFF); places.len()];
        let mut block = Vec::new();
        let at_once = (BLOCK / self.slot_bytes()).max(1);
        for neighbours in order.chunk_by(|one, next| slot(next) - slot(one) <= 1) {
            for indexes in neighbours.chunks(at_once) {
                let (first, last) = (slot(&indexes[0]), slot(&indexes[indexes.len() - 1]));
                block.resize((last - first + 1) as usize * self.slot_bytes(), 0);
                match self.file.read_exact_at(&mut block, self.offset(first)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
                    Err(error) => return Err(error),
                }
                for index in indexes {
                    let start = (slot(index) - first) as usize * self.slot_bytes();
                    vectors[*index] = unpack(&block[start..start + self.slot_bytes()], &places[*index].text);
                }
            }
        }
        Ok(vectors)
    }

    /// The same on another file.
    #[cfg(test)]
    pub(super) fn on(&self, file: File) -> Self {
        Self { file, ..*self }
    }

    fn slot_bytes(&self) -> usize {
        self.dimensions * size_of::<f32>() + TAG_BYTES + CHECKSUM_BYTES
    }

    fn offset(&self, slot: Slot) -> u64 {
        HEADER_BYTES as u64 + (slot - 1) * self.slot_bytes() as u64
    }
}

/// How many numbers the vectors of a file have.
fn dimensions_of(header: &[u8; HEADER_BYTES], ledger: Mark) -> Result<usize, Wrong> {
    const NO_VECTORS: Wrong = "is damaged, or no file of vectors";
    let (header, checksum) = header.split_last_chunk::<CHECKSUM_BYTES>().ok_or(NO_VECTORS)?;
    let (magic, rest) = header.split_first_chunk().ok_or(NO_VECTORS)?;
    let (version, rest) = rest.split_first_chunk().ok_or(NO_VECTORS)?;
    let (dimensions, mark) = rest.split_first_chunk().ok_or(NO_VECTORS)?;
    if magic != MAGIC {
        return Err(NO_VECTORS);
    }
    if u32::from_le_bytes(*version) != VERSION {
        return Err("has a format that this Vectide does not know");
    }
    if crc32fast::hash(header) != u32::from_le_bytes(*checksum) {
        return Err(NO_VECTORS);
    }
    if mark != ledger {
        return Err("belongs to another ledger");
    }
    Ok(u32::from_le_bytes(*dimensions) as usize)
}

fn tag(text: &Fingerprint) -> &[u8] {
    &text.as_bytes()[..TAG_BYTES]
}

fn unpack(slot: &[u8], text: &Fingerprint) -> Result<Vector, Wrong> {
    let (content, checksum) = slot.split_at(slot.len() - CHECKSUM_BYTES);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err("is damaged: the checksum of a vector is wrong");
    }
    let (numbers, found) = content.split_at(content.len() - TAG_BYTES);
    if found != tag(text) {
        return Err("holds the vector of another text where the ledger says that one is");
    }
    vector::from_bytes(numbers).ok_or(CUT_OFF)
}

/// Writes slots, those that lie side by side at once.
pub(super) struct SlotWriter {
    file: Arc<SlotFile>,
    /// Slots that are not written yet, one behind the other. There is room for as many as are written at once.
    block: Vec<u8>,
    /// The first of them.
    start: Slot,
    /// The slot behind the last one.
    next: Slot,
}

impl SlotWriter {
    /// For about this many slots.
    pub(super) fn new(file: Arc<SlotFile>, slots: usize) -> Self {
        let at_once = (BLOCK / file.slot_bytes()).min(slots).max(1);
        let block = Vec::with_capacity(at_once * file.slot_bytes());
        Self { file, block, start: 0, next: 0 }
    }

    pub(super) fn file(&self) -> &SlotFile {
        &self.file
    }

    /// Puts a vector, which has as many numbers as all, into a slot.
    pub(super) fn put(&mut self, place: Place, vector: &[f32]) -> io::Result<()> {
        let is_full = self.block.len() + self.file.slot_bytes() > self.block.capacity();
        if is_full || place.slot != self.next {
            self.end()?;
            self.start = place.slot;
        }
        let before = self.block.len();
        self.block.resize(before + self.file.slot_bytes(), 0);
        let (content, checksum) = self.block[before..].split_at_mut(self.file.slot_bytes() - CHECKSUM_BYTES);
        let (numbers, text) = content.split_at_mut(content.len() - TAG_BYTES);
        let (numbers, _) = numbers.as_chunks_mut();
        // Number by number into a list that grows would take longer than all the rest.
        numbers.iter_mut().zip(vector).for_each(|(bytes, number)| *bytes = number.to_le_bytes());
        text.copy_from_slice(tag(&place.text));
        checksum.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
        self.next = place.slot + 1;
        Ok(())
    }

    /// Writes what is left, and answers once everything is on the disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end()?;
        self.file.file.sync_data()
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.file.file.write_all_at(&self.block, self.file.offset(self.start))?;
            self.block.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::testing::fingerprint;

    const MARK: Mark = [7; 16];

    fn place(slot: Slot, text: &str) -> Place {
        Place { slot, text: fingerprint(text) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is put where, in whatever order, by one writer after the other: each place gives back, to the bit, what was put
        /// there last.
        #[test]
        fn gives_back_what_was_put(
            dimensions in prop_oneof![1..20_usize, 1_000..2_000_usize, Just(20_000)],
            writers in vec(vec((1..40_u64, any::<u64>()), 1..12), 1..5),
            asked in vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("vectors");
            let file = Arc::new(SlotFile::create(&path, MARK, dimensions).unwrap());
            let mut held = std::collections::BTreeMap::new();
            for puts in writers {
                let mut writer = SlotWriter::new(Arc::clone(&file), puts.len());
                for (slot, seed) in puts {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let vector: Vector = (0..dimensions).map(|_| f32::from_bits(random.u32(..))).collect();
                    writer.put(place(slot, "text"), &vector).unwrap();
                    held.insert(slot, vector);
                }
                writer.finish().unwrap();
            }
            let slots: Vec<Slot> = held.keys().copied().collect();
            let asked: Vec<Slot> = asked.iter().map(|index| *index.get(&slots)).collect();
            let places: Vec<Place> = asked.iter().map(|slot| place(*slot, "text")).collect();
            let file = SlotFile::open(&path, MARK, false).unwrap();
            let bits = |vector: &Vector| vector.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            for (slot, vector) in asked.iter().zip(file.read(&places).unwrap()) {
                prop_assert_eq!(bits(&vector.unwrap()), bits(&held[slot]));
            }
        }
    }

    #[test]
    fn a_slot_that_is_torn_cut_off_or_of_another_text_is_told_and_its_neighbours_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        let file = Arc::new(SlotFile::create(&path, MARK, 2).unwrap());
        let mut writer = SlotWriter::new(Arc::clone(&file), 4);
        for (slot, text) in (1..).zip(["a", "torn", "b", "cut off"]) {
            writer.put(place(slot, text), &[1.0, slot as f32]).unwrap();
        }
        writer.finish().unwrap();
        file.file.write_all_at(&[9], file.offset(2) + 3).unwrap();
        file.file.set_len(file.offset(5) - 1).unwrap();
        let wrong = |slot, text| file.read(&[place(slot, text)]).unwrap().remove(0).unwrap_err();
        assert!(wrong(2, "torn").contains("checksum"));
        assert!(wrong(4, "cut off").contains("cut off"));
        assert!(wrong(3, "c").contains("another text"));
        let read = file.read(&[place(3, "b"), place(2, "torn"), place(1, "a")]).unwrap();
        assert_eq!((read[0].clone(), read[2].clone()), (Ok([1.0, 3.0].into()), Ok([1.0, 1.0].into())));
        assert!(read[1].is_err());
        file.check_reaches(4).unwrap();
        assert!(matches!(file.check_reaches(5), Err(SlotError::Wrong(CUT_OFF))));
    }

    #[test]
    fn a_file_that_is_no_file_of_these_vectors_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        let wrong = |mark| match SlotFile::open(&path, mark, false) {
            Err(SlotError::Wrong(wrong)) => wrong,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(MARK), "is missing");
        drop(SlotFile::create(&path, MARK, 2).unwrap());
        assert_eq!(SlotFile::open(&path, MARK, true).unwrap().dimensions(), 2);
        assert_eq!(wrong([8; 16]), "belongs to another ledger");
        let sound = fs::read(&path).unwrap();
        for (place, expected) in [(0, "no file of vectors"), (8, "format"), (12, "is damaged"), (35, "is damaged")] {
            let mut spoilt = sound.clone();
            spoilt[place] ^= 1;
            fs::write(&path, spoilt).unwrap();
            assert!(wrong(MARK).contains(expected), "{place}: {}", wrong(MARK));
        }
        fs::write(&path, &sound[..35]).unwrap();
        assert_eq!(wrong(MARK), CUT_OFF);
    }
}
