//! Whether a name still stands for the file that was opened by it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the open file is at this path now, and no other that took its place.
pub fn is_at(open: &File, path: &Path) -> bool {
    let number = |of: io::Result<Metadata>| of.map(|of| (of.dev(), of.ino())).ok();
    number(open.metadata()).is_some_and(|open| number(fs::metadata(path)) == Some(open))
}
