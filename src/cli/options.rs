//! The options of every command, before it and behind it.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::telemetry::logging::LogFormat;

/// What every command takes. It may stand before the command and behind it: what is said in both places adds up.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration [default: the environment variable VECTIDE_CONFIG, else config.yaml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration: `--set batching.max_items=50`. May be repeated; overrides VECTIDE__BATCHING__MAX_ITEMS in
    /// the environment, which overrides the file.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// How log lines look; `auto` is `pretty` on a terminal and plain lines elsewhere [default: auto].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter like `vectide=debug,reqwest=info`
    /// [default: the environment variable VECTIDE_LOG, else info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

impl Options {
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

    /// Adds what stands behind the command and the commands below it. clap's own way of doing so (`global`) keeps the last place
    /// only, and a setting would be dropped without a word.
    pub(super) fn add_those_behind(&mut self, mut matches: &ArgMatches) -> Result<(), clap::Error> {
        while let Some((_, behind)) = matches.subcommand() {
            let Self { config, set, log_format, log } = Self::from_arg_matches(behind)?;
            once("--config <FILE>", &mut self.config, config)?;
            self.set.extend(set);
            once("--log-format <FORMAT>", &mut self.log_format, log_format)?;
            once("--log <LEVEL>", &mut self.log, log)?;
            matches = behind;
        }
        Ok(())
    }
}

/// Gives every command below this one the options too.
pub(super) fn behind_commands(command: Command) -> Command {
    command.mut_subcommands(|below| {
        let options = Options::augment_args(Command::default());
        behind_commands(below.args(options.get_arguments()))
    })
}

/// As clap says it of one place.
fn once<T>(name: &str, before: &mut Option<T>, behind: Option<T>) -> Result<(), clap::Error> {
    if before.is_some() && behind.is_some() {
        let told = format!("the argument '{name}' cannot be used multiple times");
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, told));
    }
    *before = before.take().or(behind);
    Ok(())
}

fn assignment(text: &str) -> Result<String, String> {
    let has_key = text.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty());
    has_key.then(|| text.to_owned()).ok_or_else(|| "write `key=value`, like `batching.max_items=50`".to_owned())
}
