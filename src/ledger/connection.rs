//! The connections to the file, to write and to read, and whether it is a ledger that this version knows.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{LedgerErrorKind, Trouble};

/// Says that an SQLite file is a ledger of Vectide: "Vctd".
pub(super) const APPLICATION: i32 = 0x5663_7464;
/// The schema that this version writes and reads.
pub(super) const SCHEMA: i32 = 7;
/// Most documents with their texts fit into a page several times. Pages of 8 KiB, measured with a million documents, made changes of random
/// prices a twelfth slower and wrote half as much again; new documents in the order of their ids were 2 % faster.
const PAGE_BYTES: i64 = 4096;
/// When the write-ahead log has this many pages, it is copied into the database. Pages that were written several times are copied once, so
/// a longer log is less work in all; it costs disk space, and time at the next start after a crash.
const CHECKPOINT_PAGES: i64 = 8192;
/// Beyond this many bytes the log is made to start anew.
pub(super) const LOG_BOUND: u64 = 4 * CHECKPOINT_PAGES as u64 * PAGE_BYTES as u64;
/// How long a call waits for another process before it answers that the ledger is busy.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// The page cache of a connection that reads, in KiB: partitions of a topic come a megabyte at a time, each with documents from the same
/// pages as the one before.
const READ_CACHE: i64 = 16 * 1024;
/// The page cache of the connection that writes, in KiB: what one write changes. Four times as much was measured as no faster, since the
/// system caches the file as well.
const CACHE: i64 = 8 * 1024;
/// More than there are statements.
const STATEMENTS: usize = 64;

pub(super) fn connect_to_write(file: &Path, flags: OpenFlags) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // What was answered as written survives a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)?;
    Ok(connection)
}

pub(super) fn connect_to_read(file: &Path) -> Result<Connection, Trouble> {
    // Opened for writing although it never writes: the last to close a ledger tidies its log away, and a log that a crash left
    // can be read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READ_CACHE)?;
    Ok(connection)
}

pub(super) fn check_schema(connection: &Connection) -> Result<(), Trouble> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        // A first run is making it, or was killed before it had.
        let message = "there is nothing in it yet: run `vectide run` first".to_owned();
        return Err(Trouble::Known(LedgerErrorKind::Missing, message));
    }
    if number("application_id")? != APPLICATION {
        let message = "this database was not made by Vectide: set `state.path` to another folder".to_owned();
        return Err(Trouble::Known(LedgerErrorKind::Corrupt, message));
    }
    let schema = number("user_version")?;
    if schema != SCHEMA {
        let message = format!(
            "it has schema {schema}, and this Vectide knows schema {SCHEMA}: run the version that wrote it, or set `state.path` \
             to another folder"
        );
        return Err(Trouble::Known(LedgerErrorKind::Schema, message));
    }
    Ok(())
}
