//! What a ledger was opened for, and what is there to do it with.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::lock::FolderLock;
use super::vectors::BloomFilter;
use super::wal::LogBound;

#[derive(Debug)]
pub(super) enum Access {
    /// To be read.
    Read,
    /// For the few edits that a person asks for, beside a process that writes.
    Edit(Mutex<Writer>),
    /// For everything. One process at a time.
    Write {
        // Dropped in this order: the writer closes first and tidies the log away before the lock is let go.
        writer: Mutex<Writer>,
        /// Knows every vector, so nobody else may write one.
        bloom: BloomFilter,
        _lock: FolderLock,
    },
}

impl Access {
    pub(super) fn write(connection: Connection, file: &Path, lock: FolderLock) -> Self {
        Self::Write { writer: Writer::new(connection, file), bloom: BloomFilter::default(), _lock: lock }
    }

    pub(super) fn edit(connection: Connection, file: &Path) -> Self {
        Self::Edit(Writer::new(connection, file))
    }

    pub(super) fn writer(&self) -> Option<&Mutex<Writer>> {
        match self {
            Self::Read => None,
            Self::Edit(writer) | Self::Write { writer, .. } => Some(writer),
        }
    }

    pub(super) fn bloom(&self) -> Option<&BloomFilter> {
        match self {
            Self::Read | Self::Edit(_) => None,
            Self::Write { bloom, .. } => Some(bloom),
        }
    }

    /// Completes the message "was opened to ... only".
    pub(super) fn purpose(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Edit(_) => "read and to edit its dead letters",
            Self::Write { .. } => "write",
        }
    }
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) log: LogBound,
}

impl Writer {
    fn new(connection: Connection, file: &Path) -> Mutex<Self> {
        Mutex::new(Self { connection, log: LogBound::new(file) })
    }
}
