//! What a file source promises, seen through `Source` alone.

mod any_rotation;
mod any_split;
#[cfg(feature = "parquet")]
mod columns;
mod follow;
mod formats;
mod gone;
mod once;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::FileSource;
use crate::settings::separator::Separator;
use crate::settings::source::{FileFormat, FileSettings};
use crate::settings::units::ByteSize;
use crate::source::{Partition, Position, Read, Record, Room, Source, SourceError};

const ROOM: Room = Room { records: 1000, bytes: 64 << 20 };

/// A folder of files that are read by one source after the other.
struct Folder {
    dir: TempDir,
    follow: bool,
    format: Option<FileFormat>,
    separator: Option<Separator>,
    max_record: u64,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), follow: false, format: None, separator: None, max_record: 1 << 20 }
    }

    fn followed() -> Self {
        Self { follow: true, format: Some(FileFormat::Jsonl), ..Self::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a whole file, last modified at this second.
    fn write(&self, name: &str, content: impl AsRef<[u8]>, second: u64) {
        fs::write(self.path(name), content).unwrap();
        touch(&self.path(name), second);
    }

    fn append(&self, name: &str, content: &str) {
        File::options().append(true).open(self.path(name)).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn settings(&self, path: &str) -> FileSettings {
        FileSettings {
            path: self.name(path),
            format: self.format,
            separator: self.separator,
            follow: self.follow,
            operation: None,
            max_record: ByteSize::bytes(self.max_record),
        }
    }

    fn source(&self, path: &str) -> FileSource {
        FileSource::new(&self.settings(path))
    }

    async fn open(&self, path: &str, committed: Vec<Position>) -> FileSource {
        let mut source = self.source(path);
        source.open(committed).await.unwrap();
        source
    }

    /// Everything that a source gives from these positions.
    async fn read(&self, path: &str, committed: Vec<Position>) -> Vec<Record> {
        drain(&mut self.open(path, committed).await).await.unwrap()
    }
}

fn touch(path: &Path, second: u64) {
    File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

/// Reads until there is nothing more, for now or ever.
async fn drain(source: &mut FileSource) -> Result<Vec<Record>, SourceError> {
    drain_into(source, &mut Kept::default()).await
}

/// The position of each partition as the ledger would keep it, by name.
type Kept = std::collections::BTreeMap<String, Position>;

/// As [`drain`], and everything is committed.
async fn drain_into(source: &mut FileSource, kept: &mut Kept) -> Result<Vec<Record>, SourceError> {
    let mut records = Vec::new();
    loop {
        let committed: Vec<Position> = match source.read(ROOM).await? {
            Read::Records(more) => {
                records.extend(more.iter().cloned());
                more.into_iter().map(|record| record.position).collect()
            }
            Read::Positions(positions) => positions,
            Read::Forgotten(names) => {
                names.iter().for_each(|name| assert!(kept.remove(name).is_some(), "`{name}` is not kept any more"));
                continue;
            }
            Read::Idle | Read::Waiting | Read::Finished | Read::Revoked(_) => return Ok(records),
        };
        kept.extend(committed.into_iter().map(|position| (position.partition.name.clone(), position)));
    }
}

fn committed(record: &Record) -> Position {
    record.position.clone()
}

/// The position of the same place, told in other words.
fn with_detail(position: &Position, detail: String) -> Position {
    let partition = Partition { name: position.partition.name.clone(), detail };
    Position { partition: Arc::new(partition), ..position.clone() }
}

/// The last position of each partition, as the ledger would keep it.
fn positions(records: &[Record]) -> Vec<Position> {
    let mut newest = Kept::new();
    for record in records {
        newest.insert(record.position.partition.name.clone(), committed(record));
    }
    newest.into_values().collect()
}

fn separated_by(separator: &str) -> Separator {
    serde_json::from_value(separator.into()).unwrap()
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
}
