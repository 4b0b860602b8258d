//! Writing stretches of a large file, around the system's memory where that is possible.
//!
//! What is written the usual way is copied into pages of memory first, which the system has to find, to note and to clean: for
//! vectors that costs more than all else there is to do with them, and pushes out what is worth keeping. What is written directly is
//! not copied, but only whole sectors can be, from memory that begins as a sector does.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

#[cfg(target_os = "linux")]
pub(super) use self::linux::open_direct;

/// At least what any disk of today has, and a page.
const SECTOR: usize = 4096;

/// A file to write to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) file: File,
    /// The same file, opened to be written directly.
    pub(super) direct: Option<File>,
}

impl Target {
    pub(super) fn buffered(file: File) -> Self {
        Self { file, direct: None }
    }

    fn sector(&self) -> usize {
        if self.direct.is_some() { SECTOR } else { 1 }
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) if direct.write_all_at(bytes, offset).is_ok() => Ok(()),
            // A disk may ask something else of direct writes. What is wrong with the disk itself is told now, or when all is synced.
            _ => self.file.write_all_at(bytes, offset),
        }
    }
}

/// What of a stretch is not written yet.
pub(super) struct Stretch {
    memory: Vec<u8>,
    /// Where in `memory` a sector begins, and how much is there from it on.
    start: usize,
    length: usize,
    capacity: usize,
    /// The place of `start` in the file.
    offset: u64,
}

impl Stretch {
    /// Of pieces of at most so many bytes, written when there is no room for another one.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity + 2 * SECTOR;
        let memory = vec![0; capacity + SECTOR];
        let start = memory.as_ptr().addr().wrapping_neg() % SECTOR;
        Self { memory, start, length: 0, capacity, offset: 0 }
    }

    fn extend(&mut self, length: usize) -> &mut [u8] {
        let start = self.start + self.length;
        self.length += length;
        &mut self.memory[start..start + length]
    }

    /// Begins another stretch, here in the file, after the end of the one before.
    pub(super) fn begin(&mut self, target: &Target, offset: u64) -> io::Result<()> {
        let before = (offset % target.sector() as u64) as usize;
        self.offset = offset - before as u64;
        self.extend_with_what_is_there(target, before)
    }

    /// The next bytes of the stretch, to be filled.
    pub(super) fn next(&mut self, target: &Target, length: usize) -> io::Result<&mut [u8]> {
        if self.length + length > self.capacity - SECTOR {
            self.write(target, self.length - self.length % target.sector())?;
        }
        Ok(self.extend(length))
    }

    /// Writes what is left, in whole sectors.
    pub(super) fn end(&mut self, target: &Target) -> io::Result<()> {
        let behind = self.length.next_multiple_of(target.sector()) - self.length;
        self.extend_with_what_is_there(target, behind)?;
        self.write(target, self.length)
    }

    /// Zeros behind the end of the file.
    fn extend_with_what_is_there(&mut self, target: &Target, length: usize) -> io::Result<()> {
        let mut offset = self.offset + self.length as u64;
        let mut rest = self.extend(length);
        rest.fill(0);
        while !rest.is_empty() {
            match target.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => {
                    rest = &mut rest[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, target: &Target, length: usize) -> io::Result<()> {
        let end = self.start + length;
        target.write(&self.memory[self.start..end], self.offset)?;
        self.memory.copy_within(end..self.start + self.length, self.start);
        self.offset += length as u64;
        self.length -= length;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::OFlags;

    /// Opens the file of this path once more, to be written directly; nothing where its file system has no such thing.
    pub(in super::super) fn open_direct(path: &Path, file: &File) -> Option<File> {
        let direct = OFlags::DIRECT.bits().cast_signed();
        let direct = OpenOptions::new().write(true).custom_flags(direct).open(path).ok()?;
        let identity = |file: &File| file.metadata().ok().map(|file| (file.dev(), file.ino()));
        (identity(&direct)? == identity(file)?).then_some(direct)
    }
}

/// Opens the file of this path once more, to be written directly: not known how on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_direct(_: &std::path::Path, _: &File) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever stretches are written, over each other or behind the end: the file holds them, and between them what it held.
        #[test]
        fn a_file_holds_what_was_written_and_around_it_what_it_held(
            before in 0..30_000_usize,
            stretches in vec((any::<prop::sample::Index>(), vec(1..9_000_usize, 1..8)), 1..6),
            directly in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut expected: Vec<u8> = (0..before).map(|place| (place % 251) as u8).collect();
            fs::write(&path, &expected).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let direct = if directly { open_direct(&path, &file) } else { None };
            let target = Target { file, direct };
            let mut stretch = Stretch::new(9_000);
            for (number, (place, lengths)) in (1..).zip(stretches) {
                let mut place = place.index(expected.len() + 1);
                stretch.begin(&target, place as u64).unwrap();
                for length in lengths {
                    stretch.next(&target, length).unwrap().fill(number);
                    expected.resize(expected.len().max(place + length), 0);
                    expected[place..place + length].fill(number);
                    place += length;
                }
                stretch.end(&target).unwrap();
            }
            let mut found = fs::read(&path).unwrap();
            prop_assert!(found.len() >= expected.len());
            prop_assert!(found.drain(expected.len()..).all(|byte| byte == 0), "behind the end of a sector");
            prop_assert!(found == expected);
        }
    }

    #[test]
    fn what_the_disk_does_not_write_directly_is_written_the_usual_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        match open_direct(&path, &file) {
            // No sector: a direct write of it is refused.
            Some(direct) => Target { file, direct: Some(direct) }.write(b"seven77", 5).unwrap(),
            None => return eprintln!("SKIPPED: the file system of {} has no direct writes", path.display()),
        }
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\0\0seven77");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_file_of_the_same_name_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "other").unwrap();
        assert!(open_direct(&path, &file).is_none());
    }
}
