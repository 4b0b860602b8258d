//! Arguments, then logging, then the command with the settings that it loads, then its exit code.

use std::process::ExitCode;

use vectide::cli::{self, Arguments, exit};
use vectide::telemetry::logging;

/// Buffers of many sizes are made on one thread and dropped on another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::of_words(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(message) => return exit::usage(&message),
    };
    let options = &arguments.options;
    if let Err(error) = logging::start(options.log_format.unwrap_or_default(), options.log_filter().as_deref()) {
        return exit::failed(exit::USAGE, &error);
    }
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => exit::of_error(&error),
    }
}
