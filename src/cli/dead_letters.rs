//! `vectide dead-letters`: looks at, replays or drops the records that could not be processed.

use std::process::ExitCode;

use crate::settings::Settings;

/// What to do with dead letters.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List them, oldest first.
    List {
        /// A line of JSON each: `{"id","source","position","reason","attempts","at"}`.
        #[arg(long)]
        json: bool,
    },
    /// Show one with its record.
    Show {
        /// Its number, as `list` shows it.
        id: i64,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send them through the pipeline again.
    Replay(Which),
    /// Forget them: their records are lost.
    Drop(Which),
}

/// Some dead letters, or all.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Their numbers, as `list` shows them.
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

/// Does it in the ledger; a running pipeline takes up what is to be replayed.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("dead-letters")
}
