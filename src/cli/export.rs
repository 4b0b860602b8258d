//! `vectide export`: writes out every document.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::settings::Settings;

/// The options of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the vectors too.
    #[arg(long)]
    pub vectors: bool,
    /// How documents are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: ExportFormat,
    /// Where to; without it, to standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ExportFormat {
    /// A line of JSON a document: `{"id","version","fields","metadata","chunks":[{"fingerprint","vector"}]}`.
    #[default]
    Jsonl,
    /// A Parquet file.
    Parquet,
}

/// Writes every document that the index holds.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("export")
}
