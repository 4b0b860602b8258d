//! Files that are read to their end, one after the other.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use super::content::{Content, Mark};
use super::gone;
use super::identity::{Identity, Progress};
use super::kind::Kind;
use super::name::name_of;
use super::scan::{Seen, cannot_read, scan};
use super::telling::{several, warn_of};
use crate::settings::source::FileSettings;
use crate::source::batch::Batch;
use crate::source::place::{self, Place};
use crate::source::{Position, Read, Room, SourceError};

/// How far the versions of a file's records reach beyond its modification time, in nanoseconds, if there are at most a thousand million.
const REACH: i64 = 1_000_000_000;

/// The files of one source, each read once.
pub(super) struct Once {
    settings: FileSettings,
    known: HashMap<String, Progress>,
    /// The version of the last record of the files of this modification time.
    ends: BTreeMap<i64, i64>,
    queue: VecDeque<Seen>,
    queued_bytes: u64,
    current: Option<Open>,
    /// What could not be read or looked at, to be tried again and told when the others are done.
    failed: Vec<(PathBuf, String)>,
    /// The names of files that are gone, to be told before anything is read.
    forgotten: Vec<String>,
    /// What is to be told of files that were read to their end, before anything more is read.
    news: Vec<Position>,
}

struct Open {
    path: PathBuf,
    kind: Kind,
    file: Arc<File>,
    identity: Identity,
    content: Content,
    place: Place,
    given: Mark,
}

