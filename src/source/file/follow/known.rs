//! How far files were read under each name: what a file that is seen is known by, whatever it is called now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;

use tracing::warn;

use super::followed::Followed;
use super::sight::Sight;
use crate::same_file::FileId;
use crate::source::file::gone;
use crate::source::file::identity::Progress;
use crate::source::file::kind::Kind;
use crate::source::file::name::name_of;
use crate::source::{Position, place};

#[derive(Default)]
pub(super) struct Known {
    /// By name: the file that gave records under it last, as far as it was read, then those that had it before.
    files: BTreeMap<String, Vec<Progress>>,
    /// The names of the files with this number in their file system.
    names: HashMap<u64, BTreeSet<String>>,
    /// By name: a version behind all records of the files that left it, those to come too.
    ends: HashMap<String, i64>,
}

impl Known {
    /// Takes in the committed positions of an earlier run.
    pub fn remember(&mut self, committed: &[Position]) {
        for (name, progress, earlier) in Progress::all(committed) {
            self.set(name, std::iter::once(progress).chain(earlier).collect());
        }
    }

    fn set(&mut self, name: &str, files: Vec<Progress>) {
        self.remove(name);
        for file in &files {
            self.names.entry(file.identity.id().inode).or_default().insert(name.to_owned());
        }
        self.files.insert(name.to_owned(), files);
    }

    fn remove(&mut self, name: &str) {
        for before in self.files.remove(name).iter().flatten().map(|file| file.identity.id().inode) {
            if let Some(names) = self.names.get_mut(&before) {
                names.remove(name);
                if names.is_empty() {
                    self.names.remove(&before);
                }
            }
        }
    }

    /// A version behind all records of the files that had this name.
    pub fn behind(&self, name: &str) -> Option<i64> {
        let last = self.last(name).map(|last| place::behind(last.base, last.mark.ordinal));
        last.max(self.ends.get(name).copied())
    }

    /// The file that gave records under this name last.
    fn last(&self, name: &str) -> Option<&Progress> {
        self.files.get(name)?.first()
    }

    /// How far this file was read, under whatever name. All positions are committed in the order of reading, so what the furthest of them
    /// says is so, and the others say less.
    ///
    /// A file system may have another number after it was mounted anew. But what is there as it was is no other file.
    pub fn progress(&self, file: &File, id: FileId, kind: Kind, all: &Sight) -> io::Result<Option<&Progress>> {
        let mut furthest = None::<&Progress>;
        let names = self.names.get(&id.inode).into_iter().flatten();
        for progress in names.filter_map(|name| self.files.get(name)).flatten() {
            let before = progress.identity.id();
            let is_elsewhere = || before != id && all.of_file(before).next().is_some();
            // Of a line half of which was given under one name, the whole one under the other counts.
            let reached = |progress: &Progress| (progress.end(), progress.mark.offset);
            let is_further = furthest.is_none_or(|furthest| reached(progress) > reached(furthest));
            // Cheapest first.
            if is_further && before.may_be(id) && !is_elsewhere() && progress.identity.is_same_file(file, kind)? {
                furthest = Some(progress);
            }
        }
        Ok(furthest)
    }

    /// The files that had this name before and are still there under another.
    pub fn earlier(&self, name: &str, own: FileId, all: &Sight) -> Vec<Progress> {
        let still_there = |progress: &&Progress| {
            let id = progress.identity.id();
            !id.may_be(own) && all.may_have(id)
        };
        self.files.get(name).into_iter().flatten().filter(still_there).cloned().collect()
    }

    /// Remembers how far a file was read under the name it has, unless it gave nothing.
    pub fn leave(&mut self, file: &Followed) {
        let size = file.file.metadata().map_or(file.size, |now| now.len());
        if size > 0 {
            // A line takes a byte at least.
            self.note_end(file.name(), place::behind(file.place.base, file.given.ordinal.max(size)));
        }
        self.keep(file);
    }

    /// As [`Known::leave`], of a file that cannot be read. It may be opened again at every look, which must not make it newer each time.
    pub fn give_up(&mut self, file: &Followed) {
        self.note_end(file.name(), file.place.base);
        self.keep(file);
    }

    fn note_end(&mut self, name: &str, end: i64) {
        let known = self.ends.entry(name.to_owned()).or_insert(end);
        *known = end.max(*known);
    }

    fn keep(&mut self, file: &Followed) {
        if file.given.offset > 0 {
            self.set(file.name(), std::iter::once(file.progress()).chain(file.earlier.iter().cloned()).collect());
        }
    }

    /// As [`Known::leave`], of a file that is gone and was read to its end: the position that says so, if it is news.
    pub fn part_with(&mut self, file: &mut Followed) -> Option<Position> {
        self.leave(file);
        let is_told = std::mem::replace(&mut file.parted, true) || file.given.offset == 0;
        if is_told { None } else { self.let_go(file.name()) }
    }

    /// Notes that nobody waits any longer for the last file of this name, and gives the position that says so.
    pub fn let_go(&mut self, name: &str) -> Option<Position> {
        let (last, earlier) = self.files.get_mut(name)?.split_first_mut()?;
        last.gone = true;
        Some(last.position(name, earlier))
    }

    /// The last file of each name, where it is not among these.
    fn elsewhere(&self, all: &Sight) -> impl Iterator<Item = (&str, &Progress)> {
        let last = self.files.iter().filter_map(|(name, known)| Some((name.as_str(), known.first()?)));
        last.filter(|(_, last)| !all.may_have(last.identity.id()))
    }

    /// Forgets names of files that are gone, if there are too many, unless a file has them now or is followed under them. Says which.
    pub fn forget(&mut self, all: &Sight, followed: &[Followed]) -> Vec<String> {
        if self.files.len().max(self.ends.len()) <= gone::REMEMBERED {
            return Vec::new();
        }
        let there = all.files().iter().map(|seen| name_of(&seen.path));
        let taken: HashSet<String> = there.chain(followed.iter().map(|file| file.name().to_owned())).collect();
        let is_needed = |name: &str| {
            // A file that has another name now and gave nothing under it is known by its earlier one.
            taken.contains(name) || self.files[name].iter().any(|progress| all.may_have(progress.identity.id()))
        };
        let forgotten = gone::too_many(self.elsewhere(all).filter(|(name, _)| !is_needed(name)));
        forgotten.iter().for_each(|name| self.remove(name));
        self.ends.retain(|name, _| self.files.contains_key(name) || taken.contains(name));
        forgotten
    }

    /// Whether somebody may wait for this file: it was seen to go under none of its names.
    fn is_missed(&self, file: &Progress) -> bool {
        let names = self.names.get(&file.identity.id().inode).into_iter().flatten();
        !names.filter_map(|name| self.last(name)).any(|last| last.gone && last.identity.is_one_with(&file.identity))
    }

    /// Warns of files that went unseen: these are their names.
    pub fn warn_of_lost(&self, all: &Sight) -> Vec<String> {
        let lost: Vec<_> = self.elsewhere(all).filter(|(_, last)| self.is_missed(last)).collect();
        if let Some((name, last)) = lost.iter().max_by_key(|(_, last)| last.identity.modified()) {
            warn!(
                files = lost.len(),
                newest = name,
                line = last.mark.ordinal,
                "files read before are not there any more under any name that `path` matches, and were not seen to go; lines written to \
                 the newest of them behind this one are not read, nor are such of the others. If they were rotated, let `path` match \
                 rotated files too (`app.log*`) to have them after a restart"
            );
        }
        lost.into_iter().map(|(name, _)| name.to_owned()).collect()
    }
}
