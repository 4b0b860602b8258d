//! What files are followed, and which names they have: what is seen beside them may be followed too.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::followed::Followed;
use crate::same_file::FileId;
use crate::source::file::scan::Seen;

/// The files that are followed, found by which they are and by name.
#[derive(Default)]
pub(super) struct Taken {
    ids: HashSet<FileId>,
    names: HashSet<PathBuf>,
}

impl Taken {
    /// Those that are followed.
    pub fn by(files: &[Followed]) -> Self {
        let mut taken = Self::default();
        files.iter().for_each(|file| taken.add(file));
        taken
    }

    /// One more is followed.
    pub fn add(&mut self, file: &Followed) {
        self.ids.insert(file.identity.id());
        self.names.insert(file.path.clone());
    }

    /// Whether this file is followed.
    pub fn has(&self, seen: &Seen) -> bool {
        self.ids.contains(&seen.id)
    }

    /// Whether a file that is followed has this name.
    pub fn has_name(&self, path: &Path) -> bool {
        self.names.contains(path)
    }
}
