//! Which file a name stands for, and whether that is still the file that was opened by it.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file system of a file, and its number there. No other file has it while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    /// Its number in that file system.
    pub inode: u64,
}

impl FileId {
    /// That of the file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// That of the file at this path now. Does not open it.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Whether this file is no longer at this path: there is none, or another took its place. Not where nobody can look.
    pub fn is_gone_from(self, path: &Path) -> bool {
        match Self::at(path) {
            Ok(there) => there != self,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Whether both may be the same file: a file system may have another number after it was mounted anew.
    pub fn may_be(self, other: Self) -> bool {
        self.inode == other.inode
    }
}
