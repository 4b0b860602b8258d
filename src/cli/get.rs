//! `vectide get`: shows what is held of a document.

use std::process::ExitCode;

use crate::settings::Settings;

/// The options of `get`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document's id.
    pub id: String,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows the document's fields, their versions, its metadata and chunks.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("get")
}
