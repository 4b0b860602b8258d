//! Which paths a glob matches.
//!
//! As in a shell: `**` does not go through links to folders, which may lead in a circle, and a name that begins with a dot matches only
//! where the pattern spells the dot.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use glob::{Pattern, PatternError};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What matches, each path once.
    pub paths: BTreeSet<PathBuf>,
    /// What could not be looked at, so that more may match in it. The empty path is the folder that Vectide was started in.
    pub blind: BTreeMap<PathBuf, io::Error>,
}

/// What a pattern says of one name. Bytes that are not UTF-8 are characters like any other to it.
enum Part<'a> {
    /// It is this one.
    Name(&'a OsStr),
    /// It matches.
    Wild(Pattern),
    /// `**`: any folders, or none.
    Folders,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Result<Self, PatternError> {
        Ok(match text {
            "**" => Self::Folders,
            _ if text.contains(['*', '?', '[']) => Self::Wild(Pattern::new(text)?),
            _ => Self::Name(OsStr::new(text)),
        })
    }

    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Self::Name(own) => *own == name,
            Self::Wild(pattern) if is_hidden(name) && !pattern.as_str().starts_with('.') => false,
            Self::Wild(pattern) => pattern.matches(&name.to_string_lossy()),
            Self::Folders => false,
        }
    }
}

/// Whether a name is left out unless a pattern spells its dot: a file may have such a name until all of it is written.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Looks for what a pattern matches.
///
/// # Errors
/// It is no pattern.
pub(super) fn walk(pattern: &str) -> Result<Walk, PatternError> {
    let names = Path::new(pattern).components().filter(|part| *part != Component::CurDir);
    // A slash at the end asks for folders.
    let end = pattern.ends_with('/').then_some("");
    let names = names.filter_map(|part| part.as_os_str().to_str()).chain(end);
    let mut parts = names.map(Part::of).collect::<Result<Vec<_>, _>>()?;
    parts.dedup_by(|next, part| matches!((next, part), (Part::Folders, Part::Folders)));
    let mut walk = Walk::default();
    walk.look_into(PathBuf::new(), &parts);
    Ok(walk)
}

impl Walk {
    /// Goes on from a path that the parts before these match.
    fn go_on(&mut self, path: PathBuf, parts: &[Part]) {
        if parts.is_empty() {
            self.paths.insert(path);
            return;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.look_into(path, parts),
            Ok(_) => {}
            Err(error) => self.cannot_look_at(path, error),
        }
    }

    fn look_into(&mut self, folder: PathBuf, parts: &[Part]) {
        let (is_deep, parts) = match parts {
            [Part::Folders, parts @ ..] => (true, parts),
            _ => (false, parts),
        };
        // `**` at the end means folders.
        let Some((part, rest)) = parts.split_first() else { return };
        if let (false, Part::Name(name)) = (is_deep, part) {
            // Without a look at what else is there, which may not be allowed.
            let path = folder.join(name);
            return match path.symlink_metadata() {
                Ok(_) => self.go_on(path, rest),
                Err(error) => self.cannot_look_at(path, error),
            };
        }
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder) {
                let name = entry.file_name();
                let path = folder.join(&name);
                // Of a link it is the type of the link itself.
                if is_deep && !is_hidden(&name) && entry.file_type().is_ok_and(|it| it.is_dir()) {
                    folders.push(path.clone());
                }
                if part.matches(&name) {
                    self.go_on(path, rest);
                }
            }
        }
    }

    fn entries(&mut self, folder: &Path) -> Vec<DirEntry> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = fs::read_dir(here).and_then(Iterator::collect);
        entries.unwrap_or_else(|error| {
            self.cannot_look_at(folder.to_owned(), error);
            Vec::new()
        })
    }

    fn cannot_look_at(&mut self, path: PathBuf, error: io::Error) {
        if may_hold_more(&error) {
            self.blind.insert(path, error);
        }
    }
}

