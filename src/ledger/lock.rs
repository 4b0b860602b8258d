//! One process at a time writes to a ledger's folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind};

/// The file that is locked.
const FILE: &str = "lock";

impl Ledger {
    /// The number of the process that took the lock of this folder last. It may have ended.
    pub fn holder(folder: &Path) -> Option<u32> {
        std::fs::read_to_string(folder.join(FILE)).ok()?.trim().parse().ok()
    }
}

/// Held as long as the ledger is open for writing. The system lets it go when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of this folder, or tells who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let failed = |error: std::io::Error| LedgerError::from_io("lock", &path, &error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held_by_another(folder, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // For people and for the message above; the lock itself does not depend on what is written.
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn held_by_another(folder: &Path, file: &mut File) -> LedgerError {
    let mut text = String::new();
    let process = match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    };
    let folder = folder.display();
    LedgerError::new(
        LedgerErrorKind::Locked,
        format!(
            "{process} is running on {folder}: end it first, or set `state.path` to another folder for this pipeline"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Ledger::holder(folder.path()), None);
        let first = FolderLock::take(folder.path()).unwrap();
        assert_eq!(Ledger::holder(folder.path()), Some(std::process::id()));
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert_eq!(error.kind(), LedgerErrorKind::Locked);
        let expected = [format!("process {}", std::process::id()), folder.path().display().to_string()];
        assert!(expected.iter().all(|part| error.to_string().contains(part)), "{error}");
        drop(first);
        assert!(FolderLock::take(folder.path()).is_ok());
    }
}
