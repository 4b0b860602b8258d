//! `vectide check`: finds everything that is wrong with the configuration.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::exit;
use crate::settings::{self, Settings};

/// The options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Try the sources, the provider and the index too.
    #[arg(long)]
    pub connect: bool,
    /// Show the configuration as it takes effect: defaults filled in, secrets masked.
    #[arg(long)]
    pub print: bool,
}

/// Says that the configuration is right; its problems were found by loading it.
pub fn run(args: Args, file: &Path, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if args.print {
        out.write_all(settings::print(&settings).as_bytes())?;
    } else {
        let names: Vec<&str> = settings.sources.keys().map(String::as_str).collect();
        let file = file.display();
        writeln!(out, "{file} is right: pipeline `{}`, sources: {}", settings.pipeline, names.join(", "))?;
    }
    out.flush()?;
    if args.connect {
        connect(&settings)?;
    }
    Ok(ExitCode::from(exit::DONE))
}

/// Tries the sources, the provider and the index.
pub fn connect(_settings: &Settings) -> anyhow::Result<()> {
    anyhow::bail!("`check --connect` is not built yet")
}
