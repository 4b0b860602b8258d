//! What can go wrong with the ledger, in words for the person who runs it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

/// What kind of trouble it is, for callers that retry some and stop at others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerErrorKind {
    /// Another process was writing for too long. Try again.
    Busy,
    /// The disk is full. Nothing was changed; it works again once there is room.
    Full,
    /// The file is damaged, no ledger at all, or gone. No waiting cures it.
    Corrupt,
    /// Another process holds the ledger for writing.
    Locked,
    /// It was written by another Vectide, belongs to another pipeline, or holds an index that would be emptied.
    Schema,
    /// There is no ledger yet.
    Missing,
    /// The index already dropped a point that a write wanted to keep: plan the document again.
    Stale,
    /// Anything else.
    Other,
}

/// What happened, to which file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerError {
    kind: LedgerErrorKind,
    message: String,
}

impl LedgerError {
    /// What kind of trouble it is.
    pub fn kind(&self) -> LedgerErrorKind {
        self.kind
    }

    /// Whether the same call may work later without anybody changing the configuration.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind, LedgerErrorKind::Busy | LedgerErrorKind::Full)
    }

    pub(super) fn new(kind: LedgerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn opened_only(purpose: &str, doing: &str, file: &Path) -> Self {
        let message = format!("cannot {doing}: {} was opened to {purpose} only", file.display());
        Self::new(LedgerErrorKind::Other, message)
    }

    /// What the file system said about the ledger's folder or one of its files.
    pub(super) fn from_io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (LedgerErrorKind::Other, "make the folder writable for this user, or set `state.path` to one that is")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (LedgerErrorKind::Full, FULL),
            io::ErrorKind::FileTooLarge => (LedgerErrorKind::Full, LIMITED),
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                (LedgerErrorKind::Other, "a file is in the way: set `state.path` to a folder")
            }
            _ => (LedgerErrorKind::Other, "check the folder and its disk"),
        };
        Self::new(kind, format!("cannot {doing} {}: {error}; {advice}", path.display()))
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LedgerError {}

/// What a step inside a call met, before it is known which call it was.
#[derive(Debug)]
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    /// With the file of the ledger that it is about.
    Io(PathBuf, io::Error),
    Known(LedgerErrorKind, String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Trouble {
    pub(super) fn explain(self, doing: &str, file: &Path) -> LedgerError {
        let file = file.display();
        let error = match self {
            Self::Sqlite(error) => error,
            Self::Io(path, error) => return LedgerError::from_io(&format!("{doing} in {file}:"), &path, &error),
            Self::Known(kind, message) => {
                return LedgerError::new(kind, format!("cannot {doing} in {file}: {message}"));
            }
        };
        let extended = error.sqlite_error().map(|error| error.extended_code);
        let (kind, advice) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
                LedgerErrorKind::Busy,
                "another process is writing to it: end what has it open for writing, or try again",
            ),
            Some(ErrorCode::DiskFull) => (LedgerErrorKind::Full, FULL),
            // There is no room for the index of the log, which every connection shares.
            _ if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => (LedgerErrorKind::Full, FULL),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
                LedgerErrorKind::Other,
                "make the folder and its files writable for this user, or set `state.path` to another folder",
            ),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (LedgerErrorKind::Corrupt, DAMAGED),
            // A value that no version of Vectide wrote.
            None => (LedgerErrorKind::Corrupt, DAMAGED),
            Some(_) => (LedgerErrorKind::Other, "check the disk and the system log"),
        };
        LedgerError::new(kind, format!("cannot {doing} in {file}: {error}; {advice}"))
    }
}

const FULL: &str = "make room on the disk; nothing was changed, and a process that is running goes on by itself";

const LIMITED: &str = "raise the limit on the size of files (`ulimit -f`; `LimitFSIZE=` of a service of systemd); nothing was changed, and a \
process that is running goes on by itself";

const DAMAGED: &str = "the file is damaged or was not written by Vectide: restore a copy, or move the folder away and run again \
to build the index anew (its texts are embedded again)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_its_kind_and_names_the_file_and_what_to_do() {
        for (code, kind, advice) in [
            (ffi::SQLITE_BUSY, LedgerErrorKind::Busy, "open for writing"),
            (ffi::SQLITE_FULL, LedgerErrorKind::Full, "make room"),
            (ffi::SQLITE_IOERR_SHMSIZE, LedgerErrorKind::Full, "make room"),
            (ffi::SQLITE_READONLY, LedgerErrorKind::Other, "writable for this user"),
            (ffi::SQLITE_CANTOPEN, LedgerErrorKind::Other, "writable for this user"),
            (ffi::SQLITE_CORRUPT, LedgerErrorKind::Corrupt, "restore a copy"),
            (ffi::SQLITE_NOTADB, LedgerErrorKind::Corrupt, "restore a copy"),
            (ffi::SQLITE_IOERR, LedgerErrorKind::Other, "check the disk"),
        ] {
            let trouble = Trouble::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            let error = trouble.explain("write documents", Path::new("data/ledger.sqlite"));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("cannot write documents in data/ledger.sqlite: "), "{error}");
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_told() {
        for (met, kind, advice) in [
            (io::ErrorKind::PermissionDenied, LedgerErrorKind::Other, "make the folder writable"),
            (io::ErrorKind::ReadOnlyFilesystem, LedgerErrorKind::Other, "make the folder writable"),
            (io::ErrorKind::StorageFull, LedgerErrorKind::Full, "make room"),
            (io::ErrorKind::FileTooLarge, LedgerErrorKind::Full, "ulimit"),
            (io::ErrorKind::NotADirectory, LedgerErrorKind::Other, "a file is in the way"),
        ] {
            let error = LedgerError::from_io("create the folder", Path::new("data"), &met.into());
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("cannot create the folder data: "), "{error}");
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}
