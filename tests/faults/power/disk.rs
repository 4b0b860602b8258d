//! A disk that keeps for certain only what was synced, and what it may hold after the power was lost.
//!
//! As strict as POSIX: the data of a file is synced with the file, its name with the folder. What was not synced is kept or not, each
//! write and each name by itself and in any order, and a write may be torn between sectors. No write touches a byte beside its
//! own, which SQLite expects of a disk too.

use std::collections::{BTreeMap, HashMap};

use super::log::{Deed, FOLDER, Inode};

/// Files by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Which syncs the disk only pretends to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    None,
    AboutFiles,
    AboutNames,
}

/// See the module.
pub struct Disk {
    lies: Lies,
    /// Every file that ever was.
    files: Vec<Content>,
    by_inode: HashMap<Inode, usize>,
    /// The names as whoever does things sees them.
    seen: Names,
    synced: Names,
    /// Done to `synced`, and not synced.
    renamed: Vec<Naming>,
}

/// A sector that no write is torn by.
const WHOLE: usize = usize::MAX;

type Names = BTreeMap<String, usize>;

#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    changed: Vec<Change>,
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    Cut { length: usize },
}

enum Naming {
    Is { name: String, file: usize },
    IsNot { name: String },
    Moves { from: String, to: String, file: usize },
}

impl Disk {
    pub fn new(lies: Lies) -> Self {
        Self {
            lies,
            files: Vec::new(),
            by_inode: HashMap::new(),
            seen: Names::new(),
            synced: Names::new(),
            renamed: Vec::new(),
        }
    }

    pub fn do_it(&mut self, deed: &Deed) {
        match deed {
            Deed::Make { file, name } => {
                self.by_inode.insert(*file, self.files.len());
                self.name(Naming::Is { name: name.clone(), file: self.files.len() });
                self.files.push(Content::default());
            }
            Deed::Write { file, offset, data } => {
                self.change(*file, Change::Write { offset: *offset, data: data.clone() });
            }
            Deed::Cut { file, length } => self.change(*file, Change::Cut { length: *length }),
            Deed::Rename { from, to } => {
                let file = self.seen[from];
                self.name(Naming::Moves { from: from.clone(), to: to.clone(), file });
            }
            Deed::Remove { name } => self.name(Naming::IsNot { name: name.clone() }),
            Deed::Sync { file: FOLDER } if self.lies != Lies::AboutNames => {
                self.renamed.drain(..).for_each(|naming| naming.apply(&mut self.synced));
            }
            Deed::Sync { file } if *file != FOLDER && self.lies != Lies::AboutFiles => {
                let content = &mut self.files[self.by_inode[file]];
                content.changed.drain(..).for_each(|change| change.apply(&mut content.synced));
            }
            Deed::Sync { .. } => {}
        }
    }

    fn change(&mut self, file: Inode, change: Change) {
        self.files[self.by_inode[&file]].changed.push(change);
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.renamed.push(naming);
    }

    /// What whoever does things sees: all of it.
    pub fn seen(&self) -> Files {
        let content = |file: usize| {
            let mut bytes = self.files[file].synced.clone();
            self.files[file].changed.iter().for_each(|change| change.apply(&mut bytes));
            bytes
        };
        self.seen.iter().map(|(name, file)| (name.clone(), content(*file))).collect()
    }

    /// What the disk may hold after the power was lost now.
    pub fn after_power_loss(&self, random: &mut fastrand::Rng) -> Files {
        let sector = *random.choice(&[512, 4096, WHOLE]).expect("three sizes");
        let mut names = self.synced.clone();
        let mut keeps = Keeps::any(random);
        self.renamed.iter().filter(|_| keeps.this_one()).for_each(|naming| naming.apply(&mut names));
        let contents = names.into_iter().map(|(name, file)| {
            let Content { synced, changed } = &self.files[file];
            let (mut bytes, mut keeps) = (synced.clone(), Keeps::any(random));
            for change in changed {
                for part in change.torn(sector) {
                    if keeps.this_one() {
                        part.apply(&mut bytes);
                    }
                }
            }
            (name, bytes)
        });
        contents.collect()
    }
}

/// How much is kept of what was not synced: some disks lose all of it, some nearly nothing.
struct Keeps {
    random: fastrand::Rng,
    percent: u32,
}

impl Keeps {
    fn any(random: &mut fastrand::Rng) -> Self {
        let percent = *random.choice(&[0, 10, 50, 90, 98, 100]).expect("six of them");
        Self { random: random.fork(), percent }
    }

    fn this_one(&mut self) -> bool {
        self.random.u32(..100) < self.percent
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                bytes.resize(end.max(bytes.len()), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Cut { length } => bytes.resize(*length, 0),
        }
    }

    /// As many changes as there are sectors in it.
    fn torn(&self, sector: usize) -> Vec<Self> {
        match self {
            Self::Write { offset, data } => {
                let first = (sector - offset % sector).min(data.len());
                let (head, rest) = data.split_at(first);
                let parts = std::iter::once(head).chain(rest.chunks(sector));
                let mut at = *offset;
                parts
                    .map(|part| {
                        at += part.len();
                        Self::Write { offset: at - part.len(), data: part.to_vec() }
                    })
                    .collect()
            }
            Self::Cut { length } => vec![Self::Cut { length: *length }],
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Is { name, file } => drop(names.insert(name.clone(), *file)),
            Self::IsNot { name } => drop(names.remove(name)),
            Self::Moves { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}
