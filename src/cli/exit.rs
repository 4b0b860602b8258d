//! How the process ends, for scripts.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::pipeline::resources::StartError;
use crate::settings::Problems;
use crate::telemetry::logging;

/// Everything that was asked for is done.
pub const DONE: u8 = 0;
/// There is no such document or dead letter.
pub const NOT_FOUND: u8 = 1;
/// Stopped with work left; the next run does it.
pub const WORK_LEFT: u8 = 3;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// It did not work; of `check --connect`: something does not.
pub const INTERNAL: u8 = 70;
/// The configuration is wrong.
pub const CONFIGURATION: u8 = 78;

/// Says on standard error what was done, in JSON as a line of the log that no filter leaves out.
pub fn said(summary: &str) {
    if logging::is_json() {
        tracing::info!(target: logging::SAID, "{}", summary.trim_end());
    } else {
        // Nobody is left to be told when standard error is closed.
        let _ = write!(io::stderr().lock(), "{summary}");
    }
}

/// Says on standard error what is wrong, in the same way, and answers the code.
pub fn failed(code: u8, error: &dyn Display) -> ExitCode {
    if logging::is_json() {
        tracing::error!(target: logging::SAID, code, "{error}");
    } else {
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "vectide: {error}");
    }
    ExitCode::from(code)
}

/// What clap has to say: help and version are answers, the rest is wrong usage.
pub fn usage(message: &clap::Error) -> ExitCode {
    // As above: a closed pipe (`vectide --help | head -1`) is no reason to fail.
    let _ = message.print();
    ExitCode::from(if message.use_stderr() { USAGE } else { DONE })
}

/// The end of a command that did not finish. A reader that went away (`vectide export | head`) has what it wanted.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    let closed_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed_pipe) {
        return ExitCode::from(DONE);
    }
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return failed(CONFIGURATION, problems);
    }
    let code = match error.downcast_ref() {
        Some(StartError::Configuration(_)) => CONFIGURATION,
        _ => INTERNAL,
    };
    // Whatever else can fail to be written or read is named around the error.
    match error.chain().next().and_then(|outermost| outermost.downcast_ref::<io::Error>()) {
        Some(_) => failed(code, &format_args!("cannot write to standard output: {error:#}")),
        None => failed(code, &format_args!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_end_has_its_code() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing the results");
        let problems = Problems { file: "config.yaml".into(), list: Vec::new() };
        for (error, code) in [
            (closed, DONE),
            (problems.into(), CONFIGURATION),
            (StartError::Configuration("another model".into()).into(), CONFIGURATION),
            (StartError::Unavailable("no room".into()).into(), INTERNAL),
            (anyhow::anyhow!("the disk is full"), INTERNAL),
        ] {
            // `ExitCode` has no equality; its debug form tells codes apart.
            assert_eq!(format!("{:?}", of_error(&error)), format!("{:?}", ExitCode::from(code)));
        }
    }
}
