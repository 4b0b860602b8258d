//! Which files a configured path stands for.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::decompress::Compression;
use super::kind::Kind;
use super::name::name_of;
use super::telling::several;
use super::walk::{Walk, is_hidden, may_hold_more, walk};
use crate::same_file::FileId;
use crate::settings::source::FileSettings;
use crate::source::SourceError;

/// A file as it was seen in a scan.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub path: PathBuf,
    pub kind: Kind,
    pub id: FileId,
    /// How long it was.
    pub size: u64,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files to read, in the order of their paths.
    pub files: Vec<Seen>,
    /// What is meant too and cannot be read: a sentence each, with the path in it.
    pub problems: Vec<(PathBuf, String)>,
    /// What is there beside files to be followed and cannot grow, as rotation compressed it.
    pub compressed: BTreeSet<PathBuf>,
    /// What could not be looked at: there may be more in it. The empty path stands for everything.
    pub blind: Vec<PathBuf>,
    /// Why the path stands for nothing. Where files come and go that is no mistake.
    pub nothing: Option<String>,
}

impl Found {
    /// Why there is no file to read, where one is expected.
    pub fn failure(&self) -> Option<SourceError> {
        if !self.files.is_empty() {
            return None;
        }
        several(self.problems.iter().map(|(_, problem)| problem).chain(&self.nothing)).map(SourceError)
    }

    fn cannot_look_at(&mut self, path: PathBuf, error: &std::io::Error) {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        self.problems.push((path.clone(), cannot_read(&name_of(shown), error)));
        if may_hold_more(error) {
            self.blind.push(path);
        }
    }

    /// Nothing can be looked at, or nothing is there.
    fn cannot_look(&mut self, written: &str, error: &std::io::Error) {
        let reason = cannot_read(written, error);
        if may_hold_more(error) {
            self.problems.push((PathBuf::new(), reason));
            self.blind.push(PathBuf::new());
        } else {
            self.nothing = Some(reason);
        }
    }
}

/// Looks for the files. Folders are not searched below, and hidden files in them are left out.
pub(super) fn scan(settings: &FileSettings) -> Found {
    let written = settings.path.as_str();
    let mut found = Found::default();
    match fs::metadata(written) {
        Ok(metadata) if metadata.is_dir() => in_folder(settings, &mut found),
        Ok(metadata) if metadata.is_file() => take(settings, PathBuf::from(written), &metadata, &mut found),
        Ok(_) => {
            let problem = format!(
                "`{written}` is neither a file nor a folder; to read from a pipe, use a source of `type: stdin`"
            );
            found.problems.push((PathBuf::from(written), problem));
        }
        Err(error) if !may_hold_more(&error) && written.contains(['*', '?', '[']) => by_glob(settings, &mut found),
        Err(error) => found.cannot_look(written, &error),
    }
    found.files.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn in_folder(settings: &FileSettings, found: &mut Found) {
    let folder = &settings.path;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return found.cannot_look(folder, &error),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            // What it gave before is not all.
            Err(error) => return found.cannot_look_at(PathBuf::from(folder), &error),
        };
        if path.file_name().is_some_and(is_hidden) || Kind::of(&path, settings).is_none() {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => take_of_many(settings, path, &metadata, found),
            Ok(_) => {}
            // Rotated meanwhile, or a link to nothing.
            Err(error) if !may_hold_more(&error) => {}
            Err(error) => found.cannot_look_at(path, &error),
        }
    }
    if found.files.is_empty() && found.problems.is_empty() && !settings.follow {
        found.nothing = Some(format!(
            "the folder `{folder}` holds no file that ends in .jsonl, .ndjson, .csv, .tsv or .parquet (.gz or .zst may follow); put \
             one there, or set `format` to read files whatever their ending"
        ));
    }
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| !may_hold_more(&error))
}

fn by_glob(settings: &FileSettings, found: &mut Found) {
    let pattern = &settings.path;
    let Walk { paths, blind } = match walk(pattern) {
        Ok(walk) => walk,
        Err(error) => {
            found.nothing = Some(format!("`{pattern}` is not a glob: {error}"));
            return;
        }
    };
    for path in paths {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            // To open a pipe would wait for whoever writes to it.
            Ok(metadata) if !metadata.is_file() => {
                let problem = format!("`{}` is no file; narrow `path`", name_of(&path));
                found.problems.push((path, problem));
            }
            Ok(metadata) => take_of_many(settings, path, &metadata, found),
            // Rotated meanwhile.
            Err(_) if settings.follow && is_gone(&path) => {}
            Err(error) => found.cannot_look_at(path, &error),
        }
    }
    for (path, error) in blind {
        found.cannot_look_at(path, &error);
    }
    if found.files.is_empty() && found.problems.is_empty() && found.compressed.is_empty() {
        found.nothing = Some(format!(
            "no file matches `{pattern}`; check `path`, which starts at the folder Vectide was started in"
        ));
    }
}

/// As [`take`]; what rotation compressed among files that are followed is no mistake, because it was read before.
fn take_of_many(settings: &FileSettings, path: PathBuf, metadata: &Metadata, found: &mut Found) {
    match Kind::of(&path, settings) {
        Some(kind) if settings.follow && kind.compression != Compression::None => drop(found.compressed.insert(path)),
        _ => take(settings, path, metadata, found),
    }
}

fn take(settings: &FileSettings, path: PathBuf, metadata: &Metadata, found: &mut Found) {
    let shown = name_of(&path);
    let problem = match Kind::of(&path, settings) {
        None => format!(
            "the name of `{shown}` does not tell its format; set `format` to jsonl, csv or parquet, or narrow `path`"
        ),
        Some(kind) if settings.follow && !kind.can_grow() => format!(
            "`{shown}` cannot be followed: only JSON lines and CSV without compression can; leave it out of `path`, or read it \
             by a source of its own without `follow`"
        ),
        Some(kind) => {
            let (id, size) = (FileId::of(metadata), metadata.len());
            return found.files.push(Seen { path, kind, id, size });
        }
    };
    found.problems.push((path, problem));
}

/// Why a path cannot be read and what to do.
pub(super) fn cannot_read(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no file `{path}`; check `path`, which starts at the folder Vectide was started in")
        }
        ErrorKind::PermissionDenied => {
            format!("`{path}` may not be read: {error}; give this user the right to read it")
        }
        _ => format!("`{path}` cannot be read: {error}"),
    }
}
