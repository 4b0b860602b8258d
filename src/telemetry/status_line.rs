//! Standard error as a log with one line at its end that is rewritten.
//!
//! Everything that writes to standard error while a status line may stand there goes through [`Stderr`], so that neither breaks the other.

use std::io::{self, Write};

use parking_lot::Mutex;

use super::{logging, terminal};

/// What stands in the last line of the terminal; empty: nothing. `None`: nothing will any more.
static LINE: Mutex<Option<String>> = Mutex::new(Some(String::new()));

/// To the start of the line, and erase it.
const ERASE: &[u8] = b"\r\x1b[2K";

/// Writes above the status line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = LINE.lock();
        let line = line.as_deref().unwrap_or_default();
        io::stderr().lock().write_all(&between(line, bytes, line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The width of the terminal that a status line may be shown on; `None` where none is to be shown.
pub fn terminal() -> Option<usize> {
    shown_on(terminal::stderr_width(), logging::is_json(), terminal::is_dumb())
}

/// A line without an end would be the start of the next line of JSON, and stays for good where nothing can be erased.
fn shown_on(width: Option<usize>, is_json: bool, is_dumb: bool) -> Option<usize> {
    width.filter(|_| !is_json && !is_dumb)
}

/// Shows a status line in place of the one before; the empty text takes it away. It must be narrower than the terminal.
pub fn show(text: &str) {
    if let Some(line) = &mut *LINE.lock() {
        // Nobody is left to be told when standard error is closed.
        let _ = io::stderr().lock().write_all(&between(line, b"", text));
        text.clone_into(line);
    }
}

/// Takes the status line away for good: the process ends, and whoever shows one may not know yet.
pub fn end() {
    let mut line = LINE.lock();
    let text = line.take().unwrap_or_default();
    let _ = io::stderr().lock().write_all(&between(&text, b"", ""));
}

/// What takes a status line away, writes whole lines, and shows the next status line: in one piece, so that nothing flickers.
fn between(before: &str, lines: &[u8], after: &str) -> Vec<u8> {
    let erase: &[u8] = if before.is_empty() { b"" } else { ERASE };
    [erase, lines, after.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_shown_only_where_it_can_be_taken_away_and_is_not_among_json() {
        for (width, is_json, is_dumb, shown) in [
            (Some(80), false, false, Some(80)),
            (Some(80), true, false, None),
            (Some(80), false, true, None),
            (None, false, false, None),
        ] {
            assert_eq!(shown_on(width, is_json, is_dumb), shown);
        }
    }

    #[test]
    fn lines_go_above_the_status_line() {
        for (before, lines, after, written) in [
            ("", "a log line\n", "", "a log line\n"),
            ("", "", "10 %", "10 %"),
            ("10 %", "", "20 %", "\r\x1b[2K20 %"),
            ("20 %", "a log line\n", "20 %", "\r\x1b[2Ka log line\n20 %"),
            ("20 %", "", "", "\r\x1b[2K"),
        ] {
            assert_eq!(String::from_utf8(between(before, lines.as_bytes(), after)).unwrap(), written);
        }
    }
}
