//! Files that are read on as they grow, through rotation.
//!
//! A file is known by its number in the file system and its beginning, and stays open when it is renamed or removed, so
//! that its last lines are read. A name belongs to one file at a time: each is called what it was seen as last, and one that is gone
//! while another has its name now is called something of its own. Positions carry which files had the name before, so that a restart
//! knows those too.

mod descriptors;
mod followed;
mod known;
mod sight;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

pub(super) use self::descriptors::Descriptors;
use self::followed::Followed;
use self::known::Known;
use self::sight::Sight;
use super::name::name_of;
use super::scan::{Found, Seen, cannot_read, scan};
use super::telling::{several, warn_of};
use super::walk::may_hold_more;
use crate::same_file::FileId;
use crate::settings::source::FileSettings;
use crate::source::batch::Batch;
use crate::source::lines::CHUNK;
use crate::source::{IDLE_WAIT, Position, Read, Room, SourceError};

/// How long a file that is gone is watched for last lines of a writer that still has it open: since it was seen to be gone, and since
/// the last of them.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How often new and rotated files are looked for, which costs more than a look at those that are followed. A read that says that
/// there is nothing has looked for new files too, unless scans take long.
const SCAN_EVERY: Duration = IDLE_WAIT;

/// Where there are many files, a scan takes long: the next begins no sooner than so many times as long after it began, or this long.
const REST: u32 = 10;
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The files of one source, each followed.
pub(super) struct Follow {
    settings: FileSettings,
    descriptors: Descriptors,
    files: Vec<Followed>,
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

impl Follow {
    pub fn new(settings: FileSettings, descriptors: Descriptors) -> Self {
        Self {
            settings,
            descriptors,
            files: Vec::new(),
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
        self.news_of_gone().unwrap_or(Read::Idle)
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
            name_of(first),
            self.descriptors.most()
        ))
    }

    /// How many bytes are there and not given.
    pub fn remaining(&self) -> u64 {
        self.files.iter().map(Followed::remaining).sum()
    }

    fn read(&mut self, batch: &mut Batch) {
        let count = self.files.len();
        let mut broken = Vec::new();
        // What is read and not given stays in memory until the file has its turn again.
        let behind = self.files.iter().filter(|file| !file.drained).count().max(1);
        let share = (CHUNK / behind) as u64;
        for index in (0..count).map(|step| (self.turn + step) % count) {
            if batch.is_full() {
                break;
            }
            let file = &mut self.files[index];
            match file.read(batch, self.settings.max_record.as_usize(), share) {
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
            self.known.give_up(&file);
        }
    }

    /// Whether the last scan is so long ago, or longer where it took long.
    fn has_rested(&self, least: Duration, now: Instant) -> bool {
        self.scanned.is_none_or(|last| now.duration_since(last) >= least.max((self.took * REST).min(LONGEST_REST)))
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
        let seen = Sight::of(found.files, self.files.iter().map(|file| file.identity.id()));
        self.let_go(&seen, &found.blind, now);
        self.rename(&seen);
        let before = self.files.len();
        let mut followed: HashSet<FileId> = self.files.iter().map(|file| file.identity.id()).collect();
        let refused = self.refused.take();
        for file in seen.files() {
            // One file may have several names.
            if !followed.insert(file.id) {
                continue;
            }
            match self.follow(file, &seen) {
                Ok(opened) => self.files.extend(opened),
                Err(reason) => self.tell(&file.path, reason),
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
            info!(
                file = name_of(path),
                "a compressed file is passed over: what is followed is read before rotation compresses it"
            );
        }
        self.compressed = compressed;
    }

    /// Lets go of files that are gone and read to their end. What is in a blind path may be there.
    fn let_go(&mut self, all: &Sight, blind: &[PathBuf], now: Instant) {
        for mut file in std::mem::take(&mut self.files) {
            if let Some(here) = all.of_file(file.identity.id()).next() {
                (file.gone_since, file.size) = (None, here.size);
            } else if !is_within(&file.path, blind) {
                let since = *file.gone_since.get_or_insert(now);
                if now.duration_since(since) >= GRACE && file.is_read_to_its_end() {
                    // In a folder that cannot be looked into it may still be there, and its last line may go on.
                    let folder = file.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
                    let is_blind = || folder.read_dir().is_err_and(|error| may_hold_more(&error));
                    if file.ended || is_blind() {
                        info!(file = file.name(), "a file is gone; it was read to its end");
                        if file.ended {
                            self.news.extend(self.known.part_with(&mut file));
                        } else {
                            self.known.leave(&file);
                        }
                        continue;
                    }
                    file.end();
                }
            }
            self.files.push(file);
        }
    }

    /// Gives each file the name that it is seen under. One that is seen nowhere keeps its own, unless another is seen under that.
    fn rename(&mut self, all: &Sight) {
        let mut moves = Vec::new();
        for (index, file) in self.files.iter_mut().enumerate() {
            let id = file.identity.id();
            let here = all.of_file(id).max_by_key(|seen| seen.path == file.path);
            let to = match here {
                Some(here) if here.path != file.path => here.path.clone(),
                None if all.has_path(&file.path) => name_when_gone(id, &file.path),
                _ => continue,
            };
            // All leave before one arrives: it is to know who had its name.
            if file.gone_since.is_some() && file.remaining() == 0 && file.is_read_to_its_end() {
                self.news.extend(self.known.part_with(file));
            } else {
                self.known.leave(file);
            }
            moves.push((index, to));
        }
        for (index, to) in moves {
            let file = &mut self.files[index];
            info!(from = file.name(), to = name_of(&to), "a file has another name now");
            let earlier = self.known.earlier(&name_of(&to), file.identity.id(), all);
            file.rename(to, earlier);
        }
    }

    /// Opens a file that is not followed yet, unless too many are.
    fn follow(&mut self, seen: &Seen, all: &Sight) -> Result<Option<Followed>, String> {
        let said = |error| cannot_read(&name_of(&seen.path), &error);
        let Some(file) = self.descriptors.open(&seen.path).map_err(said)? else {
            self.refused.get_or_insert_with(|| (0, seen.path.clone())).0 += 1;
            return Ok(None);
        };
        // Rotated between the scan and now: the next scan sees it as it is.
        if FileId::of(&file.metadata().map_err(said)?) != seen.id {
            return Ok(None);
        }
        Followed::open(seen, file, &self.known, all, self.settings.max_record.as_usize()).map(Some)
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

/// What a file is called that was seen under this path, where another is now: no other has this name while it is open.
fn name_when_gone(id: FileId, path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(" (gone, number {})", id.inode));
    PathBuf::from(name)
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
    async fn a_folder_that_is_always_blind_keeps_no_file_elsewhere_open() {
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
        for (blind, expected) in [(Path::new(""), 1), (&*elsewhere, 0)] {
            for _ in 0..4 {
                look(&mut follow, blind);
                tokio::time::advance(GRACE).await;
            }
            assert_eq!(follow.files.len(), expected, "{}", blind.display());
        }
    }
}
