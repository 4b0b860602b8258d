//! Files that are read on as they grow, through rotation.
//!
//! A file is known by its number in the file system and its beginning, and stays open when it is renamed or removed, so
//! that its last lines are read. A name belongs to one file at a time: what appears under it is read when the file
//! that had it is read to its end, and is held open until then, for it may be rotated away as well. A file that is gone and still
//! written to gives its name up in the end, and is read on under one of its own. Positions carry what else had the name before,
//! so that a restart knows those files too.

mod descriptors;
mod followed;
mod known;
mod sight;
mod taken;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

pub(super) use self::descriptors::Descriptors;
use self::descriptors::Held;
use self::followed::Followed;
use self::known::Known;
use self::sight::Sight;
use self::taken::Taken;
use super::scan::{Found, Seen, cannot_read, scan};
use super::telling::{several, warn_of};
use super::walk::may_hold_more;
use crate::same_file::FileId;
use crate::settings::source::FileSettings;
use crate::source::batch::Batch;
use crate::source::{IDLE_WAIT, Position, Read, Room, SourceError};

/// How long a file that is gone is watched for last lines of a writer that still has it open: since it was seen to be gone, and since
/// the last of them.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How long a file that is gone keeps its name from another since it was read to its end, if somebody writes on to it.
pub(super) const NAME_HELD: Duration = Duration::from_secs(10);

/// How often new and rotated files are looked for, which costs more than a look at those that are followed. A read that says that
/// there is nothing has looked for new files too.
const SCAN_EVERY: Duration = IDLE_WAIT;

/// Where there are many files, a scan takes long: the next begins no sooner than so many times as long after it began.
const REST: u32 = 10;

/// The files of one source, each followed.
pub(super) struct Follow {
    settings: FileSettings,
    descriptors: Descriptors,
    files: Vec<Followed>,
    /// Files whose name is not free yet, the oldest first.
    waiting: Vec<Waiting>,
    /// The file that is read first in the next step, so that each has its turn.
    turn: usize,
    known: Known,
    /// What cannot be read now, and why.
    problems: BTreeMap<PathBuf, String>,
    /// What the last scan passed over.
    compressed: BTreeSet<PathBuf>,
    /// What the last scan could not look at.
    blind: Vec<PathBuf>,
    /// How many files are not followed because so many are, and the first of them.
    refused: Option<(usize, PathBuf)>,
    /// When the last scan was.
    scanned: Option<Instant>,
    /// How long it took.
    took: Duration,
    /// Positions of files that are gone, to be told before anything more is read.
    news: Vec<Position>,
    /// The names of files that are gone, to be told before that.
    forgotten: Vec<String>,
}

/// A file that is held open until it has its turn under the name that it was seen under.
struct Waiting {
    seen: Seen,
    file: Held,
}

