//! `vectide export`: writes out every document.

mod pages;
#[cfg(feature = "parquet")]
mod parquet;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{exit, opened, print_json};
use crate::same_file::is_at;
use crate::settings::Settings;
use pages::Pages;

/// The options of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the vectors too.
    #[arg(long)]
    pub vectors: bool,
    /// How documents are written [default: `parquet` into a file of that ending, else `jsonl`].
    #[arg(long, value_enum)]
    pub format: Option<ExportFormat>,
    /// Where to; without it, or for `-`, to standard output. The file is replaced once all is written.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// A line of JSON a document: `{"id","version","fields","metadata","chunks":[{"fingerprint","vector"}]}`.
    Jsonl,
    /// A Parquet file with the same columns; `version`, `fields` and `metadata` are JSON texts.
    Parquet,
}

/// Writes every document that has fields.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let output = args.output.as_deref().filter(|output| *output != Path::new("-"));
    let format = match args.format.map_or_else(|| ExportFormat::of(output), Ok) {
        Ok(format) => format,
        Err(problem) => return Ok(exit::failed(exit::USAGE, &problem)),
    };
    let write = format.writer()?;
    let ledger = opened::ledger(&settings)?;
    let pages = Pages::new(&ledger, args.vectors, settings.document.version_unit());
    match output {
        Some(file) => match Target::of(file, &settings.state.path)? {
            Target::Stream(out) => write(pages, &mut BufWriter::new(out)).with_context(|| cannot(file))?,
            Target::File { path, permissions } => {
                let unfinished = Unfinished::beside(&path)?;
                write(pages, &mut BufWriter::new(&unfinished.file)).with_context(|| cannot(&unfinished.path))?;
                unfinished.finish(&path, permissions)?;
            }
        },
        None if format == ExportFormat::Parquet && io::stdout().is_terminal() => {
            let problem = "a Parquet file is nothing to look at: name a file with `--output`";
            return Ok(exit::failed(exit::USAGE, &problem));
        }
        None => write(pages, &mut BufWriter::new(io::stdout()))?,
    }
    Ok(ExitCode::from(exit::DONE))
}

impl ExportFormat {
    /// That of a file of this name.
    ///
    /// # Errors
    /// The name promises what no export is.
    fn of(file: Option<&Path>) -> Result<Self, String> {
        let ending = file.and_then(Path::extension).unwrap_or_default().to_ascii_lowercase();
        match ending.to_str() {
            Some("parquet") => Ok(Self::Parquet),
            Some(ending @ ("csv" | "gz" | "zst")) => Err(format!(
                "no `.{ending}` can be written: name a file that ends in `.jsonl` or `.parquet`, or the format with `--format`"
            )),
            _ => Ok(Self::Jsonl),
        }
    }

    /// What writes it, if this build can.
    fn writer(self) -> anyhow::Result<Writer> {
        match self {
            Self::Jsonl => Ok(write_lines),
            #[cfg(feature = "parquet")]
            Self::Parquet => Ok(parquet::write),
            #[cfg(not(feature = "parquet"))]
            Self::Parquet => {
                anyhow::bail!("this Vectide was built without Parquet: build it with the cargo feature `parquet`")
            }
        }
    }
}

/// Writes all pages in one format.
type Writer = fn(Pages<'_>, &mut (dyn Write + Send)) -> anyhow::Result<()>;

fn cannot(file: &Path) -> String {
    format!("{} cannot be written", file.display())
}

fn write_lines(pages: Pages<'_>, mut out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for page in pages {
        page?.iter().try_for_each(|document| print_json(&mut out, document))?;
    }
    Ok(out.flush()?)
}

/// Where an export goes.
enum Target {
    /// A device or a pipe: it is written to, and stays what it is.
    Stream(File),
    /// A file, which is replaced by one with the same permissions.
    File { path: PathBuf, permissions: Option<Permissions> },
}

impl Target {
    /// Behind links. Nothing in the data folder is overwritten.
    fn of(file: &Path, data: &Path) -> anyhow::Result<Self> {
        let cannot = || cannot(file);
        let there = match fs::metadata(file) {
            Ok(there) if there.is_dir() => anyhow::bail!("{} is a folder: name a file in it", file.display()),
            Ok(there) if !there.is_file() => {
                return Ok(Self::Stream(File::options().write(true).open(file).with_context(cannot)?));
            }
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_link(file) {
                Ok(to) => return Self::of(&file.parent().unwrap_or(file).join(to), data),
                Err(_) => None,
            },
            Err(error) => return Err(error).with_context(cannot),
        };
        let path = match &there {
            Some(_) => file.canonicalize().with_context(cannot)?,
            None => {
                // What ends with a slash is a folder, which is not made.
                let ends_with = |name: &&OsStr| file.as_os_str().as_bytes().ends_with(name.as_bytes());
                let name = file.file_name().filter(ends_with);
                let name = name.with_context(|| format!("there is no folder {}: name a file", file.display()))?;
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                folder.canonicalize().with_context(cannot)?.join(name)
            }
        };
        if data.canonicalize().is_ok_and(|data| path.starts_with(data)) {
            anyhow::bail!("{} is in `state.path`, which is Vectide's own: name a file elsewhere", file.display());
        }
        Ok(Self::File { path, permissions: there.map(|there| there.permissions()) })
    }
}

/// A file that is written beside the one it will replace, and that goes when it is not finished. One that a killed process left is
/// written over.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".unfinished");
        let path = file.with_file_name(hidden);
        let open = || File::options().write(true).create(true).truncate(false).open(&path);
        let unfinished = open().with_context(|| cannot(&path))?;
        // Until this process ends. Who has it open from before it was finished by another holds a file that is in its place by now.
        let is_ours = unfinished.try_lock().is_ok() && is_at(&unfinished, &path);
        anyhow::ensure!(is_ours, "{} is being written by another export", file.display());
        unfinished.set_len(0).with_context(|| cannot(&path))?;
        Ok(Self { path, file: unfinished })
    }

    fn finish(self, file: &Path, permissions: Option<Permissions>) -> anyhow::Result<()> {
        let permitted = permissions.map_or(Ok(()), |permissions| self.file.set_permissions(permissions));
        let done = permitted.and_then(|()| self.file.sync_all()).and_then(|()| fs::rename(&self.path, file));
        done.with_context(|| cannot(file))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a success there is nothing there any more, or another process's.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
