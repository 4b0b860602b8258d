//! All files that a scan saw, found by their place in the file system.

use crate::source::file::identity::Identity;
use crate::source::file::scan::Seen;

/// What one scan saw.
pub(super) struct Sight {
    /// In the order of their paths.
    files: Vec<Seen>,
    /// Indices of `files`, in the order of their numbers.
    by_number: Vec<usize>,
}

impl Sight {
    /// These files, which are in the order of their paths.
    pub fn of(files: Vec<Seen>) -> Self {
        let mut by_number: Vec<usize> = (0..files.len()).collect();
        by_number.sort_by_key(|&index| files[index].place.1);
        Self { files, by_number }
    }

    /// All of them.
    pub fn files(&self) -> &[Seen] {
        &self.files
    }

    /// The file at this place, under each of its names.
    pub fn at(&self, place: (u64, u64)) -> impl Iterator<Item = &Seen> {
        self.numbered(place.1).filter(move |seen| seen.place == place)
    }

    /// Whether a file was seen that may be this one: its file system may have another number after it was mounted anew.
    pub fn may_have(&self, identity: &Identity) -> bool {
        self.numbered(identity.place().1).any(|seen| identity.is_at(seen.place))
    }

    fn numbered(&self, number: u64) -> impl Iterator<Item = &Seen> {
        let number_of = |index: usize| self.files[index].place.1;
        let first = self.by_number.partition_point(|&index| number_of(index) < number);
        let seen = self.by_number[first..].iter().map(|&index| &self.files[index]);
        seen.take_while(move |seen| seen.place.1 == number)
    }
}