impl Follow {
    pub fn new(settings: FileSettings, descriptors: Descriptors) -> Self {
        Self {
            settings,
            descriptors,
            files: Vec::new(),
            waiting: Vec::new(),
            turn: 0,
            known: Known::default(),
            problems: BTreeMap::new(),
            compressed: BTreeSet::new(),
            blind: Vec::new(),
            refused: None,
            scanned: None,
            took: Duration::ZERO,
            news: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// Remembers the committed positions and opens the files. From then on, files that are not there are a rotation and no mistake.
    pub fn open(&mut self, committed: &[Position], now: Instant) -> Result<(), SourceError> {
        self.known.remember(committed);
        let found = scan(&self.settings);
        if let Some(error) = found.failure() {
            return Err(error);
        }
        self.take_in(found, now);
        Ok(())
    }

    /// The next records, as many as there is room for.
    pub fn step(&mut self, room: Room, now: Instant) -> Read {
        // Before another file gives records under the name of one that is gone: their positions are its own then.
        if let Some(news) = self.news_of_gone() {
            return news;
        }
        let mut batch = Batch::new(room);
        // The older first: what is there of a file that was rotated comes before its successor.
        self.read(&mut batch);
        let is_due = self.has_rested(SCAN_EVERY, now);
        if is_due && self.scan(now) && self.news.is_empty() {
            self.read(&mut batch);
        }
        if let Some(records) = batch.records() {
            return Read::Records(records);
        }
        let nothing = if self.waiting.is_empty() { Read::Idle } else { Read::Waiting };
        self.news_of_gone().unwrap_or(nothing)
    }

    /// What is to be told of files that are gone.
    fn news_of_gone(&mut self) -> Option<Read> {
        if !self.forgotten.is_empty() {
            return Some(Read::Forgotten(std::mem::take(&mut self.forgotten)));
        }
        (!self.news.is_empty()).then(|| Read::Positions(std::mem::take(&mut self.news)))
    }

    /// Opens what is there and was not, while nothing is read.
    pub fn watch(&mut self, now: Instant) {
        if self.has_rested(Duration::ZERO, now) {
            self.scan(now);
        }
    }

    /// What cannot be read now.
    pub fn trouble(&self) -> Option<String> {
        several(self.too_many().iter().chain(self.problems.values()))
    }

    fn too_many(&self) -> Option<String> {
        let (count, first) = self.refused.as_ref()?;
        Some(format!(
            "{count} files that `{}` matches are not read, `{}` the first of them: {} are followed, half of what the system lets this \
             process have open. Raise its limit (`ulimit -n`; `LimitNOFILE=` of a service of systemd), or let `path` match fewer",
            self.settings.path,
            first.display(),
            self.descriptors.most()
        ))
    }

    /// How many bytes are there and not given.
    pub fn remaining(&self) -> u64 {
        let followed = self.files.iter().map(Followed::remaining);
        let waiting = self.waiting.iter().map(|waiting| waiting.file.metadata().map_or(0, |now| now.len()));
        followed.chain(waiting).sum()
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
                // It is read on, and what is there under its name is told once.
                Ok(()) if is_within(&file.path, &self.blind) => {}
                // It can be read again: trouble with it from now on is news.
                Ok(()) => drop(self.problems.remove(&file.path)),
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
        broken.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, reason) in broken {
            let file = self.files.remove(index);
            self.tell(&file.path, format!("`{}` cannot be read: {reason}", file.name()));
            self.known.leave(&file);
        }
    }

    /// Whether the last scan is so long ago, or longer where it took long.
    fn has_rested(&self, least: Duration, now: Instant) -> bool {
        self.scanned.is_none_or(|last| now.duration_since(last) >= least.max(self.took * REST))
    }

    /// Looks at what is there now; says whether a file more is followed.
    fn scan(&mut self, now: Instant) -> bool {
        let begun = Instant::now();
        let found = scan(&self.settings);
        let is_news = self.take_in(found, now);
        self.took = begun.elapsed();
        is_news
    }

    /// Follows what a scan found.
    fn take_in(&mut self, found: Found, now: Instant) -> bool {
        let first = self.scanned.replace(now).is_none();
        if !self.problems.is_empty() {
            let there = found.files.iter().map(|seen| &seen.path).chain(found.problems.iter().map(|(path, _)| path));
            let there: HashSet<&PathBuf> = there.collect();
            self.problems.retain(|path, _| there.contains(path));
        }
        found.problems.into_iter().for_each(|(path, problem)| self.tell(&path, problem));
        self.pass_over(found.compressed);
        let seen = Sight::of(found.files);
        self.let_go(&seen, &found.blind, now);
        self.rename(&seen);
        let before = self.files.len();
        let mut taken = Taken::by(&self.files);
        self.follow_rotated(&seen, &found.blind, &mut taken);
        let refused = self.refused.take();
        for file in seen.files() {
            if !taken.has(file) {
                self.follow(file, &seen, &mut taken);
            }
        }
        if let Some(problem) = self.too_many().filter(|_| refused.is_none()) {
            warn!(problem, "files cannot be read; going on with the others");
        }
        self.blind = found.blind;
        let lost = if first { self.known.warn_of_lost(&seen) } else { Vec::new() };
        // Where nothing is, or something could not be looked at, they may be there.
        if self.blind.is_empty() && !seen.files().is_empty() {
            // What is gone since the last look may still be on its way.
            if self.news.is_empty() {
                self.forgotten.extend(self.known.forget(&seen, &self.files));
            }
            self.news.extend(lost.iter().filter_map(|name| self.known.let_go(name)));
        }
        self.files.len() > before
    }

    /// Says once of each name that nothing is read of it.
    fn pass_over(&mut self, compressed: BTreeSet<PathBuf>) {
        for path in compressed.difference(&self.compressed) {
            info!(file = %path.display(), "a compressed file is passed over: what is followed is read before rotation compresses it");
        }
        self.compressed = compressed;
    }

    /// Lets go of files that are gone and read to their end, and takes their name from those that somebody writes on to. What is in a
    /// blind path may be there.
    fn let_go(&mut self, all: &Sight, blind: &[PathBuf], now: Instant) {
        for mut file in std::mem::take(&mut self.files) {
            let here = all.of_file(file.identity.id()).next();
            let may_be_there = is_within(&file.path, blind);
            if here.is_some() {
                (file.gone_since, file.caught_up) = (None, None);
            } else if !may_be_there {
                file.gone_since.get_or_insert(now);
            }
            file.size = here.map_or(file.size, |seen| seen.size);
            let is_gone = here.is_none() && !may_be_there;
            let is_over = is_gone && file.is_read_to_its_end();
            // Of one that is written to fast, there is always more by now.
            let was_over = is_gone && file.drained;
            if was_over {
                file.caught_up.get_or_insert(now);
            }
            let is_past = |since: Option<Instant>, time| since.is_some_and(|since| now.duration_since(since) >= time);
            if is_over && is_past(file.gone_since, GRACE) {
                // In a folder that cannot be looked into it may still be there, and its last line may go on.
                let folder = file.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
                let is_blind = || folder.read_dir().is_err_and(|error| may_hold_more(&error));
                if file.ended || is_blind() {
                    info!(file = file.name(), "a file is gone; it was read to its end");
                    if file.ended {
                        self.news.extend(self.known.part_with(&file))
                    } else {
                        self.known.leave(&file)
                    }
                    continue;
                }
                file.end();
            } else if was_over && is_past(file.caught_up, NAME_HELD) && self.is_wanted(&file.path, all) {
                self.known.leave(&file);
                let aside = name_when_gone(file.identity.id(), &file.path);
                info!(from = file.name(), to = %aside.display(), "a file that is gone is written to, and another has its name now");
                file.rename(aside, Vec::new());
            }
            self.files.push(file);
        }
    }

    /// Whether a file is there under this name, or was and waits for it.
    fn is_wanted(&self, path: &Path, all: &Sight) -> bool {
        all.has_path(path) || self.waiting.iter().any(|waiting| waiting.seen.path == path)
    }

    /// Gives files that are read to their end the name they have now. One that keeps its name for now keeps the next one from taking it.
    fn rename(&mut self, all: &Sight) {
        let mut moves: BTreeMap<&Path, usize> = BTreeMap::new();
        for (index, file) in self.files.iter().enumerate().filter(|(_, file)| file.drained) {
            let here = all.of_file(file.identity.id()).max_by_key(|seen| seen.path == file.path);
            moves.extend(here.filter(|here| here.path != file.path).map(|here| (&*here.path, index)));
        }
        if moves.is_empty() {
            return;
        }
        let moving: HashSet<usize> = moves.values().copied().collect();
        let mut stay: Vec<usize> = (0..self.files.len()).filter(|index| !moving.contains(index)).collect();
        while let Some(index) = stay.pop() {
            stay.extend(moves.remove(&*self.files[index].path));
        }
        // All leave before one arrives: it is to know who had its name.
        moves.values().for_each(|index| self.known.leave(&self.files[*index]));
        for (to, index) in moves {
            let file = &mut self.files[index];
            info!(from = file.name(), to = %to.display(), "a file was renamed");
            let earlier = self.known.earlier(&to.display().to_string(), file.identity.id(), all);
            file.rename(to.to_owned(), earlier);
        }
    }

    /// Gives files that waited, and are there under no name any more, the one that they waited for, once it is free; or one of their own
    /// where the file that had it has come back to it.
    fn follow_rotated(&mut self, all: &Sight, blind: &[PathBuf], taken: &mut Taken) {
        for Waiting { mut seen, file } in std::mem::take(&mut self.waiting) {
            if is_within(&seen.path, blind) || all.of_file(seen.id).next().is_some() {
                self.waiting.push(Waiting { seen, file });
                continue;
            }
            if self.files.iter().any(|file| file.path == seen.path && all.has(file.identity.id(), &seen.path)) {
                seen.path = name_when_gone(seen.id, &seen.path);
            }
            self.follow_open(&seen, file, all, taken);
        }
    }

    /// Opens a file that is not followed yet.
    fn follow(&mut self, seen: &Seen, all: &Sight, taken: &mut Taken) {
        let held = self.waiting.iter().position(|waiting| waiting.seen.id == seen.id);
        let file = match held {
            // It may have another name by now.
            Some(index) if self.waiting[index].seen.path != seen.path => self.waiting.remove(index).file,
            Some(index) if self.is_free(&seen.path, index, taken) => self.waiting.remove(index).file,
            Some(_) => return,
            None => match self.open_file(&seen.path) {
                Ok(Some((id, file))) if id == seen.id => file,
                // Rotated between the scan and now: the next scan sees it as it is.
                Ok(Some(_)) => return,
                Ok(None) => {
                    let (count, _) = self.refused.get_or_insert_with(|| (0, seen.path.clone()));
                    *count += 1;
                    return;
                }
                Err(error) => return self.tell(&seen.path, cannot_read(&seen.path.display().to_string(), &error)),
            },
        };
        self.follow_open(seen, file, all, taken);
    }

    /// A file and which one it is, unless too many are open.
    fn open_file(&self, path: &Path) -> io::Result<Option<(FileId, Held)>> {
        let Some(file) = self.descriptors.open(path)? else { return Ok(None) };
        Ok(Some((FileId::of(&file.metadata()?), file)))
    }

    /// Whether a name is nobody's, nor waited for by the first so many that wait.
    fn is_free(&self, path: &Path, waiting: usize, taken: &Taken) -> bool {
        !taken.has_name(path) && self.waiting[..waiting].iter().all(|waiting| waiting.seen.path != path)
    }

    /// Follows an open file under the name that it was seen under, or lets it wait for it.
    fn follow_open(&mut self, seen: &Seen, file: Held, all: &Sight, taken: &mut Taken) {
        if !self.is_free(&seen.path, self.waiting.len(), taken) {
            return self.waiting.push(Waiting { seen: seen.clone(), file });
        }
        match Followed::open(seen, file, &self.known, all, self.settings.max_record.as_usize()) {
            Ok(file) => {
                taken.add(&file);
                self.files.push(file);
            }
            Err(reason) => self.tell(&seen.path, reason),
        }
    }

    fn tell(&mut self, path: &Path, problem: String) {
        if self.problems.get(path) != Some(&problem) {
            warn_of(&problem, self.problems.len());
            self.problems.insert(path.to_owned(), problem);
        }
    }
}

fn is_within(path: &Path, blind: &[PathBuf]) -> bool {
    // The empty path begins every other.
    blind.iter().any(|blind| path.starts_with(blind))
}

/// What a file that was seen under this path and is there no more is called: no other has this name while it is open.
fn name_when_gone(id: FileId, path: &Path) -> PathBuf {
    PathBuf::from(format!("{} (gone, number {})", path.display(), id.inode))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::file::POLL;

    #[tokio::test(start_paused = true)]
    async fn what_is_followed_is_read_at_every_look_and_new_files_are_looked_for_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let settings: FileSettings =
            serde_json::from_value(serde_json::json!({"path": folder.path().to_str().unwrap(), "follow": true}))
                .unwrap();
        let mut follow = Follow::new(settings, Descriptors::at_most(10));
        fs::write(path("old.jsonl"), "").unwrap();
        let opened = Instant::now();
        follow.open(&[], opened).unwrap();
        fs::write(path("old.jsonl"), "{}\n").unwrap();
        fs::write(path("new.jsonl"), "{}\n").unwrap();
        let mut given = |after: Duration| match follow.step(Room { records: 10, bytes: 1000 }, opened + after) {
            Read::Records(records) => records.iter().map(|record| record.position.partition.name.clone()).collect(),
            _ => Vec::new(),
        };
        assert_eq!(given(SCAN_EVERY / 2), [path("old.jsonl").display().to_string()]);
        assert!(given(SCAN_EVERY * 3 / 4).is_empty());
        assert_eq!(given(SCAN_EVERY), [path("new.jsonl").display().to_string()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_that_takes_long_is_made_more_rarely() {
        let folder = tempfile::tempdir().unwrap();
        let settings: FileSettings =
            serde_json::from_value(serde_json::json!({"path": folder.path().to_str().unwrap(), "follow": true}))
                .unwrap();
        let mut follow = Follow::new(settings, Descriptors::at_most(10));
        let opened = Instant::now();
        follow.open(&[], opened).unwrap();
        follow.took = SCAN_EVERY;
        fs::write(folder.path().join("new.jsonl"), "{}\n").unwrap();
        let rested = opened + SCAN_EVERY * REST;
        let room = Room { records: 10, bytes: 1000 };
        follow.watch(rested - POLL);
        assert!(matches!(follow.step(room, rested - POLL), Read::Idle));
        assert!(matches!(follow.step(room, rested), Read::Records(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_compressed_file_is_told_once_for_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pattern = path("a.jsonl*");
        let settings: FileSettings = serde_json::from_value(
            serde_json::json!({"path": pattern.to_str().unwrap(), "format": "jsonl", "follow": true}),
        )
        .unwrap();
        let mut follow = Follow::new(settings, Descriptors::at_most(10));
        let log = path("log");
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(fs::File::create(&log).unwrap())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for name in ["a.jsonl.1.gz", "a.jsonl.2.zst"] {
                fs::write(path(name), "").unwrap();
                follow.watch(Instant::now());
                follow.watch(Instant::now());
            }
        });
        let said = fs::read_to_string(log).unwrap();
        for name in ["a.jsonl.1.gz", "a.jsonl.2.zst"] {
            assert_eq!(said.matches(name).count(), 1, "{said}");
        }
        assert_eq!(follow.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_always_blind_keeps_no_file_elsewhere_from_its_rotation() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        let (log, old) = (folder.path().join("app/a.jsonl"), folder.path().join("old"));
        fs::write(&log, "{}\n").unwrap();
        let pattern = folder.path().join("*/*.jsonl");
        let settings: FileSettings =
            serde_json::from_value(serde_json::json!({"path": pattern.to_str().unwrap(), "follow": true})).unwrap();
        let mut follow = Follow::new(settings.clone(), Descriptors::at_most(10));
        let look = |follow: &mut Follow, blind: &Path| {
            let found = Found { blind: vec![blind.to_owned()], ..scan(&settings) };
            follow.take_in(found, Instant::now());
            follow.read(&mut Batch::new(Room { records: 10, bytes: 1000 }));
        };
        let elsewhere = folder.path().join("lost+found");
        look(&mut follow, &elsewhere);
        fs::rename(&log, old).unwrap();
        fs::write(&log, "{}\n{}\n").unwrap();
        let id = FileId::of(&log.metadata().unwrap());
        let follows = |follow: &Follow| follow.files.iter().any(|file| file.identity.id() == id);
        for (blind, expected) in [(Path::new(""), false), (&*elsewhere, true)] {
            for _ in 0..4 {
                look(&mut follow, blind);
                tokio::time::advance(GRACE).await;
            }
            assert_eq!(follows(&follow), expected, "{}", blind.display());
        }
    }
}
