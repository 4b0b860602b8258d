//! Libraries that stand between Vectide and the system.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Builds the library that this file of `tests/faults` is the source of, to be preloaded.
pub fn library(source: &str, folder: &TempDir) -> PathBuf {
    let library = folder.path().join("library.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(source);
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}
