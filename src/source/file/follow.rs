//! Files that are read on as they grow, through rotation.
//!
//! A file is known by its place in the file system and its beginning, and stays open when it is renamed or removed, so
//! that its last lines are read. A name belongs to one file at a time: what appears under it is read when the file
//! that had it is read to its end, and is held open until then, for it may be rotated away as well. Positions carry what
//! else had the name before, so that a restart knows those files too.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Step;
use super::batch::{Batch, Place};
use super::content::{Content, Mark};
use super::identity::{self, Detail, Identity, Progress};
use super::scan::{Kind, cannot_read, scan};
use crate::settings::source::FileSettings;
use crate::source::{Committed, Partition, Room, SourceError};

/// How long a file that is gone is watched for last lines of a writer that still has it open: since it was seen to be gone, and since
/// the last of them.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How often new files are looked for while there is always something to read.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// The files of one source, each followed.
pub(super) struct Follow {
    settings: FileSettings,
    files: Vec<Followed>,
    /// Files whose name is not free yet, the oldest first.
    waiting: Vec<Waiting>,
    /// The file that is read first in the next step, so that each has its turn.
    turn: usize,
    /// By name: the file that gave records under it last, as far as it was read, then those that had it before.
    known: BTreeMap<String, Vec<Progress>>,
    /// What cannot be read now, and why.
    problems: BTreeMap<PathBuf, String>,
    /// Whether a scan succeeded: from then on, files that are not there are a rotation and no mistake.
    scanned: Option<Instant>,
}

struct Followed {
    path: PathBuf,
    kind: Kind,
    file: Arc<File>,
    identity: Identity,
    content: Content,
    place: Place,
    earlier: Vec<Progress>,
    given: Mark,
    /// Whether all was read that was there at the last look.
    drained: bool,
    /// When the file had been written last at the last look.
    modified: i64,
    gone_since: Option<Instant>,
    /// Whether what stands behind the last line feed was taken for a line: the file is gone, and its line feed will not come.
    ended: bool,
}

/// A file that is held open until it has its turn under the name that it was seen under.
struct Waiting {
    seen: Seen,
    file: Arc<File>,
}

/// A file as it was seen in a scan.
#[derive(Clone)]
struct Seen {
    path: PathBuf,
    kind: Kind,
    place: (u64, u64),
}

impl Follow {
    pub fn new(settings: FileSettings) -> Self {
        Self {
            settings,
            files: Vec::new(),
            waiting: Vec::new(),
            turn: 0,
            known: BTreeMap::new(),
            problems: BTreeMap::new(),
            scanned: None,
        }
    }

    /// Remembers the committed positions and opens the files.
    pub fn open(&mut self, committed: &[Committed], now: Instant) -> Result<(), SourceError> {
        for row in committed {
            match Progress::of(row) {
                Ok((progress, earlier)) => {
                    self.known.insert(row.partition.clone(), std::iter::once(progress).chain(earlier).collect());
                }
                Err(error) => {
                    warn!(file = row.partition, %error, "the kept position cannot be understood; reading from the start")
                }
            }
        }
        self.scan(now).map(drop)
    }

    /// The next records, as many as there is room for.
    pub fn step(&mut self, room: Room, now: Instant) -> Result<Step, SourceError> {
        let mut batch = Batch::new(room);
        if self.scanned.is_some_and(|last| now.duration_since(last) >= SCAN_EVERY) {
            self.scan(now)?;
        }
        self.read(&mut batch);
        let mut waiting = false;
        if batch.fits(1) {
            waiting = self.scan(now)?;
            self.read(&mut batch);
        }
        match batch.records() {
            Some(records) => Ok(Step::Records(records)),
            None if waiting => Ok(Step::Waiting),
            None => Ok(Step::Nothing),
        }
    }

    /// Opens what is there and was not, while nothing is read.
    pub fn watch(&mut self, now: Instant) -> Result<(), SourceError> {
        self.scan(now).map(drop)
    }

