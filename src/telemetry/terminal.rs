//! What fits on a line of a terminal.

use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of lines that go to a file or a pipe, where nobody tells it.
const NO_TERMINAL: usize = 120;

/// The width of a terminal that does not tell it, as one in a container or under a recorder may not.
const UNTOLD: usize = 80;

/// The width of lines on standard output.
pub fn width() -> usize {
    terminal_size_of(io::stdout()).map_or(NO_TERMINAL, |(Width(columns), _)| usize::from(columns))
}

/// The width of the terminal that standard error is; `None` when it is none.
pub fn stderr_width() -> Option<usize> {
    let told = || terminal_size_of(io::stderr()).map_or(UNTOLD, |(Width(columns), _)| usize::from(columns));
    io::stderr().is_terminal().then(told)
}

/// The start of a text, at most `width` columns wide; `…` stands for what is left out.
pub fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut kept: String = text
        .chars()
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used < width
        })
        .collect();
    kept.push('…');
    kept
}

/// A text that cannot steer a terminal and stays on its line: control characters become spaces.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_columns_and_not_by_bytes() {
        for (text, width, cut) in
            [("boots", 5, "boots"), ("boots", 4, "boo…"), ("雨雨雨", 5, "雨雨…"), ("雨雨雨", 4, "雨…"), ("", 0, "")]
        {
            assert_eq!(shortened(text, width), cut);
        }
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\nc\u{9b}2K"), "a [31mb  c 2K");
    }
}
