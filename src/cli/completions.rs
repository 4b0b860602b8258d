//! `vectide completions`: writes a completion script for a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap_complete::Shell;

use super::{Arguments, exit};

/// The options of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Writes the script to standard output.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // By way of memory: the generator panics when it cannot write, and a reader may go away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::line(), "vectide", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::from(exit::DONE))
}
