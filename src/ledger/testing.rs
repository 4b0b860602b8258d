//! What the tests of the ledger share.

use tempfile::TempDir;

use crate::document::fingerprint::Fingerprinter;
use crate::document::{Fingerprint, Vector};

use super::{Ledger, LedgerOptions};

pub(super) fn options() -> LedgerOptions {
    LedgerOptions { pipeline: "test".to_owned(), store_vectors: true, persist_vectors: true, store_points: true }
}

/// A new ledger; the folder goes when it is dropped.
pub(super) fn open() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path(), options()).unwrap();
    (folder, ledger)
}

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    Fingerprinter::new("test").of(text)
}

/// A vector that tells its text.
pub(super) fn vector(text: &str) -> Vector {
    text.bytes().map(f32::from).collect()
}
