//! Opening the ledger: to write, to read beside a process that writes, or for the few edits that a person asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::lock::FolderLock;
use super::readers::Readers;
use super::settings::{set_setting, setting};
use super::{Ledger, vectors};

/// What a ledger keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOptions {
    /// The pipeline's name: a folder belongs to one pipeline.
    pub pipeline: String,
    /// Whether vectors are kept at all.
    pub store_vectors: bool,
    /// Whether vectors are kept that no point refers to.
    pub persist_vectors: bool,
    /// Whether points are kept: the embedded index searches them. Implies [`LedgerOptions::store_vectors`].
    pub store_points: bool,
}

/// Says that an SQLite file is a ledger of Vectide: "Vctd".
const APPLICATION: i32 = 0x5663_7464;
/// The schema that this version writes and reads.
const SCHEMA: i32 = 1;
/// A vector of 1536 dimensions fills one page with little waste.
const PAGE_BYTES: i64 = 8192;
/// After so many pages the write-ahead log is copied into the database. Pages that were written several times are copied once,
/// so a longer log is less work in all; it costs disk space and time at the next start after a crash.
const CHECKPOINT_PAGES: i64 = 4096;
/// How long a call waits for another process before it answers that the ledger is busy.
const BUSY: Duration = Duration::from_secs(5);
/// Page caches, in KiB.
const WRITER_CACHE: i64 = 32 * 1024;
const READER_CACHE: i64 = 8 * 1024;
/// More than there are statements.
const STATEMENTS: usize = 64;

const FILE: &str = "ledger.sqlite";

impl Ledger {
    /// Opens the ledger of this folder for writing, and makes both when they do not exist. One process at a time can; another is
    /// told who has it.
    pub fn open(folder: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        fs::create_dir_all(folder).map_err(|error| LedgerError::from_io("create the folder", folder, &error))?;
        let lock = FolderLock::take(folder)?;
        let file = folder.join(FILE);
        let options = LedgerOptions { store_vectors: options.store_vectors || options.store_points, ..options };
        let writer = prepare(&file, &options).map_err(|trouble| trouble.explain("open the ledger", &file))?;
        Ok(Self::assemble(folder, options, Some(writer), Some(lock)))
    }

    /// Opens the ledger of this folder to read it, beside a process that writes or without one. Never makes a ledger.
    pub fn open_to_read(folder: &Path) -> Result<Self, LedgerError> {
        let file = existing(folder)?;
        let open = || -> Result<_, Trouble> {
            let connection = connect_to_read(&file)?;
            check_schema(&connection)?;
            recorded_options(&connection)
        };
        let options = open().map_err(|trouble| trouble.explain("open the ledger", &file))?;
        Ok(Self::assemble(folder, options, None, None))
    }

    /// Opens the ledger of this folder to read it and to edit its dead letters, beside a process that writes or without one.
    /// Never makes a ledger.
    pub fn open_to_edit(folder: &Path) -> Result<Self, LedgerError> {
        let file = existing(folder)?;
        let open = || -> Result<_, Trouble> {
            let connection = connect_to_write(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            check_schema(&connection)?;
            Ok((recorded_options(&connection)?, connection))
        };
        let (options, writer) = open().map_err(|trouble| trouble.explain("open the ledger", &file))?;
        Ok(Self::assemble(folder, options, Some(writer), None))
    }

    fn assemble(folder: &Path, options: LedgerOptions, writer: Option<Connection>, lock: Option<FolderLock>) -> Self {
        let file = folder.join(FILE);
        let readers = Readers::new(&file);
        Self { folder: folder.to_owned(), file, options, writer: writer.map(Mutex::new), readers, _lock: lock }
    }
}

fn existing(folder: &Path) -> Result<PathBuf, LedgerError> {
    let file = folder.join(FILE);
    match file.try_exists() {
        Ok(true) => Ok(file),
        Ok(false) => Err(LedgerError::new(
            LedgerErrorKind::Missing,
            format!("there is no ledger in {} yet: run `vectide run` first, or check `state.path`", folder.display()),
        )),
        Err(error) => Err(LedgerError::from_io("look for the ledger", &file, &error)),
    }
}

/// The connection that writes to the ledger of this process.
fn prepare(file: &Path, options: &LedgerOptions) -> Result<Connection, Trouble> {
    let mut connection = connect_to_write(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        set_setting(&transaction, PIPELINE, &options.pipeline)?;
    }
    check_schema(&transaction)?;
    let pipeline = setting(&transaction, PIPELINE)?.unwrap_or_default();
    if pipeline != options.pipeline {
        let message = format!(
            "it belongs to the pipeline `{pipeline}`, and this one is `{}`: set `state.path` to another folder, or name the \
             pipeline as before",
            options.pipeline
        );
        return Err(Trouble::Known(LedgerErrorKind::Schema, message));
    }
    set_setting(&transaction, STORES, &stores(options))?;
    if options.store_points && !options.persist_vectors {
        vectors::keep_only_used(&transaction)?;
    } else {
        vectors::keep_all(&transaction)?;
    }
    transaction.commit()?;
    Ok(connection)
}

const PIPELINE: &str = "ledger.pipeline";
const STORES: &str = "ledger.stores";

fn stores(options: &LedgerOptions) -> String {
    let named = [
        (options.store_vectors, "vectors"),
        (options.persist_vectors, "unused-vectors"),
        (options.store_points, "points"),
    ];
    named.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

fn recorded_options(connection: &Connection) -> Result<LedgerOptions, Trouble> {
    let stores = setting(connection, STORES)?.unwrap_or_default();
    let has = |name| stores.split(' ').any(|stored| stored == name);
    Ok(LedgerOptions {
        pipeline: setting(connection, PIPELINE)?.unwrap_or_default(),
        store_vectors: has("vectors"),
        persist_vectors: has("unused-vectors"),
        store_points: has("points"),
    })
}

fn check_schema(connection: &Connection) -> Result<(), Trouble> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
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

fn connect_to_write(file: &Path, flags: OpenFlags) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // What was answered as written survives a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)?;
    Ok(connection)
}

pub(super) fn connect_to_read(file: &Path) -> Result<Connection, Trouble> {
    // Opened for writing although it never writes: the last to close a ledger tidies its log away, and a log that a crash left
    // can be read. SQLite falls back to reading where the file cannot be written.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE)?;
    Ok(connection)
}
