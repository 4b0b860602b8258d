//! Opening the ledger: to write, to read beside a process that writes, or for the few edits that a person asks for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::SetOnce;

use super::access::Access;
use super::connection::{APPLICATION, SCHEMA, check_schema, connect_to_read, connect_to_write};
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::key_value::{PLAN, set_setting, setting};
use super::lock::FolderLock;
use super::options::{LedgerOptions, PIPELINE, STORES, check_options, recorded_options, stores};
use super::readers::Readers;
use super::vectors::VectorFile;
use super::{Ledger, journal, points, unwritten, vectors};
use crate::same_file::FileId;

const FILE: &str = "ledger.sqlite";

impl Ledger {
    /// Opens the ledger of this folder for writing, and makes both when they do not exist. One process at a time can; another is
    /// told who has it.
    ///
    /// A ledger of an index is not opened without [points](LedgerOptions::points). One that was written without gets its points when every
    /// document is planned again.
    pub fn open(folder: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        create_durably(folder).map_err(|error| LedgerError::from_io("create the folder", folder, &error))?;
        let lock = FolderLock::take(folder)?;
        let file = folder.join(FILE);
        let writer = prepare(&file, &options).map_err(|trouble| trouble.explain("open the ledger", &file))?;
        let access = Access::write(writer, &file, lock);
        Self::assemble(folder, options, access, Readers::new(&file))
    }

    /// Opens the ledger of this folder to read it, beside a process that writes or without one. Never makes a ledger.
    pub fn open_to_read(folder: &Path) -> Result<Self, LedgerError> {
        let file = existing(folder)?;
        let open = || -> Result<_, Trouble> {
            let connection = connect_to_read(&file)?;
            check_schema(&connection)?;
            Ok((recorded_options(&connection)?, connection))
        };
        let (options, connection) = open().map_err(|trouble| trouble.explain("open the ledger", &file))?;
        let readers = Readers::new(&file);
        // Were it closed, the last to close would tidy the log away, only to make it again.
        readers.keep(connection);
        Self::assemble(folder, options, Access::Read, readers)
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
        Self::assemble(folder, options, Access::edit(writer, &file), Readers::new(&file))
    }

    fn assemble(folder: &Path, options: LedgerOptions, access: Access, readers: Readers) -> Result<Self, LedgerError> {
        let file = folder.join(FILE);
        let id = FileId::at(&file).map_err(|error| LedgerError::from_io("look for the ledger", &file, &error))?;
        let vectors = VectorFile::new(folder, access.bloom().is_some());
        let (folder, damage) = (folder.to_owned(), SetOnce::default());
        let ledger = Self {
            folder,
            file,
            id,
            options,
            readers,
            vectors,
            access,
            damage,
            health: Arc::default(),
            patience: Mutex::default(),
            underway: Arc::default(),
        };
        ledger.check_vectors()?;
        ledger.fill_bloom()?;
        Ok(ledger)
    }
}