    /// What cannot be read now.
    pub fn trouble(&self) -> Option<String> {
        let problems: Vec<&str> = self.problems.values().map(String::as_str).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// How many bytes are there and not given.
    pub fn remaining(&self) -> u64 {
        let followed = self.files.iter().map(|file| (&file.file, file.given.offset));
        let waiting = self.waiting.iter().map(|waiting| (&waiting.file, 0));
        let left = |(file, given): (&Arc<File>, u64)| file.metadata().map_or(0, |now| now.len().saturating_sub(given));
        followed.chain(waiting).map(left).sum()
    }

    fn read(&mut self, batch: &mut Batch) {
        let count = self.files.len();
        let mut broken = Vec::new();
        for index in (0..count).map(|step| (self.turn + step) % count) {
            if batch.is_full() {
                break;
            }
            let file = &mut self.files[index];
            match file.read(batch, self.settings.max_record.as_usize()) {
                Err(reason) => broken.push((index, reason)),
                // It can be read again: trouble with it from now on is news.
                Ok(()) => drop(self.problems.remove(&file.path)),
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
        broken.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, reason) in broken {
            let file = self.files.remove(index);
            self.tell(&file.path, format!("`{}` cannot be read: {reason}", file.name()));
            self.leave_name(&file);
        }
    }

    /// Looks at what is there now; says whether a file waits for its name to become free.
    fn scan(&mut self, now: Instant) -> Result<bool, SourceError> {
        let found = match scan(&self.settings) {
            Ok(found) => found,
            Err(error) if self.scanned.is_none() => return Err(error),
            Err(_) => Default::default(),
        };
        let first = self.scanned.replace(now).is_none();
        self.problems.retain(|path, _| {
            found.files.iter().any(|(there, _)| there == path) || found.problems.iter().any(|(there, _)| there == path)
        });
        found.problems.into_iter().for_each(|(path, problem)| self.tell(&path, problem));
        let seen = found.files.into_iter().filter_map(|(path, kind)| {
            let place = identity::place(&path.metadata().ok()?);
            Some(Seen { path, kind, place })
        });
        let seen = seen.collect::<Vec<_>>();
        self.rename(&seen, now);
        self.follow_rotated(&seen);
        for file in &seen {
            self.follow(file, &seen);
        }
        if first {
            self.warn_of_lost();
        }
        Ok(!self.waiting.is_empty())
    }

    /// Gives files that are read to their end the name they have now, and lets go of those that are gone.
    fn rename(&mut self, seen: &[Seen], now: Instant) {
        for mut file in std::mem::take(&mut self.files) {
            let here = seen.iter().filter(|seen| seen.place == file.identity.place());
            let here = here.max_by_key(|seen| seen.path == file.path);
            let gone_since = match here {
                Some(_) => None,
                None => Some(file.gone_since.unwrap_or(now)),
            };
            file.gone_since = gone_since;
            match here {
                Some(here) if here.path != file.path && file.drained => {
                    self.leave_name(&file);
                    info!(from = file.name(), to = %here.path.display(), "a file was renamed");
                    file.path.clone_from(&here.path);
                    file.earlier = self.earlier(&here.path.display().to_string(), file.identity.place(), seen);
                    file.set_place(file.place.base);
                }
                None if file.is_read_to_its_end()
                    && gone_since.is_some_and(|since| now.duration_since(since) >= GRACE) =>
                {
                    // In a folder that cannot be looked into it may still be there, and its last line may go on.
                    let folder = file.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
                    if file.ended || folder.read_dir().is_err() {
                        info!(file = file.name(), "a file is gone; it was read to its end");
                        self.leave_name(&file);
                        continue;
                    }
                    file.end();
                }
                _ => {}
            }
            self.files.push(file);
        }
    }

    /// Gives files that waited, and are there under no name any more, the one that they waited for, once it is free.
    fn follow_rotated(&mut self, all: &[Seen]) {
        for waiting in std::mem::take(&mut self.waiting) {
            if all.iter().any(|seen| seen.place == waiting.seen.place) {
                self.waiting.push(waiting);
            } else {
                self.follow_open(&waiting.seen, waiting.file, all);
            }
        }
    }

    /// Opens a file that is not followed yet.
    fn follow(&mut self, seen: &Seen, all: &[Seen]) {
        // Without file numbers, the path tells files apart.
        let numbered = seen.place != (0, 0);
        if self
            .files
            .iter()
            .any(|file| if numbered { file.identity.place() == seen.place } else { file.path == seen.path })
        {
            return;
        }
        let held = self.waiting.iter().position(|waiting| numbered && waiting.seen.place == seen.place);
        let file = match held {
            // It may have another name by now.
            Some(index) if self.waiting[index].seen.path != seen.path => self.waiting.remove(index).file,
            Some(index) if self.is_free(&seen.path, index) => self.waiting.remove(index).file,
            Some(_) => return,
            None => match File::open(&seen.path).and_then(|file| Ok((identity::place(&file.metadata()?), file))) {
                Ok((place, file)) if place == seen.place => Arc::new(file),
                // Rotated between the scan and now: the next scan sees it as it is.
                Ok(_) => return,
                Err(error) => return self.tell(&seen.path, cannot_read(&seen.path.display().to_string(), &error)),
            },
        };
        self.follow_open(seen, file, all);
    }

    /// Whether a name is nobody's, nor waited for by the first so many that wait.
    fn is_free(&self, path: &Path, waiting: usize) -> bool {
        let followed = self.files.iter().map(|file| &file.path);
        let mut taken = followed.chain(self.waiting[..waiting].iter().map(|waiting| &waiting.seen.path));
        taken.all(|taken| taken != path)
    }

    /// Follows an open file under the name that it was seen under, or lets it wait for it.
    fn follow_open(&mut self, seen: &Seen, file: Arc<File>, all: &[Seen]) {
        if !self.is_free(&seen.path, self.waiting.len()) {
            return self.waiting.push(Waiting { seen: seen.clone(), file });
        }
        match self.followed(seen, file, all) {
            Ok(file) => self.files.push(file),
            Err(reason) => self.tell(&seen.path, reason),
        }
    }

    fn followed(&self, seen: &Seen, file: Arc<File>, all: &[Seen]) -> Result<Followed, String> {
        let name = seen.path.display().to_string();
        let said = |error: std::io::Error| cannot_read(&name, &error);
        let identity = Identity::of(&file).map_err(said)?;
        let before = self.known.get(&name).and_then(|known| known.first());
        let (base, given) = match self.progress(&file, identity.place(), all).map_err(said)? {
            Some(progress) if progress.offset <= identity.size() => (progress.base, progress.mark()),
            Some(progress) => (progress.base_behind(identity.modified()), Mark::default()),
            None => {
                let modified = identity.modified();
                (before.map_or(modified, |before| before.base_behind(modified)), Mark::default())
            }
        };
        let content = Content::open_growing(&file, seen.kind, self.settings.max_record.as_usize(), given)
            .map_err(|reason| format!("`{name}` cannot be read: {reason}"))?;
        let partition = Arc::new(Partition { name: name.clone(), detail: String::new() });
        let mut followed = Followed {
            path: seen.path.clone(),
            kind: seen.kind,
            file,
            earlier: self.earlier(&name, identity.place(), all),
            modified: identity.modified(),
            identity,
            content,
            place: Place { partition, base },
            given,
            drained: false,
            gone_since: None,
            ended: false,
        };
        followed.set_place(base);
        Ok(followed)
    }

    /// How far this file was read under any name.
    ///
    /// A position says nothing about records that the file gave under an earlier name. So of positions under several
    /// names the first counts, unless a file that came later under the earlier name says that all before it was settled.
    ///
    /// A file system may have another number after it was mounted anew. But what is there as it was is no other file.
    fn progress(&self, file: &File, place: (u64, u64), seen: &[Seen]) -> std::io::Result<Option<&Progress>> {
        let (mut first, mut settled) = (None::<&Progress>, None::<&Progress>);
        for known in self.known.values() {
            for (depth, progress) in known.iter().enumerate() {
                let before = progress.identity.place();
                let elsewhere = before != place && seen.iter().any(|seen| seen.place == before);
                if elsewhere || !progress.identity.is_same_file(file)? {
                    continue;
                }
                if depth == 0 {
                    first = first.into_iter().chain([progress]).min_by_key(|progress| progress.offset);
                } else {
                    settled = settled.into_iter().chain([progress]).max_by_key(|progress| progress.offset);
                }
            }
        }
        Ok(first.into_iter().chain(settled).max_by_key(|progress| progress.offset))
    }

    /// The files that had this name before and are still there under another.
    fn earlier(&self, name: &str, own: (u64, u64), seen: &[Seen]) -> Vec<Progress> {
        let still_there = |progress: &&Progress| {
            let identity = &progress.identity;
            !identity.is_at(own) && seen.iter().any(|seen| identity.is_at(seen.place))
        };
        self.known.get(name).into_iter().flatten().filter(still_there).cloned().collect()
    }

    /// Remembers how far a file was read under the name it has, unless it gave nothing under it.
    fn leave_name(&mut self, file: &Followed) {
        if file.given.offset == 0 {
            return;
        }
        let Mark { offset, ordinal } = file.given;
        let last = Progress { identity: file.identity.clone(), base: file.place.base, offset, ordinal };
        self.known.insert(file.name().to_owned(), std::iter::once(last).chain(file.earlier.iter().cloned()).collect());
    }

    fn warn_of_lost(&self) {
        let is_there = |last: &Progress| self.files.iter().any(|file| last.identity.is_at(file.identity.place()));
        let lost = self.known.iter().filter_map(|(name, known)| Some((name, known.first()?)));
        let lost: Vec<_> = lost.filter(|(_, last)| !is_there(last)).collect();
        if let Some((name, last)) = lost.iter().max_by_key(|(_, last)| last.identity.modified()) {
            warn!(
                files = lost.len(),
                newest = name,
                line = last.ordinal,
                "files read before are not there any more under any name that `path` matches; lines written to the newest of them \
                 behind this one are not read, nor are such of the others. Let `path` match rotated files too (`app.log*`) to have \
                 them after a restart"
            );
        }
    }

    fn tell(&mut self, path: &Path, problem: String) {
        if self.problems.get(path) != Some(&problem) {
            warn!(problem, "a file cannot be read; going on with the others");
            self.problems.insert(path.to_owned(), problem);
        }
    }
}

impl Followed {
    fn name(&self) -> &str {
        &self.place.partition.name
    }

    /// Whether all is read that is there now.
    fn is_read_to_its_end(&self) -> bool {
        self.drained && self.file.metadata().map_or(true, |now| now.len() == self.content.read_to())
    }

    /// Has what is left read as the last line.
    fn end(&mut self) {
        self.content.end();
        (self.ended, self.drained) = (true, false);
    }

    /// Reads what is there, as far as there is room.
    fn read(&mut self, batch: &mut Batch, max_record: usize) -> Result<(), String> {
        let metadata = self.file.metadata().map_err(|error| error.to_string())?;
        let (size, modified) = (metadata.len(), identity::modified(&metadata));
        let mut read_to = self.content.read_to();
        if self.ended && size != read_to {
            // Whoever has it open writes on after all.
            self.content = Content::open_growing(&self.file, self.kind, max_record, self.given)?;
            (self.ended, self.drained, self.gone_since) = (false, false, None);
            read_to = self.content.read_to();
        }
        if self.drained && (size, modified) == (read_to, self.modified) {
            return Ok(());
        }
        // Whoever still has it open writes on.
        if size != read_to {
            self.gone_since = None;
        }
        let overwritten = if size < read_to {
            Some("the file is shorter than what was read of it")
        } else if (self.drained || modified != self.modified)
            && !self.identity.begins(&self.file).map_err(|error| error.to_string())?
        {
            Some("the file does not begin as it did")
        } else {
            None
        };
        if let Some(why) = overwritten {
            self.start_again(why, max_record)?;
            read_to = 0;
        }
        self.modified = modified;
        if self.identity.head_may_grow(size) {
            self.identity = Identity::of(&self.file).map_err(|error| error.to_string())?;
            self.set_place(self.place.base);
        }
        self.content.expect(size - read_to);
        self.drained = self.content.read(batch, &self.place, &mut self.given)?;
        Ok(())
    }

    fn start_again(&mut self, why: &str, max_record: usize) -> Result<(), String> {
        info!(file = self.name(), line = self.given.ordinal, why, "a file was overwritten; reading it from the start");
        let before = self.given;
        self.content = Content::open_growing(&self.file, self.kind, max_record, Mark::default())?;
        self.given = Mark::default();
        let old = self.identity.clone();
        self.identity = Identity::of(&self.file).map_err(|error| error.to_string())?;
        let Mark { offset, ordinal } = before;
        let base =
            Progress { identity: old, base: self.place.base, offset, ordinal }.base_behind(self.identity.modified());
        self.set_place(base);
        Ok(())
    }

    fn set_place(&mut self, base: i64) {
        let detail = Detail { identity: self.identity.clone(), base, earlier: self.earlier.clone() }.to_json();
        let name = self.path.display().to_string();
        self.place = Place { partition: Arc::new(Partition { name, detail }), base };
    }
}
