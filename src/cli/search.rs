//! `vectide search`: finds documents by meaning.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::opened::{block_on, searcher};
use super::table::Table;
use super::{exit, print_json};
use crate::document::decode::strict_text;
use crate::document::template::Template;
use crate::index::{Filter, Hit};
use crate::ledger::Ledger;
use crate::search::{MAX_K, SearchError, SearchOptions};
use crate::settings::Settings;
use crate::telemetry::terminal;
use crate::view::HitsView;

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
    #[arg(short, value_name = "N", default_value = "10", value_parser = k)]
    pub k: usize,
    /// Which documents count, by their metadata: a JSON object like `{"category": "shoes"}`.
    #[arg(long, value_name = "JSON", value_parser = filter)]
    pub filter: Option<Filter>,
    /// Add the vectors to the JSON.
    #[arg(long, requires = "json")]
    pub vectors: bool,
    /// Answer as JSON: `{"hits":[{"id","score","metadata","chunk"}]}`.
    #[arg(long)]
    pub json: bool,
}

fn k(text: &str) -> Result<usize, String> {
    let k = text.parse().ok().filter(|k| (1..=MAX_K).contains(k));
    k.ok_or_else(|| format!("it must be a whole number from 1 to {MAX_K}"))
}

fn filter(text: &str) -> Result<Filter, String> {
    let json = strict_text(text).map_err(|error| format!("cannot read this: {error}"))?;
    match json {
        Value::Object(_) => Filter::from_json(&json),
        _ => Err("a filter is a JSON object like {\"category\": \"shoes\"}".to_owned()),
    }
}

impl AnswerArgs {
    pub(super) fn options(&self) -> SearchOptions {
        SearchOptions { k: self.k, filter: self.filter.clone(), with_vectors: self.vectors }
    }
}

/// Embeds the text and shows the nearest documents.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    block_on(async {
        let (searcher, ledger) = searcher(&settings)?;
        let answer = searcher.search(&args.text, args.answer.options()).await;
        show(answer, "the index answers with none of its documents", &args.answer, &settings, &ledger)
    })
}

/// Shows the answer to a search, or why there is none: `nothing` where every document counts.
pub(super) fn show(
    answer: Result<Vec<Hit>, SearchError>,
    nothing: &'static str,
    args: &AnswerArgs,
    settings: &Settings,
    ledger: &Ledger,
) -> anyhow::Result<ExitCode> {
    let hits = match answer {
        Ok(hits) => hits,
        Err(error @ SearchError::Invalid(_)) => return Ok(exit::failed(exit::USAGE, &error)),
        Err(error @ SearchError::NotFound(_)) => return Ok(exit::failed(exit::NOT_FOUND, &error)),
        Err(error @ SearchError::Unavailable { .. }) => return Err(error.into()),
    };
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&mut out, &HitsView::from(hits))?;
    } else if hits.is_empty() {
        writeln!(out, "nothing found: {}", why_nothing(nothing, args, ledger)?)?;
    } else {
        table(&hits, &titles(&hits, settings, ledger)?).write(&mut out, terminal::width())?;
    }
    out.flush()?;
    Ok(ExitCode::from(exit::DONE))
}

fn why_nothing(nothing: &'static str, args: &AnswerArgs, ledger: &Ledger) -> anyhow::Result<&'static str> {
    Ok(match (ledger.counts()?.indexed, &args.filter) {
        (0, _) => "the index holds no documents yet",
        (_, Some(_)) => "no document matches the filter",
        (_, None) => nothing,
    })
}

fn table(hits: &[Hit], titles: &[String]) -> Table<5> {
    let mut table = Table::new(["#", "SCORE", "ID~", "TEXT~", "METADATA~"]);
    for ((rank, hit), title) in (1..).zip(hits).zip(titles) {
        let id = hit.id.as_str().to_owned();
        table.row([rank.to_string(), format!("{:.3}", hit.score), id, title.clone(), brief(&hit.metadata)]);
    }
    table
}

/// The first line of each document's text.
fn titles(hits: &[Hit], settings: &Settings, ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    let template = Template::new(&settings.document).map_err(anyhow::Error::msg)?;
    let ids: Vec<_> = hits.iter().map(|hit| hit.id.clone()).collect();
    let title = |document| {
        // The template may have changed since the document was indexed; a hit without a title is still a hit.
        let text = template.render(document).ok().flatten().unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let held = ledger.documents(&ids)?;
    Ok(held.iter().map(|held| held.as_ref().map(|held| title(&held.document)).unwrap_or_default()).collect())
}

/// Metadata for people: `category: Shoes, price: 20.99`.
pub(super) fn brief(metadata: &Value) -> String {
    let Value::Object(fields) = metadata else { return metadata.to_string() };
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
    fields.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::DocumentId;

    #[test]
    fn a_table_shows_rank_score_text_and_metadata() {
        let hit = |id: &str, score, metadata| Hit {
            id: DocumentId::new(id).unwrap(),
            score,
            metadata,
            chunk: 0,
            vector: None,
        };
        let hits = [
            hit("p1", 0.6412, json!({"category": "Shoes", "price": 20.99})),
            hit("p22", 0.5, json!({"sizes": [1, 2], "sale": null})),
        ];
        let mut out = Vec::new();
        table(&hits, &["Rubber boots".into(), String::new()]).write(&mut out, 80).unwrap();
        let expected = "\
#  SCORE  ID   TEXT          METADATA
1  0.641  p1   Rubber boots  category: Shoes, price: 20.99
2  0.500  p22                sale: null, sizes: [1,2]
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
