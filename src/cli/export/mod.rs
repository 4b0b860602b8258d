//! `vectide export`: writes out every document.

mod pages;
#[cfg(feature = "parquet")]
mod parquet;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use super::{exit, opened, print_json};
use crate::settings::Settings;
use pages::Pages;

/// The options of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the vectors too.
    #[arg(long)]
    pub vectors: bool,
    /// How documents are written.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// One line of JSON per document: `{"id","version","fields","metadata","chunks":[{"fingerprint","vector"}]}`.
    Jsonl,
    /// A Parquet file with the same columns; `version`, `fields` and `metadata` are JSON texts.
    Parquet,
}

/// Writes every document that has fields to standard output.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let write = args.format.writer()?;
    let out = io::stdout();
    if args.format == ExportFormat::Parquet && out.is_terminal() {
        let problem = "Parquet is binary and this is a terminal: redirect it, as in `vectide export --format parquet > held.parquet`";
        return Ok(exit::failed(exit::USAGE, &problem));
    }
    let ledger = opened::ledger(&settings)?;
    let pages = Pages::new(&ledger, args.vectors, settings.document.version_unit());
    write(pages, &mut BufWriter::new(out))?;
    Ok(ExitCode::from(exit::DONE))
}

/// Writes all pages in one format.
type Writer = fn(Pages<'_>, &mut (dyn Write + Send)) -> anyhow::Result<()>;

impl ExportFormat {
    /// What writes it, if this build can.
    fn writer(self) -> anyhow::Result<Writer> {
        match self {
            Self::Jsonl => Ok(write_lines),
            #[cfg(feature = "parquet")]
            Self::Parquet => Ok(parquet::write),
            #[cfg(not(feature = "parquet"))]
            Self::Parquet => {
                anyhow::bail!("this build cannot write Parquet; build it with `--features parquet`")
            }
        }
    }
}

fn write_lines(pages: Pages<'_>, mut out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for page in pages {
        page?.iter().try_for_each(|document| print_json(&mut out, document))?;
    }
    Ok(out.flush()?)
}
