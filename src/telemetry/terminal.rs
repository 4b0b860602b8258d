//! What fits on a line of a terminal.

use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

/// The width of lines that go to a file or a pipe, where nobody tells it.
const NO_TERMINAL: usize = 120;

/// The width of a terminal that does not tell it, as one in a container or under a recorder may not.
const UNTOLD: usize = 80;

/// The most characters that are kept for a column: marks without a width of their own could go on for ever.
const PER_COLUMN: usize = 8;

/// The width of lines on standard output.
pub fn width() -> usize {
    terminal_size_of(io::stdout()).map_or(NO_TERMINAL, |(Width(columns), _)| usize::from(columns))
}

/// The width of the terminal that standard error is; `None` when it is not a terminal.
pub fn stderr_width() -> Option<usize> {
    let told = || terminal_size_of(io::stderr()).map_or(UNTOLD, |(Width(columns), _)| usize::from(columns));
    io::stderr().is_terminal().then(told)
}

/// Whether the terminal has no colours, and cannot erase a line.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The start of a text, at most `width` columns wide; `…` stands for what is left out.
pub fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars().take(width.saturating_mul(PER_COLUMN)) {
        kept.push(character);
        // The whole is measured: side by side characters may be wider than each for itself, as a heart before the mark that makes it red.
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
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
    fn characters_that_are_wider_together_are_cut_where_they_fit() {
        let hearts = "❤\u{fe0f}❤\u{fe0f}❤\u{fe0f} Mother's day mug";
        for text in
            [hearts, "👩\u{200d}👩\u{200d}👧\u{200d}👦 family", "1\u{fe0f}\u{20e3} first, 2\u{fe0f}\u{20e3} second"]
        {
            for width in 1..text.width() {
                let cut = shortened(text, width);
                assert!(cut.width() <= width && cut.ends_with('…'), "{width}: {cut}");
            }
        }
        assert_eq!(shortened(hearts, 7), "❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}…");
        let marks = "e".to_owned() + &"\u{301}".repeat(100_000) + "clair";
        assert!(shortened(&marks, 3).len() < 100, "marks that take no column are no reason to keep all of them");
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\nc\u{9b}2K"), "a [31mb  c 2K");
    }
}
