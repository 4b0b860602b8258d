//! `vectide search`: finds documents by meaning.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use crate::settings::Settings;

/// The options of `search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to look for, in words.
    pub text: String,
    /// How the answer looks.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// What is found and how it is shown; the same for every way to search.
#[derive(Debug, clap::Args)]
pub struct AnswerArgs {
    /// The most documents to show.
    #[arg(short, value_name = "N", default_value = "10")]
    pub k: NonZeroUsize,
    /// Which documents count, by their metadata: a JSON object like `{"category": "shoes"}`.
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub filter: Option<serde_json::Value>,
    /// Show the vectors too.
    #[arg(long)]
    pub vectors: bool,
    /// Answer as JSON: `{"hits":[{"id","score","metadata","chunk"}]}`.
    #[arg(long)]
    pub json: bool,
}

fn json_object(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err("a filter is a JSON object like {\"category\": \"shoes\"}".to_owned()),
        Err(error) => Err(format!("this is no JSON: {error}")),
    }
}

/// Embeds the text and shows the nearest documents.
pub fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    super::not_built_yet("search")
}
