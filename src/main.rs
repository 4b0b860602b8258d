//! Arguments, then logging, then settings, then the command, then its exit code.

use std::process::ExitCode;

use clap::Parser;
use vectide::cli::{self, Arguments, exit};
use vectide::telemetry::logging;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => return exit::usage(&message),
    };
    if let Err(error) = logging::start(arguments.log_format, arguments.log_filter().as_deref()) {
        return exit::failed(exit::USAGE, &error);
    }
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => exit::of_error(&error),
    }
}
