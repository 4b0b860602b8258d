//! `vectide init`: writes a commented configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::exit;
use super::lenient::Lenient;

/// What is written.
pub const STARTER: &str = include_str!("init.yaml");

/// The options of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Overwrite an existing file.
    #[arg(long)]
    pub force: bool,
}

/// Writes the file that `--config` names. A file that is there stays, unless forced.
pub fn run(args: Args, file: &Path) -> anyhow::Result<ExitCode> {
    let Args { force } = args;
    let shown = file.display();
    let mut out = match OpenOptions::new().write(true).create_new(!force).create(force).truncate(force).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!("{shown} already exists; to overwrite it, add `--force`")
        }
        opened => opened.with_context(|| format!("cannot write {shown}"))?,
    };
    out.write_all(STARTER.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    writeln!(Lenient::on_stdout(), "wrote {shown}; edit it, then try the commands `check` and `run` with it")?;
    Ok(ExitCode::from(exit::DONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, "mine").unwrap();
        let refused = run(Args { force: false }, &file).unwrap_err();
        assert!(refused.to_string().contains("--force"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        run(Args { force: true }, &file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), STARTER);
    }

    #[test]
    fn what_is_written_loads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        run(Args { force: false }, &file).unwrap();
        let settings = crate::settings::load_text(&file, STARTER, &Default::default(), &[]).unwrap();
        assert_eq!(settings.pipeline, "products");
    }
}
