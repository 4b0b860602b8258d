//! The command line: one file per command.
//!
//! Results go to standard output, everything else to standard error.

pub mod check;
pub mod completions;
pub mod connect;
pub mod dead_letters;
pub mod exit;
pub mod export;
mod first_record;
pub mod get;
pub mod init;
pub mod lenient;
pub mod opened;
pub mod options;
pub mod run;
pub mod search;
pub mod similar;
pub mod stats;
pub mod stop;
pub mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Args as _, FromArgMatches, Subcommand};
use serde::Serialize;

use crate::settings;
use options::Options;
use stop::Stop;

/// Keeps a vector index in step with the data it was made from, and pays for an embedding only when the text changed.
#[derive(Debug, clap::Args)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// Those of every command.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the index into step with the sources, and keep it there.
    Run(run::Args),
    /// Look for everything that is wrong with the configuration.
    Check(check::Args),
    /// Find documents by meaning.
    Search(search::Args),
    /// Find documents similar to another.
    Similar(similar::Args),
    /// Show a document as it is held.
    Get(get::Args),
    /// Show what was done and what it cost.
    Stats(stats::Args),
    /// Look at, replay or drop the records that could not be processed.
    #[command(subcommand)]
    DeadLetters(dead_letters::Args),
    /// Write out every document.
    ///
    /// A document is written when it has any field, in the order of ids. One that is not in the index, because its text is not
    /// complete yet or cannot be embedded, has `metadata: null` and no chunks; one that was deleted is left out. Memory does not grow
    /// with the number of documents.
    Export(export::Args),
    /// Write a commented configuration to start from.
    Init(init::Args),
    /// Write a completion script for a shell.
    Completions(completions::Args),
}

impl Arguments {
    /// Reads a command line. Errors: what clap has to say to it.
    pub fn of_words<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let mut line = Self::line();
        let matches = line.try_get_matches_from_mut(words)?;
        let read = Self::from_arg_matches(&matches).and_then(|mut arguments| {
            arguments.options.add_those_behind(&matches)?;
            arguments.refuse_what_is_passed_over()?;
            Ok(arguments)
        });
        read.map_err(|error| error.format(&mut line))
    }

    /// Whoever sets something where nothing reads it believes that it was done.
    fn refuse_what_is_passed_over(&self) -> Result<(), clap::Error> {
        let Options { config, set, .. } = &self.options;
        let told = match self.command {
            Command::Init(_) if !set.is_empty() => {
                "`init` writes the same file whatever `--set` says; edit the file, or give `--set` to the commands that read it"
            }
            Command::Completions(_) if !set.is_empty() || config.is_some() => {
                "`completions` does not read the configuration; leave out `--set` and `--config`"
            }
            _ => return Ok(()),
        };
        Err(clap::Error::raw(ErrorKind::ArgumentConflict, told))
    }

    /// What clap knows of the command line.
    pub fn line() -> clap::Command {
        options::behind_commands(Self::augment_args(clap::Command::new(env!("CARGO_PKG_NAME"))))
    }
}

/// Does what the command line asks for. Errors: what went wrong, or [`settings::Problems`] of the configuration.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let file = arguments.options.config_file();
    let load = || settings::load(&file, &arguments.options.set);
    match arguments.command {
        Command::Run(args) => {
            // First: without a handler a signal would be a crash.
            let stop = Stop::listen().context("listening for signals")?;
            run::run(args, load()?, stop)
        }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::telemetry::logging::LogFormat;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::line().debug_assert();
    }

    #[test]
    fn options_stand_before_the_command_and_behind_it() {
        for line in [
            "vectide --config a.yaml --set a.b=1 --set c=2 --set a.b=3 --log-format json --log debug run --until-idle",
            "vectide run --config a.yaml --set a.b=1 --set c=2 --set a.b=3 --log-format json --log debug --until-idle",
            "vectide --config a.yaml --set a.b=1 --log debug run --set c=2 --until-idle --log-format json --set a.b=3",
        ] {
            let arguments = Arguments::of_words(line.split(' ')).unwrap();
            assert_eq!(arguments.options.config_file(), PathBuf::from("a.yaml"), "{line}");
            assert_eq!(arguments.options.set, ["a.b=1", "c=2", "a.b=3"], "{line}");
            assert_eq!(arguments.options.log_format, Some(LogFormat::Json), "{line}");
            assert_eq!(arguments.options.log_filter().as_deref(), Some("debug"), "{line}");
            assert!(matches!(arguments.command, Command::Run(run::Args { until_idle: true })), "{line}");
        }
        let line = "vectide --set a=1 dead-letters --set b=2 list --set c=3";
        assert_eq!(Arguments::of_words(line.split(' ')).unwrap().options.set, ["a=1", "b=2", "c=3"]);
    }

    #[test]
    fn what_can_be_said_once_is_refused_on_both_sides_as_on_one() {
        for (option, named) in [
            ("--config a", "--config <FILE>"),
            ("--log-format json", "--log-format <FORMAT>"),
            ("--log off", "--log <LEVEL>"),
        ] {
            for line in [format!("vectide {option} {option} run"), format!("vectide {option} run {option}")] {
                let told = Arguments::of_words(line.split(' ')).unwrap_err().to_string();
                let told = told.lines().next().unwrap();
                assert_eq!(told, format!("error: the argument '{named}' cannot be used multiple times"), "{line}");
            }
        }
    }

    #[test]
    fn what_a_command_would_pass_over_is_refused() {
        for (line, named) in [
            ("vectide init --set a=1", "`init`"),
            ("vectide --set a=1 init --force", "`init`"),
            ("vectide --set a=1 completions bash", "`completions`"),
            ("vectide completions bash --config a.yaml", "`completions`"),
        ] {
            let told = Arguments::of_words(line.split(' ')).unwrap_err().to_string();
            assert!(told.starts_with(&format!("error: {named}")), "{line}: {told}");
        }
        assert!(Arguments::of_words(["vectide", "init", "--config", "a.yaml"]).is_ok());
    }

    #[test]
    fn dead_letters_are_named_one_by_one_or_all_together() {
        for (line, ids, all) in [("replay 3 5", vec![3, 5], false), ("drop --all", vec![], true)] {
            let words = ["vectide", "dead-letters"].into_iter().chain(line.split(' '));
            let which = match Arguments::of_words(words).unwrap().command {
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
            assert!(Arguments::of_words(line.split(' ')).is_err(), "{line}");
        }
    }
}
