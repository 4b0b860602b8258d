//! All files that a scan saw, found by which they are.

use std::collections::HashSet;
use std::path::Path;

use crate::same_file::FileId;
use crate::source::file::scan::Seen;

/// What one scan saw.
pub(super) struct Sight {
    /// In the order of their paths.
    files: Vec<Seen>,
    /// Indices of `files`, in the order of their numbers.
    by_number: Vec<usize>,
    /// The numbers of files that are followed: a scan may miss one that is renamed just then.
    followed: HashSet<u64>,
}

impl Sight {
    /// These files, which are in the order of their paths, while those are followed.
    pub fn of(files: Vec<Seen>, followed: impl Iterator<Item = FileId>) -> Self {
        let mut by_number: Vec<usize> = (0..files.len()).collect();
        by_number.sort_by_key(|&index| files[index].id.inode);
        Self { files, by_number, followed: followed.map(|id| id.inode).collect() }
    }

    /// All of them.
    pub fn files(&self) -> &[Seen] {
        &self.files
    }

    /// Whether a file was seen under this name.
    pub fn has_path(&self, path: &Path) -> bool {
        self.files.binary_search_by(|seen| (*seen.path).cmp(path)).is_ok()
    }

    /// This file, under each of its names.
    pub fn of_file(&self, id: FileId) -> impl Iterator<Item = &Seen> {
        self.numbered(id.inode).filter(move |seen| seen.id == id)
    }

    /// Whether a file was seen, or is followed, that [may be](FileId::may_be) this one.
    pub fn may_have(&self, id: FileId) -> bool {
        self.followed.contains(&id.inode) || self.numbered(id.inode).next().is_some()
    }

    fn numbered(&self, number: u64) -> impl Iterator<Item = &Seen> {
        let number_of = |index: usize| self.files[index].id.inode;
        let first = self.by_number.partition_point(|&index| number_of(index) < number);
        let seen = self.by_number[first..].iter().map(|&index| &self.files[index]);
        seen.take_while(move |seen| seen.id.inode == number)
    }
}