impl Once {
    pub fn new(settings: FileSettings) -> Self {
        Self {
            settings,
            known: HashMap::new(),
            ends: BTreeMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            current: None,
            failed: Vec::new(),
            forgotten: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Remembers the committed positions and looks for the files.
    pub fn open(&mut self, committed: &[Position]) -> Result<(), SourceError> {
        for (name, progress, _) in Progress::all(committed) {
            self.note_end(progress.identity.modified(), progress.end());
            self.known.insert(name.to_owned(), progress);
        }
        self.scan(None)?;
        self.forget();
        Ok(())
    }

    /// Forgets files that are gone, if there are too many of them. Where nothing was found, or something could not be looked at, they may
    /// still be there.
    fn forget(&mut self) {
        if self.queue.is_empty() || !self.failed.is_empty() {
            return;
        }
        let there: HashSet<String> = self.queue.iter().map(|seen| name_of(&seen.path)).collect();
        let known = self.known.iter().map(|(name, progress)| (name.as_str(), progress));
        self.forgotten = gone::too_many(known.filter(|(name, _)| !there.contains(*name)));
        for name in &self.forgotten {
            self.known.remove(name);
        }
    }

    /// The next records, as many as there is room for.
    pub fn step(&mut self, room: Room) -> Result<Read, SourceError> {
        if !self.forgotten.is_empty() {
            return Ok(Read::Forgotten(std::mem::take(&mut self.forgotten)));
        }
        if let Some(news) = self.news() {
            return Ok(news);
        }
        let mut batch = Batch::new(room);
        while !batch.is_full() {
            if self.current.is_none() && !self.open_next() {
                break;
            }
            let Some(open) = &mut self.current else { continue };
            match open.content.read(&mut batch, &open.place, &mut open.given) {
                // The next record does not fit, however much room is left.
                Ok(false) => break,
                Ok(true) => {
                    let end = place::version(open.place.base, open.given.ordinal);
                    let modified = open.identity.modified();
                    self.note_end(modified, end);
                    self.leave(true);
                }
                Err(reason) => self.give_up(&reason),
            }
        }
        match batch.records() {
            Some(records) => Ok(Read::Records(records)),
            None => self.news().map_or_else(|| self.finish(), Ok),
        }
    }

    fn news(&mut self) -> Option<Read> {
        (!self.news.is_empty()).then(|| Read::Positions(std::mem::take(&mut self.news)))
    }

    fn note_end(&mut self, modified: i64, end: i64) {
        let known = self.ends.entry(modified).or_insert(end);
        *known = end.max(*known);
    }

    /// The version before the first record of a file of this modification time: behind files of the same time, and behind those so little
    /// older that their last records would come after it.
    ///
    /// One that reaches further than its records do had a time in the future once. It would take every later file along.
    fn behind(&self, modified: i64) -> i64 {
        let near = self.ends.range(modified.saturating_sub(REACH)..=modified);
        let counts = |(at, end): &(&i64, &i64)| **at == modified || end.saturating_sub(**at) <= REACH;
        near.filter(counts).map(|(_, end)| *end).fold(modified, i64::max)
    }

    /// How many bytes on disk are left.
    pub fn remaining(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |open| open.content.remaining(&open.file, open.identity.size()));
        self.queued_bytes + current
    }

    /// Queues all files, or those of them that failed before, or are in what did, read before or not.
    fn scan(&mut self, only: Option<&[(PathBuf, String)]>) -> Result<(), SourceError> {
        let found = scan(&self.settings);
        if let Some(error) = found.failure() {
            return Err(error);
        }
        self.failed.extend(found.problems);
        let only: Option<HashSet<&Path>> = only.map(|failed| failed.iter().map(|(path, _)| &**path).collect());
        for seen in found.files {
            if only.as_ref().is_none_or(|failed| seen.path.ancestors().any(|path| failed.contains(path))) {
                self.queued_bytes += seen.size;
                self.queue.push_back(seen);
            }
        }
        Ok(())
    }

    /// Opens the next file of the queue; false when the queue is empty.
    fn open_next(&mut self) -> bool {
        let Some(seen) = self.queue.pop_front() else { return false };
        self.queued_bytes -= seen.size;
        match self.open_file(&seen) {
            Ok(open) => self.current = open,
            Err(reason) => self.fail(seen.path, reason),
        }
        true
    }

    /// The file, unless it was read to its end before and is unchanged.
    fn open_file(&self, seen: &Seen) -> Result<Option<Open>, String> {
        let name = &name_of(&seen.path);
        let said = |error: std::io::Error| cannot_read(name, &error);
        let file = File::open(&seen.path).map_err(said)?;
        let identity = Identity::of(&file, seen.kind).map_err(said)?;
        let modified = identity.modified();
        let (base, given) = match self.known.get(name) {
            Some(known) if known.identity.is_unchanged(&identity) => {
                if known.whole || says_end(known.mark, seen.kind, &identity) {
                    return Ok(None);
                }
                (known.base, known.mark)
            }
            Some(known) => {
                info!(
                    file = name,
                    "the file changed since it was read, or is read as something else; reading it from the start"
                );
                (known.base_behind(self.behind(modified)), Mark::default())
            }
            None => (self.behind(modified), Mark::default()),
        };
        let file = Arc::new(file);
        let content = Content::open(&file, seen.kind, self.settings.max_record.as_usize(), given)
            .map_err(|reason| format!("`{name}` cannot be read: {reason}"))?;
        let partition = Progress::of(identity.clone(), base, given).position(name, &[]).partition;
        let (path, kind) = (seen.path.clone(), seen.kind);
        Ok(Some(Open { path, kind, file, identity, content, place: Place { partition, base }, given }))
    }

    /// Leaves the current file, read to its end or not; whoever opens it again goes on where it was left.
    fn leave(&mut self, ended: bool) -> Option<PathBuf> {
        let Open { path, kind, identity, place, given, .. } = self.current.take()?;
        let name = &place.partition.name;
        // A file without any record costs little to read again.
        let whole = ended && given.offset > 0 && !says_end(given, kind, &identity);
        let progress = Progress { whole, ..Progress::of(identity, place.base, given) };
        self.news.extend(whole.then(|| progress.position(name, &[])));
        self.known.insert(name.clone(), progress);
        Some(path)
    }

    fn give_up(&mut self, reason: &str) {
        let Some(path) = self.leave(false) else { return };
        let reason = format!("`{}` cannot be read: {reason}", name_of(&path));
        self.fail(path, reason);
    }

    fn fail(&mut self, path: PathBuf, reason: String) {
        warn_of(&reason, self.failed.len());
        self.failed.push((path, reason));
    }

    /// All is read, or what could not be is told and queued again. A file that is gone by then needs no reading any more.
    fn finish(&mut self) -> Result<Read, SourceError> {
        if self.failed.is_empty() {
            return Ok(Read::Finished);
        }
        let failed = std::mem::take(&mut self.failed);
        if let Err(error) = self.scan(Some(&failed)) {
            self.failed = failed;
            return Err(error);
        }
        let reasons = several(failed.iter().map(|(_, reason)| reason));
        Err(SourceError(reasons.unwrap_or_default()))
    }
}

/// Whether a mark by itself says that the file was read to its end: it is the last byte of plain text.
fn says_end(mark: Mark, kind: Kind, identity: &Identity) -> bool {
    kind.can_grow() && mark.offset == identity.size()
}
