//! What makes a file the same file as at the last start.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::content::Mark;
use super::kind::Kind;
use crate::same_file::FileId;
use crate::settings::separator::Separator;
use crate::settings::source::FileFormat;
use crate::source::{Partition, Position, place};

/// How much of a file's beginning is compared.
const HEAD: u64 = 64 << 10;

/// How much is compared of what was read last.
const TAIL: u64 = 4 << 10;

/// What is remembered of a file to know it again: under another name when it is followed, unchanged when it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    #[serde(flatten)]
    id: FileId,
    /// When the file was made, in nanoseconds since the Unix epoch, where the system tells it: the number of one that is gone is given
    /// to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<i64>,
    size: u64,
    /// Nanoseconds since the Unix epoch.
    modified: i64,
    /// The SHA-256 of its first `head_bytes` bytes.
    head: String,
    head_bytes: u64,
    /// What it was read as.
    format: FileFormat,
    /// What separated its values. Most often a comma, which is left out.
    #[serde(default, skip_serializing_if = "Separator::is_comma")]
    separator: Separator,
    /// What was read last of a file that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<Tail>,
}

/// The last bytes before a place that a file was read to: what is written behind them leaves them as they are, and another content
/// that begins the same has others there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tail {
    /// The offset behind them.
    end: u64,
    /// Their SHA-256.
    hash: String,
}

/// A file that was read so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    #[serde(flatten)]
    pub identity: Identity,
    /// The version before its first record.
    pub base: i64,
    /// Where to read on.
    #[serde(flatten)]
    pub mark: Mark,
    /// Whether nobody waits for it any longer: it was read to its end and seen to go, or it went unseen and that was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Whether a file that is read once was read to its end, where its mark does not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// `Partition::detail` of a file: its [`Progress`] but the mark, which the position itself tells.
#[derive(Serialize, Deserialize)]
struct Detail {
    #[serde(flatten)]
    identity: Identity,
    base: i64,
    /// Files that had this name before and are still there under another: without them, a restart would read them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Progress>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
}

impl Identity {
    /// The identity of an open file as it is now, read as this kind.
    pub fn of(file: &File, kind: Kind) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let head = bytes(file, 0, HEAD.min(metadata.len()))?;
        let head_bytes = head.len() as u64;
        Ok(Self {
            id: FileId::of(&metadata),
            born: metadata.created().ok().map(nanos),
            size: metadata.len(),
            modified: modified(&metadata),
            head: hash(&head),
            head_bytes,
            format: kind.format,
            separator: kind.separator,
            tail: None,
        })
    }

    /// The identity of the file as it is now, which was read as far as before.
    pub fn renewed(&self, file: &File, kind: Kind) -> io::Result<Self> {
        Ok(Self { tail: self.tail.clone(), ..Self::of(file, kind)? })
    }

    /// Takes note that the file was read to this offset; says whether that is news.
    pub fn note_read(&mut self, file: &File, end: u64) -> io::Result<bool> {
        if self.tail.as_ref().map_or(0, |tail| tail.end) == end {
            return Ok(false);
        }
        self.tail = Some(Tail::before(end, file)?);
        Ok(true)
    }

    /// Whether nothing was written to the file in between, no other took its place, and it is read as it was.
    pub fn is_unchanged(&self, now: &Self) -> bool {
        self.id.may_be(now.id)
            && (self.format, self.separator) == (now.format, now.separator)
            && self.size == now.size
            && self.modified == now.modified
            && (&self.head, self.head_bytes) == (&now.head, now.head_bytes)
    }

    /// Whether the open file is this one, grown or not, and read as it was.
    pub fn is_same_file(&self, file: &File, kind: Kind) -> io::Result<bool> {
        let metadata = file.metadata()?;
        let made = metadata.created().ok().map(nanos);
        let is_made_anew = self.born.zip(made).is_some_and(|(before, now)| before != now);
        let is_read_as_before = (self.format, self.separator) == (kind.format, kind.separator);
        let may_be = self.id.may_be(FileId::of(&metadata)) && !is_made_anew && is_read_as_before;
        Ok(may_be && self.holds(file)?)
    }

    /// Whether what was read is still in the open file, as far as its beginning and what was read last tell.
    pub fn holds(&self, file: &File) -> io::Result<bool> {
        Ok(hash(&bytes(file, 0, self.head_bytes)?) == self.head
            && match &self.tail {
                Some(tail) => *tail == Tail::before(tail.end, file)?,
                None => true,
            })
    }

    /// Whether a longer file would have a longer head.
    pub fn head_may_grow(&self, size: u64) -> bool {
        self.head_bytes < HEAD.min(size)
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// When the file was last written, in nanoseconds since the Unix epoch.
    pub fn modified(&self) -> i64 {
        self.modified
    }

    /// Whether it was one file with this one, whatever was written to it.
    pub fn is_one_with(&self, other: &Self) -> bool {
        self.id.may_be(other.id) && self.born == other.born
    }

    /// How long the file was.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Tail {
    fn before(end: u64, file: &File) -> io::Result<Self> {
        let bytes = bytes(file, end.saturating_sub(TAIL), end.min(TAIL))?;
        Ok(Self { end, hash: hash(&bytes) })
    }
}