/// Whether a look that failed like this leaves open what is there. Not found means that nothing is there; so does a file where a folder
/// was.
pub(super) fn may_hold_more(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn files(names: &[impl AsRef<Path>]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap();
        }
        folder
    }

    fn walk_in(folder: &TempDir, pattern: &str) -> Walk {
        walk(&format!("{}/{pattern}", folder.path().display())).unwrap()
    }

    fn matched(folder: &TempDir, pattern: &str) -> Vec<String> {
        let walk = walk_in(folder, pattern);
        assert!(walk.blind.is_empty(), "{pattern}: {:?}", walk.blind);
        shown(folder, walk.paths)
    }

    fn shown(folder: &TempDir, paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
        let within = format!("{}/", folder.path().display());
        paths.into_iter().map(|path| path.display().to_string().replacen(&within, "", 1)).collect()
    }

    #[test]
    fn each_path_is_found_once_in_its_order() {
        let folder = files(&["b", "a/x/b", "a/b", "a/x/y/b"]);
        for (pattern, found) in [
            ("*", &["a", "b"][..]),
            ("**/b", &["a/b", "a/x/b", "a/x/y/b", "b"]),
            ("**/**/b", &["a/b", "a/x/b", "a/x/y/b", "b"]),
            ("**/*/**/b", &["a/b", "a/x/b", "a/x/y/b"]),
            ("a/**/y/?", &["a/x/y/b"]),
            ("*/x/b", &["a/x/b"]),
            ("a/*/../b", &["a/x/../b"]),
            ("[!b]/", &["a/"]),
            ("*/z", &[]),
            ("*/z/b", &[]),
            ("b/*", &[]),
            ("z/*", &[]),
        ] {
            assert_eq!(matched(&folder, pattern), found, "{pattern}");
        }
    }

    #[test]
    fn links_to_folders_are_followed_where_the_pattern_names_them_and_not_by_two_asterisks() {
        let folder = files(&["in/a/x", "out/y"]);
        for (target, link) in
            [(".", "in/self"), ("..", "in/a/up"), ("../out", "in/out"), ("a/x", "in/x"), ("round", "in/round")]
        {
            symlink(target, folder.path().join(link)).unwrap();
        }
        for (pattern, found) in [
            ("in/**/x", &["in/a/x", "in/x"][..]),
            ("in/**/[xy]", &["in/a/x", "in/x"]),
            ("in/*/y", &["in/out/y"]),
            ("in/**/out/y", &["in/out/y"]),
            ("in/self/**/x", &["in/self/a/x", "in/self/x"]),
        ] {
            let walk = walk_in(&folder, pattern);
            assert_eq!(shown(&folder, walk.paths), found, "{pattern}");
        }
    }

    #[test]
    fn a_name_with_a_dot_matches_where_its_dot_is_written() {
        let folder = files(&["a", ".b", ".c/d", ".c/.e", "f/.c/d"]);
        for (pattern, found) in [
            ("*", &["a", "f"][..]),
            (".*", &[".b", ".c"]),
            ("**/d", &[]),
            ("**/.c/*", &[".c/d", "f/.c/d"]),
            (".c/.*", &[".c/.e"]),
            ("[.]b", &[]),
        ] {
            assert_eq!(matched(&folder, pattern), found, "{pattern}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_match_as_others_do() {
        let paths = [&b"gr\xF6sse.jsonl"[..], b"B\xFCcher/a.csv"].map(|path| Path::new(OsStr::from_bytes(path)));
        let folder = files(&paths);
        let [file, below] = paths.map(|path| folder.path().join(path));
        for (pattern, found) in
            [("*.jsonl", &file), ("gr?sse.*", &file), ("*/*.csv", &below), ("B*/a.csv", &below), ("**/a.csv", &below)]
        {
            let walk = walk_in(&folder, pattern);
            assert_eq!(walk.paths, BTreeSet::from([found.clone()]), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_told_once() {
        let folder = files(&["in/a"]);
        symlink("round", folder.path().join("in/round")).unwrap();
        for pattern in ["*/round/*", "**/*/round/**/x"] {
            let walk = walk_in(&folder, pattern);
            assert_eq!(shown(&folder, walk.paths), [""; 0], "{pattern}");
            assert_eq!(shown(&folder, walk.blind.into_keys()), ["in/round"], "{pattern}");
        }
    }
}
