//! `vectide export`: writes out every document.

mod pages;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{exit, opened, print_json};
use crate::settings::Settings;
use pages::Pages;

/// The options of `export`.
///
/// A document is written when it has any field, in the order of ids. One that is not in the index, because its text is not complete yet or
/// cannot be embedded, has `metadata: null` and no chunks; one that was deleted is left out. Memory does not grow with the number of documents.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the vectors too.
    #[arg(long)]
    pub vectors: bool,
    /// How documents are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: ExportFormat,
    /// Where to; without it, to standard output. The file is replaced once all is written.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ExportFormat {
    /// A line of JSON a document: `{"id","version","fields","metadata","chunks":[{"fingerprint","vector"}]}`.
    #[default]
    Jsonl,
    /// A Parquet file with the same columns; `version`, `fields` and `metadata` are JSON texts.
    Parquet,
}

/// Writes every document that has fields.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let ledger = opened::ledger(&settings)?;
    let pages = Pages::new(&ledger, args.vectors, settings.document.version_unit());
    match &args.output {
        Some(file) => match Target::of(file, &settings.state.path)? {
            Target::Stream(out) => write(args.format, pages, BufWriter::new(out))?,
            Target::File { path, permissions } => {
                let unfinished = Unfinished::beside(&path)?;
                let out = File::create(&unfinished.0);
                let out = out.with_context(|| format!("{} cannot be written", unfinished.0.display()))?;
                write(args.format, pages, BufWriter::new(&out))?;
                unfinished.finish(&out, &path, permissions)?;
            }
        },
        None if args.format == ExportFormat::Parquet && io::stdout().is_terminal() => {
            let problem = "a Parquet file is nothing to look at: name a file with `--output`";
            return Ok(exit::failed(exit::USAGE, &problem));
        }
        None => write(args.format, pages, BufWriter::new(io::stdout()))?,
    }
    Ok(ExitCode::from(exit::DONE))
}

fn write(format: ExportFormat, pages: Pages<'_>, out: impl Write + Send) -> anyhow::Result<()> {
    match format {
        ExportFormat::Jsonl => write_lines(pages, out),
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => parquet::write(pages, out),
        #[cfg(not(feature = "parquet"))]
        ExportFormat::Parquet => {
            anyhow::bail!("this Vectide was built without Parquet: build it with the cargo feature `parquet`")
        }
    }
}

fn write_lines(pages: Pages<'_>, mut out: impl Write) -> anyhow::Result<()> {
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
        let cannot = || format!("{} cannot be written", file.display());
        let there = match fs::metadata(file) {
            Ok(there) if there.is_dir() => anyhow::bail!("{} is a folder: name a file in it", file.display()),
            Ok(there) if !there.is_file() => {
                return Ok(Self::Stream(File::options().write(true).open(file).with_context(cannot)?));
            }
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(cannot),
        };
        let path = match &there {
            Some(_) => file.canonicalize().with_context(cannot)?,
            None => {
                let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
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

/// A file that is written beside the one it will replace, and that goes when it is not finished.
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.unfinished", std::process::id()));
        Ok(Self(file.with_file_name(hidden)))
    }

    fn finish(self, written: &File, file: &Path, permissions: Option<Permissions>) -> anyhow::Result<()> {
        let permitted = permissions.map_or(Ok(()), |permissions| written.set_permissions(permissions));
        let done = permitted.and_then(|()| written.sync_all()).and_then(|()| fs::rename(&self.0, file));
        done.with_context(|| format!("{} cannot be written", file.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a success there is nothing there any more.
        let _ = fs::remove_file(&self.0);
    }
}
