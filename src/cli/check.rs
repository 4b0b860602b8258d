//! `vectide check`: finds everything that is wrong with the configuration.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::connect::{Tried, connect};
use super::exit;
use super::lenient::Lenient;
use super::opened::block_on;
use crate::settings::{self, Settings};
use crate::telemetry::terminal::printable;

/// The options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Try the sources, the server's port, the state folder, the provider (with two short texts) and the index too.
    #[arg(long)]
    pub connect: bool,
    /// Show the configuration as it takes effect: defaults and what a preset knows filled in, secrets masked.
    #[arg(long)]
    pub print: bool,
}

/// The configuration as it takes effect.
fn in_effect(settings: &Settings) -> anyhow::Result<Settings> {
    let embedding = settings.embedding.clone().filled().map_err(anyhow::Error::msg)?;
    Ok(Settings { embedding, ..settings.clone() })
}

/// Says that the configuration is valid; its problems were found by loading it. With `--connect`: a line for everything that was tried,
/// which changes nothing and sends the provider two short texts.
pub fn run(args: Args, file: &Path, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut out = Lenient::on_stdout();
    if args.print {
        // A configuration that is not whole is none.
        io::stdout().lock().write_all(settings::print(&in_effect(&settings)?).as_bytes())?;
    } else {
        let names: Vec<&str> = settings.sources.keys().map(String::as_str).collect();
        let file = file.display();
        writeln!(out, "{file} is valid: pipeline `{}`, sources: {}", settings.pipeline, names.join(", "))?;
    }
    let mut problems = 0;
    if args.connect {
        block_on(connect(&settings, |Tried { what, found }| {
            // What `--print` writes stays YAML.
            let mark = if args.print { "# " } else { "" };
            problems += u32::from(found.is_err());
            let (verdict, found, more) = match &found {
                Ok(found) => match found.split_once('\n') {
                    Some((found, more)) => ("ok", found, more),
                    None => ("ok", &**found, ""),
                },
                Err(problem) => ("problem", &**problem, ""),
            };
            writeln!(out, "{mark}{verdict:<8} {}", printable(&format!("{what}: {found}")))?;
            for line in more.lines() {
                writeln!(out, "{mark}{:<8} {}", "", printable(line))?;
            }
            Ok(out.flush()?)
        }))?;
    }
    out.flush()?;
    Ok(ExitCode::from(if problems == 0 { exit::DONE } else { exit::INTERNAL }))
}