impl Progress {
    /// Of a file that is there and read on.
    pub fn of(identity: Identity, base: i64, mark: Mark) -> Self {
        Self { identity, base, mark, gone: false, whole: false }
    }

    /// The position that says this of a name which these files had before.
    pub fn position(&self, name: &str, earlier: &[Self]) -> Position {
        let Self { identity, base, mark, gone, whole } = self.clone();
        let detail = Detail { identity, base, earlier: earlier.to_vec(), gone, whole };
        let detail = serde_json::to_string(&detail).expect("numbers and texts are always JSON");
        let partition = Arc::new(Partition { name: name.to_owned(), detail });
        Position { partition, offset: mark.offset, ordinal: mark.ordinal }
    }

    /// What the committed positions say: for each name how far its file was read, and the files that had the name before.
    pub fn all(committed: &[Position]) -> impl Iterator<Item = (&str, Self, Vec<Self>)> {
        // A source of another kind may have had this source's name: what it noted is about no file.
        let of_files = committed.iter().filter(|row| row.partition.detail.starts_with('{'));
        of_files.filter_map(|row| match serde_json::from_str(&row.partition.detail) {
            Ok(Detail { identity, base, earlier, gone, whole }) => {
                let mark = Mark { offset: row.offset, ordinal: row.ordinal };
                let progress = Self { identity, base, mark, gone, whole };
                Some((row.partition.name.as_str(), progress, earlier))
            }
            Err(error) => {
                warn!(file = row.partition.name, %error, "the kept position cannot be understood; reading from the start");
                None
            }
        })
    }

    /// The version of its last record.
    pub fn end(&self) -> i64 {
        place::version(self.base, self.mark.ordinal)
    }

    /// The version before the first record of what took this file's place: newer than all of this file.
    pub fn base_behind(&self, modified: i64) -> i64 {
        modified.max(place::behind(self.base, self.mark.ordinal))
    }
}

/// When the file was last written, in nanoseconds since the Unix epoch.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    metadata.modified().map_or(0, nanos)
}

fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes of a file, or what is there of them; reading goes on where it was.
pub(super) fn bytes(mut file: &File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    let outcome = file.take(length).read_to_end(&mut bytes);
    file.seek(SeekFrom::Start(before))?;
    outcome.map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ledger_keeps_of_a_file_is_read_and_written_as_before() {
        for (separator, byte) in [("", b','), (r#","separator":";""#, b';'), (r#","separator":"tab""#, b'\t')] {
            let kept = format!(
                "{}{separator}{}",
                r#"{"device":1,"inode":18446744073709551615,"born":3,"size":4,"modified":-5,"head":"6","head_bytes":7,"format":"csv""#,
                r#","tail":{"end":8,"hash":"9"},"base":-10,"offset":11,"ordinal":12}"#
            );
            let progress: Progress = serde_json::from_str(&kept).unwrap();
            assert_eq!((progress.mark, progress.identity.format), (Mark { offset: 11, ordinal: 12 }, FileFormat::Csv));
            assert_eq!(progress.identity.separator.as_byte(), byte);
            assert_eq!(serde_json::to_string(&progress).unwrap(), kept);
            let position = progress.position("a", std::slice::from_ref(&progress));
            let read: Vec<_> = Progress::all(std::slice::from_ref(&position)).collect();
            assert_eq!(read, [("a", progress.clone(), vec![progress.clone()])]);
        }
    }
}