/// Makes the folder and those above it that are not there. A new name is on the disk only when the folder that it stands in was
/// synchronised: without that, losing power could take the whole ledger.
fn create_durably(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(|parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()
    })
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
    check_options(&transaction, options)?;
    if options.keeps_points() && !recorded_options(&transaction)?.keeps_points() {
        points::forget_index(&transaction)?;
    }
    if !options.is_external() {
        unwritten::forget_collection(&transaction)?;
    }
    set_setting(&transaction, STORES, &stores(options))?;
    if options.keeps_points() && !options.persist_vectors {
        vectors::keep_only_used(&transaction)?;
        // While not every document was planned with what is configured, those that are not used yet may be.
        if setting(&transaction, PLAN)?.is_some() {
            vectors::drop_unused(&transaction)?;
        }
    } else {
        vectors::keep_all(&transaction)?;
    }
    vectors::forget_empty_file(&transaction)?;
    journal::drop_settled(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::document::DocumentId;
    use crate::ledger::testing::{copy, fingerprint, here, open, open_with, options, vector, write};
    use crate::ledger::{DocumentWrite, NewPoint, Points};

    fn kind(result: Result<Ledger, LedgerError>) -> (LedgerErrorKind, String) {
        let error = result.unwrap_err();
        (error.kind(), error.to_string())
    }

    #[test]
    fn a_second_process_is_refused_and_may_read_and_edit() {
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        assert_eq!(kind(Ledger::open(folder.path(), options())).0, LedgerErrorKind::Locked);

        let reader = Ledger::open_to_read(folder.path()).unwrap();
        assert_eq!(reader.counts().unwrap().documents, 1);
        ledger.write(&[write("b", vec![here("two")])]).unwrap();
        assert_eq!(reader.counts().unwrap().documents, 2);
        let error = reader.set_setting("a", "b").unwrap_err();
        assert!(error.to_string().ends_with("was opened to read only"), "{error}");

        let editor = Ledger::open_to_edit(folder.path()).unwrap();
        assert_eq!(editor.request_replay(None).unwrap(), 0);
        for (opened, only) in
            [(&reader, "was opened to read only"), (&editor, "was opened to read and to edit its dead letters only")]
        {
            let error = opened.write(&[write("c", vec![here("three")])]).unwrap_err();
            assert!(error.to_string().ends_with(only), "{error}");
        }
        drop((reader, editor));
        ledger.write(&[write("c", vec![])]).unwrap();
    }

    #[test]
    fn reading_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        for result in [Ledger::open_to_read(&nowhere), Ledger::open_to_edit(&nowhere)] {
            let (kind, message) = kind(result);
            assert_eq!(kind, LedgerErrorKind::Missing);
            assert!(message.contains("vectide run"), "{message}");
        }
        assert!(!nowhere.exists());
    }

    #[test]
    fn a_ledger_that_was_never_made_to_its_end_is_none_yet() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "").unwrap();
        for result in [Ledger::open_to_read(folder.path()), Ledger::open_to_edit(folder.path())] {
            let (kind, message) = kind(result);
            assert_eq!(kind, LedgerErrorKind::Missing);
            assert!(message.contains("nothing in it yet"), "{message}");
        }
        Ledger::open(folder.path(), options()).unwrap();
    }

    #[test]
    fn a_graceful_end_leaves_both_files_and_the_lock() {
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        ledger.counts().unwrap();
        drop(ledger);
        let reader = Ledger::open_to_read(folder.path()).unwrap();
        assert_eq!(reader.counts().unwrap().documents, 1);
        drop(reader);
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ledger.sqlite", "lock", "vectors.bin"]);
    }

    #[test]
    fn what_was_answered_is_there_after_a_crash() {
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        // What is on the disk at this moment is what a killed process leaves.
        for opened in ["write", "read"] {
            let crashed = tempfile::tempdir().unwrap();
            copy(&folder, &crashed, &["ledger.sqlite", "ledger.sqlite-wal", "vectors.bin"]);
            let ledger = match opened {
                "write" => open_with(&crashed, options()),
                _ => Ledger::open_to_read(crashed.path()).unwrap(),
            };
            let held = ledger.documents(&[DocumentId::new("a").unwrap()]).unwrap();
            assert_eq!(held[0].as_ref().unwrap().chunks.len(), 1, "{opened}");
            assert_eq!(ledger.points_after(0, 9).unwrap().len(), 1, "{opened}");
        }
    }

    #[test]
    fn what_is_no_ledger_of_this_pipeline_is_refused() {
        let other = LedgerOptions { pipeline: "other".to_owned(), ..options() };
        let newer = |file: &Path| Connection::open(file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let foreign = |file: &Path| {
            fs::remove_file(file).unwrap();
            Connection::open(file).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        };
        let garbage = |file: &Path| fs::write(file, vec![7; 20_000]).unwrap();
        let nothing = |_: &Path| {};
        type Case<'a> = (&'a str, fn(&Path), LedgerOptions, LedgerErrorKind);
        let cases: [Case; 4] = [
            ("pipeline `test`", nothing, other, LedgerErrorKind::Schema),
            ("schema 99", newer, options(), LedgerErrorKind::Schema),
            ("not made by Vectide", foreign, options(), LedgerErrorKind::Corrupt),
            ("damaged", garbage, options(), LedgerErrorKind::Corrupt),
        ];
        for (expected, spoil, options, kind_expected) in cases {
            let (folder, ledger) = open();
            drop(ledger);
            spoil(&folder.path().join(FILE));
            let (kind, message) = kind(Ledger::open(folder.path(), options));
            assert_eq!(kind, kind_expected, "{message}");
            assert!(message.contains(expected) && message.contains(FILE), "{message}");
        }
    }

    #[test]
    fn a_file_that_is_removed_while_it_is_open_is_told() {
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        assert_eq!(ledger.damaged().now_or_never(), None);
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let error = ledger.write(&[write("b", vec![here("two")])]).unwrap_err();
        assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
        assert!(error.to_string().contains("removed, moved away or replaced"), "{error}");
        assert_eq!(ledger.damaged().now_or_never(), Some(error));
    }

    #[test]
    fn a_file_that_is_replaced_while_it_is_open_is_told() {
        for replaced in [FILE, "vectors.bin"] {
            let [(folder, ledger), (other, others)] = [open(), open()];
            ledger.write(&[write("a", vec![here("one")])]).unwrap();
            others.write(&[write("a", vec![here("one")])]).unwrap();
            drop(others);
            fs::rename(other.path().join(replaced), folder.path().join(replaced)).unwrap();
            let error = ledger.write(&[write("b", vec![here("two")])]).unwrap_err();
            assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
            for part in [replaced, "removed, moved away or replaced"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            assert_eq!(ledger.damaged().now_or_never(), Some(error));
        }
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (kind, message) = kind(Ledger::open(file.path(), options()));
        assert_eq!(kind, LedgerErrorKind::Other);
        assert!(message.contains("state.path"), "{message}");
    }

    #[test]
    fn a_ledger_of_an_index_is_not_opened_without_points() {
        let (folder, ledger) = open();
        let discard = LedgerOptions { points: Points::Nowhere, ..options() };
        assert_eq!(ledger.check_options(&discard), Ok(()), "nothing is in it");
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        let looked = ledger.check_options(&discard).unwrap_err();
        drop(ledger);
        let refused = Ledger::open(folder.path(), discard).err().unwrap();
        assert_eq!((refused.kind(), looked.to_string()), (LedgerErrorKind::Schema, refused.to_string()));
        for part in ["an index of 1 document,", "`index.type: discard`", "`state.path`"] {
            assert!(refused.to_string().contains(part), "{refused}");
        }
        assert_eq!(open_with(&folder, options()).points_after(0, 9).unwrap(), [(1, vector("one"))]);
    }

    #[test]
    fn an_index_after_none_starts_empty() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, LedgerOptions { points: Points::Nowhere, ..options() });
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        ledger.set_setting(PLAN, "planned").unwrap();
        drop(ledger);
        let ledger = open_with(&folder, options());
        let counts = ledger.counts().unwrap();
        assert_eq!((counts.documents, counts.indexed, counts.points), (1, 0, 0));
        assert_eq!(ledger.setting(PLAN).unwrap(), None, "it is to be planned again");
        let held = ledger.documents(&[DocumentId::new("a").unwrap()]).unwrap().remove(0).unwrap();
        assert_eq!((held.metadata, held.chunks), (None, vec![]));
        assert_eq!(ledger.points_after(0, 9).unwrap(), []);
        let added = ledger.write(&[write("a", vec![here("one")])]).unwrap().added;
        assert_eq!(added, [NewPoint { key: 2, write: 0, chunk: 0 }], "keys are not used again");
    }

    #[test]
    fn an_index_after_none_finds_its_vectors_though_unused_ones_are_no_longer_kept() {
        let folder = tempfile::tempdir().unwrap();
        let only_used = || LedgerOptions { persist_vectors: false, ..options() };
        let discard = LedgerOptions { points: Points::Nowhere, ..options() };
        let held = |ledger: &Ledger| ledger.vectors(&["one", "two"].map(fingerprint)).unwrap();
        let held = |ledger: &Ledger| held(ledger).iter().map(Option::is_some).collect::<Vec<_>>();
        open_with(&folder, discard).write(&[write("a", vec![here("one")]), write("b", vec![here("two")])]).unwrap();
        let ledger = open_with(&folder, only_used());
        assert_eq!(held(&ledger), [true, true]);
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        drop(ledger);
        let ledger = open_with(&folder, only_used());
        assert_eq!(held(&ledger), [true, true], "the other document is still to be planned");
        ledger.set_setting(PLAN, "planned").unwrap();
        drop(ledger);
        assert_eq!(held(&open_with(&folder, only_used())), [true, false], "what was not needed goes then");
    }

    #[test]
    fn a_full_disk_is_told_and_writing_goes_on_when_there_is_room() {
        let (_folder, ledger) = open();
        ledger.write(&[write("before", vec![here("before")])]).unwrap();
        let large = DocumentWrite { document: "x".repeat(400_000), ..write("large", vec![here("large")]) };
        ledger.limit_pages(20);
        let error = ledger.write(std::slice::from_ref(&large)).unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (LedgerErrorKind::Full, true), "{error}");
        assert_eq!(ledger.counts().unwrap().documents, 1, "all or nothing");
        ledger.limit_pages(10_000);
        assert_eq!(ledger.write(&[large]).unwrap().added, [NewPoint { key: 2, write: 0, chunk: 0 }]);
    }
}
