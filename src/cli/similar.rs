//! `vectide similar`: finds documents that are like another.

use std::process::ExitCode;

use super::search::AnswerArgs;
use crate::settings::Settings;

/// The options of `similar`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document's id.
    pub id: String,
    /// How the answer looks.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// Shows the documents nearest to one that the index holds.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("similar")
}
