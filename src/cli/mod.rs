//! The command line: one file a command.
//!
//! Results go to standard output, everything else to standard error.

pub mod check;
pub mod completions;
pub mod connect;
pub mod dead_letters;
pub mod exit;
pub mod export;
pub mod get;
pub mod init;
pub mod opened;
pub mod report;
pub mod run;
pub mod search;
pub mod similar;
pub mod stats;
pub mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::document::DocumentId;
use crate::settings;
use crate::telemetry::logging::LogFormat;

/// Keeps a vector index in step with the data it was made from, and pays for an embedding only when the text changed.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// The configuration [default: the environment variable VECTIDE_CONFIG, else config.yaml].
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration: `--set batching.max_items=50`. May be repeated; goes before VECTIDE__BATCHING__MAX_ITEMS
    /// in the environment, which goes before the file.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment, global = true)]
    pub set: Vec<String>,
    /// How log lines look; `auto` is `pretty` on a terminal and plain lines elsewhere.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter like `vectide=debug,reqwest=info`
    /// [default: the environment variable VECTIDE_LOG, else info].
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the index in step with the sources, and keep it there.
    Run(run::Args),
    /// Look for everything that is wrong with the configuration.
    Check(check::Args),
    /// Find documents by meaning.
    Search(search::Args),
    /// Find documents that are like another.
    Similar(similar::Args),
    /// Show what is held of a document.
    Get(get::Args),
    /// Show what was done and what it cost.
    Stats(stats::Args),
    /// Look at, replay or drop the records that could not be processed.
    #[command(subcommand)]
    DeadLetters(dead_letters::Args),
    /// Write out every document.
    ///
    /// A document is written when it has any field, in the order of ids. One that is not in the index, because its text is not complete yet or
    /// cannot be embedded, has `metadata: null` and no chunks; one that was deleted is left out. Memory does not grow with the number of
    /// documents.
    Export(export::Args),
    /// Write a commented configuration to start from.
    Init(init::Args),
    /// Write a completion script for a shell.
    Completions(completions::Args),
}

impl Arguments {
    /// The configuration's file.
    pub fn config_file(&self) -> PathBuf {
        let named = self.config.clone().or_else(|| std::env::var_os("VECTIDE_CONFIG").map(PathBuf::from));
        named.filter(|file| !file.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("config.yaml"))
    }

    /// What is logged, when it was said.
    pub fn log_filter(&self) -> Option<String> {
        self.log
            .clone()
            .or_else(|| std::env::var_os("VECTIDE_LOG").map(|it| it.to_string_lossy().into_owned()))
            .filter(|filter| !filter.is_empty())
    }
}

/// Does what the command line asks for. Errors: what went wrong, or [`settings::Problems`] of the configuration.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let file = arguments.config_file();
    let load = || settings::load(&file, &arguments.set);
    match arguments.command {
        Command::Run(args) => run::run(args, load()?),
        Command::Check(args) => check::run(args, &file, load()?),
        Command::Search(args) => search::run(args, load()?),
        Command::Similar(args) => similar::run(args, load()?),
        Command::Get(args) => get::run(args, load()?),
        Command::Stats(args) => stats::run(args, load()?),
        Command::DeadLetters(args) => dead_letters::run(args, load()?),
        Command::Export(args) => export::run(args, load()?),
        Command::Init(args) => init::run(args, &file),
        Command::Completions(args) => completions::run(args),
    }
}

/// Writes a line of JSON.
fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn assignment(text: &str) -> Result<String, String> {
    let has_key = text.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty());
    has_key.then(|| text.to_owned()).ok_or_else(|| "write `key=value`, like `batching.max_items=50`".to_owned())
}

fn document_id(text: &str) -> Result<DocumentId, String> {
    DocumentId::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_stand_before_the_command() {
        let line = "vectide --config a.yaml --set a.b=1 --set c=2 --log-format json --log debug run --until-idle";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(arguments.config_file(), PathBuf::from("a.yaml"));
        assert_eq!(arguments.set, ["a.b=1", "c=2"]);
        assert_eq!(arguments.log_filter().as_deref(), Some("debug"));
        assert!(matches!(arguments.command, Command::Run(run::Args { until_idle: true })));
    }

    #[test]
    fn dead_letters_are_named_one_by_one_or_all_together() {
        for (line, ids, all) in [("replay 3 5", vec![3, 5], false), ("drop --all", vec![], true)] {
            let words = ["vectide", "dead-letters"].into_iter().chain(line.split(' '));
            let which = match Arguments::try_parse_from(words).unwrap().command {
                Command::DeadLetters(dead_letters::Args::Replay(which) | dead_letters::Args::Drop(which)) => which,
                other => panic!("{other:?}"),
            };
            assert_eq!((which.ids, which.all), (ids, all), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "vectide",
            "vectide walk",
            "vectide search",
            "vectide search boots -k 0",
            "vectide search boots --filter [1]",
            "vectide search boots --filter {",
            "vectide search boots --filter {\"price\":1,\"price\":2}",
            "vectide search boots --filter {\"price\":{\"near\":3}}",
            "vectide search boots --vectors",
            "vectide search boots -k 1001",
            "vectide dead-letters replay",
            "vectide dead-letters replay 3 --all",
            "vectide export --format xml",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
