//! Log lines, on standard error: standard output is for results.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::display;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use super::status_line::Stderr;
use super::terminal;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// With colours, for people.
    Pretty,
    /// One JSON object per line, for machines; what is otherwise said beside the log is a line of it.
    Json,
    /// Pretty on a terminal, plain lines elsewhere.
    #[default]
    Auto,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error(
        "`{filter}` does not say what to log ({reason}); write a level like `debug` or a filter like `vectide=debug,reqwest=info`"
    )]
    Filter {
        /// As it was written.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something in this process logs already.
    #[error("logging is started already")]
    Started,
}

static JSON: AtomicBool = AtomicBool::new(false);

/// The target of what is otherwise said beside the log: no filter leaves out how a command ended.
pub const SAID: &str = "vectide::cli::exit";

/// Whether log lines are JSON: then nothing else is written beside them.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Starts logging for the whole process, panics included. `filter` is a level for Vectide's own lines (other code then logs warnings only),
/// or a filter as `tracing` has it. Without one: `info`.
pub fn start(format: LogFormat, filter: Option<&str>) -> Result<(), LoggingError> {
    let filter = parse(filter.unwrap_or("info"))?;
    let always = format!("{SAID}=info").parse().expect("a target and a level are a directive");
    // A failed write is not told on standard error: that is where it failed, and telling would panic.
    let lines = fmt().with_env_filter(filter.add_directive(always)).with_writer(|| Stderr).log_internal_errors(false);
    let plain = std::env::var_os("NO_COLOR").is_some() || terminal::is_dumb();
    let colours = io::stderr().is_terminal() && !plain;
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Pretty => lines.with_target(false).with_ansi(true).try_init(),
        LogFormat::Auto => lines.with_target(false).with_ansi(colours).try_init(),
    };
    started.map_err(|_| LoggingError::Started)?;
    panic::set_hook(Box::new(tell_panic));
    Ok(())
}

thread_local! {
    /// Whether a panic of this thread is foreseen.
    static FORESEEN: Cell<bool> = const { Cell::new(false) };
}

/// What comes of this, or `None` when it panics, which is not logged: for code of others that has no other way to refuse.
pub fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Option<T> {
    FORESEEN.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    FORESEEN.set(false);
    done.ok()
}

/// A panic as one line of the log, which no filter leaves out: its place is told nowhere else.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    if FORESEEN.get() {
        return;
    }
    let words = panic.payload_as_str().unwrap_or("without a message");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(&backtrace));
    tracing::error!(target: SAID, place = panic.location().map(display), backtrace, "panic: {words}");
}

fn parse(filter: &str) -> Result<EnvFilter, LoggingError> {
    let directives = match filter.trim().parse::<LevelFilter>() {
        Ok(LevelFilter::OFF) => "off".to_owned(),
        // What a caller sends that is no HTTP is an error to that crate, and none of ours: it is answered with 400.
        Ok(level) => format!("warn,actix_http::h1=off,vectide={level}"),
        Err(_) => filter.to_owned(),
    };
    // `tracing` takes a word for the name of a crate, all of whose lines are wanted: a level with a typo would log nothing.
    let is_word = |part: &&str| !part.contains(['=', '[', '{']) && part.parse::<LevelFilter>().is_err();
    if let Some(word) = directives.split(',').map(str::trim).find(is_word) {
        let reason = format!("`{word}` is not a level");
        return Err(LoggingError::Filter { filter: filter.to_owned(), reason });
    }
    EnvFilter::builder()
        .parse(&directives)
        .map_err(|error| LoggingError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_own_lines_and_a_filter_is_taken_as_it_is() {
        for (written, meant) in [
            ("info", "warn,actix_http::h1=off,vectide=info"),
            ("DEBUG", "warn,actix_http::h1=off,vectide=debug"),
            ("off", "off"),
            ("error,reqwest=trace", "error,reqwest=trace"),
            ("warn,vectide[span{field=1}]=debug", "warn,vectide[span{field=1}]=debug"),
        ] {
            assert_eq!(parse(written).unwrap().to_string(), EnvFilter::new(meant).to_string(), "{written}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_an_example() {
        for filter in ["vectide=loud", "inof", "warn,reqwest"] {
            let error = parse(filter).unwrap_err().to_string();
            assert!(error.contains(&format!("`{filter}`")) && error.contains("vectide=debug"), "{error}");
        }
    }
}
