//! `vectide stats`: shows what was done and what it cost.

use std::process::ExitCode;

use crate::settings::Settings;

/// The options of `stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Answer as JSON: the body of `/v1/stats`.
    #[arg(long)]
    pub json: bool,
}

/// Shows texts, tokens, cache hits, money, documents, points and dead letters.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("stats")
}
