//! Which files a configured path stands for.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::decompress::Compression;
use super::kind::Kind;
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
}

/// Why there is nothing to read.
#[derive(Debug)]
pub(super) enum ScanError {
    /// There is nothing, or nothing that could be read.
    Nothing(SourceError),
    /// What is in these paths could not be looked at; all of it where one of them is empty.
    Unseen(SourceError, Vec<PathBuf>),
}

impl From<ScanError> for SourceError {
    fn from(error: ScanError) -> Self {
        let (ScanError::Nothing(reason) | ScanError::Unseen(reason, _)) = error;
        reason
    }
}

impl ScanError {
    fn of(path: &str, error: &std::io::Error) -> Self {
        let reason = SourceError(cannot_read(path, error));
        if may_hold_more(error) { Self::Unseen(reason, vec![PathBuf::new()]) } else { Self::Nothing(reason) }
    }
}

impl Found {
    /// What is known in spite of this, where files come and go. The reason is that of no file.
    pub fn in_spite_of(error: ScanError) -> Self {
        match error {
            ScanError::Nothing(_) => Self::default(),
            ScanError::Unseen(SourceError(reason), blind) => {
                Self { problems: vec![(PathBuf::new(), reason)], blind, ..Self::default() }
            }
        }
    }

    fn cannot_look_at(&mut self, path: PathBuf, error: &std::io::Error) {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        self.problems.push((path.clone(), cannot_read(&shown.display().to_string(), error)));
        if may_hold_more(error) {
            self.blind.push(path);
        }
    }
}

/// Looks for the files. Folders are not searched below, and hidden files in them are left out.
///
/// # Errors
/// The path stands for nothing that can be read now.
pub(super) fn scan(settings: &FileSettings) -> Result<Found, ScanError> {
    let written = settings.path.as_str();
    let mut found = Found::default();
    match fs::metadata(written) {
        Ok(metadata) if metadata.is_dir() => in_folder(settings, &mut found)?,
        Ok(metadata) if metadata.is_file() => take(settings, PathBuf::from(written), &metadata, &mut found),
        Ok(_) => {
            return Err(ScanError::Nothing(SourceError(format!(
                "`{written}` is neither a file nor a folder; to read from a pipe, use a source of `type: stdin`"
            ))));
        }
        Err(error) if !may_hold_more(&error) && written.contains(['*', '?', '[']) => by_glob(settings, &mut found)?,
        Err(error) => return Err(ScanError::of(written, &error)),
    }
    found.files.sort_by(|one, other| one.path.cmp(&other.path));
    if found.files.is_empty() && !found.problems.is_empty() {
        let problems: Vec<String> = found.problems.into_iter().map(|(_, problem)| problem).collect();
        let reason = SourceError(problems.join("; "));
        return Err(if found.blind.is_empty() {
            ScanError::Nothing(reason)
        } else {
            ScanError::Unseen(reason, found.blind)
        });
    }
    Ok(found)
}

fn in_folder(settings: &FileSettings, found: &mut Found) -> Result<(), ScanError> {
    let folder = &settings.path;
    let entries = fs::read_dir(folder).map_err(|error| ScanError::of(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| ScanError::of(folder, &error))?.path();
        if path.file_name().is_some_and(is_hidden) || Kind::of(&path, settings.format).is_none() {
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
        return Err(ScanError::Nothing(SourceError(format!(
            "the folder `{folder}` holds no file that ends in .jsonl, .ndjson, .csv or .parquet (.gz or .zst may follow); put one \
             there, or set `format` to read files whatever their ending"
        ))));
    }
    Ok(())
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| !may_hold_more(&error))
}

fn by_glob(settings: &FileSettings, found: &mut Found) -> Result<(), ScanError> {
    let pattern = &settings.path;
    let Walk { paths, blind } = walk(pattern)
        .map_err(|error| ScanError::Nothing(SourceError(format!("`{pattern}` is not a glob: {error}"))))?;
    for path in paths {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            // To open a pipe would wait for whoever writes to it.
            Ok(metadata) if !metadata.is_file() => {
                let problem = format!("`{}` is no file; narrow `path`", path.display());
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
        return Err(ScanError::Nothing(SourceError(format!(
            "no file matches `{pattern}`; check `path`, which starts at the folder Vectide was started in"
        ))));
    }
    Ok(())
}

/// As [`take`]; what rotation compressed among files that are followed is no mistake, because it was read before.
fn take_of_many(settings: &FileSettings, path: PathBuf, metadata: &Metadata, found: &mut Found) {
    match Kind::of(&path, settings.format) {
        Some(kind) if settings.follow && kind.compression != Compression::None => drop(found.compressed.insert(path)),
        _ => take(settings, path, metadata, found),
    }
}

fn take(settings: &FileSettings, path: PathBuf, metadata: &Metadata, found: &mut Found) {
    let shown = path.display();
    let problem = match Kind::of(&path, settings.format) {
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
