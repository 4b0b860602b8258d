//! `vectide similar`: finds documents similar to another.

use std::process::ExitCode;

use super::opened::{block_on, searcher};
use super::search::{self, AnswerArgs};
use crate::document::DocumentId;
use crate::settings::Settings;

/// The options of `similar`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document's id.
    #[arg(value_parser = DocumentId::new)]
    pub id: DocumentId,
    /// How the answer looks.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// Shows the documents nearest to one that the index holds.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    block_on(async {
        let (searcher, ledger) = searcher(&settings)?;
        let answer = searcher.similar(args.id, args.answer.options()).await;
        search::show(answer, "the index holds no other documents", &args.answer, &settings, &ledger)
    })
}
