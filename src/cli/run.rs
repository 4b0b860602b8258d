//! `vectide run`: brings the index in step with the sources, and keeps it there.

use std::process::ExitCode;

use crate::settings::Settings;

/// The options of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End once every source has nothing left to read and everything read is settled.
    #[arg(long)]
    pub until_idle: bool,
}

/// Runs the pipeline until it is told to stop, or is idle. Exit code 3 when work was left.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("run")
}
