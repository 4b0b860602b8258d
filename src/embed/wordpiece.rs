//! BERT's uncased WordPiece: from a text to the rows of a vocabulary.
//!
//! A text is decomposed (NFD), its accents are dropped, it is lower-cased and split at everything that is no letter and no digit;
//! each word is then cut greedily into the longest known pieces, where `##` marks a piece that continues a word. A word of more than
//! 100 characters, or one that cannot be cut to its end, gives nothing.
//!
//! One difference from the original: there only punctuation parts words, so that `Nike™` is an unknown word. Here a symbol that is
//! in no piece of the vocabulary parts words too.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most characters a word may have.
const MAX_WORD: usize = 100;

/// The pieces and the row of each.
pub struct Vocabulary {
    starts: Pieces,
    continuations: Pieces,
    /// What belongs to words though it is no letter and no digit: the `£` of `£100`.
    symbols: Vec<char>,
}

#[derive(Default)]
struct Pieces {
    rows: HashMap<&'static [u8], u32, RandomState>,
    /// Bytes of the longest piece.
    longest: usize,
}

impl Vocabulary {
    /// From one piece a line; the number of the line, from 0, is its row. Line 0 is the unknown piece, which no text has.
    pub fn new(lines: &'static str) -> Self {
        let mut vocabulary = Self { starts: Pieces::default(), continuations: Pieces::default(), symbols: Vec::new() };
        for (piece, row) in lines.lines().zip(0..).skip(1) {
            vocabulary.symbols.extend(piece.chars().filter(|c| !c.is_ascii() && !c.is_alphanumeric()));
            match piece.strip_prefix("##") {
                Some(continuation) => vocabulary.continuations.insert(continuation, row),
                None => vocabulary.starts.insert(piece, row),
            }
        }
        vocabulary.symbols.sort_unstable();
        vocabulary.symbols.dedup();
        vocabulary
    }

    /// Calls `each` with the row of every known piece of the text, in order.
    pub fn for_each_row(&self, text: &str, mut each: impl FnMut(u32)) {
        let mut word = Word { bytes: [0; 4 * MAX_WORD], length: 0, characters: 0 };
        if text.is_ascii() {
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() {
                    word.push(byte.to_ascii_lowercase().into());
                } else if !is_dropped(byte.into()) {
                    self.cut(word.take(), &mut each);
                }
            }
        } else {
            for character in text.nfd().filter(|c| !is_combining_mark(*c) && !is_dropped(*c)) {
                if self.is_in_words(character) {
                    character.to_lowercase().for_each(|c| word.push(c));
                } else {
                    self.cut(word.take(), &mut each);
                }
            }
        }
        self.cut(word.take(), &mut each);
    }

    fn is_in_words(&self, c: char) -> bool {
        if c.is_alphanumeric() { !is_ideograph(c) } else { self.symbols.contains(&c) }
    }

    /// Cuts a word into the longest known pieces; a word with a rest that is no piece is dropped whole.
    fn cut(&self, word: &[u8], each: &mut impl FnMut(u32)) {
        let mut rows = [0; MAX_WORD];
        let mut count = 0;
        let (mut rest, mut pieces) = (word, &self.starts);
        while !rest.is_empty() {
            let Some((length, row)) = pieces.longest_at_start_of(rest) else { return };
            rows[count] = row;
            count += 1;
            rest = &rest[length..];
            pieces = &self.continuations;
        }
        rows[..count].iter().for_each(|row| each(*row));
    }
}

impl Pieces {
    fn insert(&mut self, piece: &'static str, row: u32) {
        self.longest = self.longest.max(piece.len());
        self.rows.insert(piece.as_bytes(), row);
    }

    fn longest_at_start_of(&self, word: &[u8]) -> Option<(usize, u32)> {
        let most = word.len().min(self.longest);
        (1..=most).rev().find_map(|length| self.rows.get(&word[..length]).map(|row| (length, *row)))
    }
}

/// The word being read. A character has four bytes at most, so that a word of the most characters has room.
struct Word {
    bytes: [u8; 4 * MAX_WORD],
    length: usize,
    characters: usize,
}

impl Word {
    fn push(&mut self, character: char) {
        self.characters += 1;
        if self.characters <= MAX_WORD {
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
    }

    /// The word, which is empty when it was too long, and starts the next one.
    fn take(&mut self) -> &[u8] {
        let length = if self.characters > MAX_WORD { 0 } else { self.length };
        (self.length, self.characters) = (0, 0);
        &self.bytes[..length]
    }
}

/// Control and format characters vanish without parting the word they are in.
fn is_dropped(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fffd}')
}

/// Chinese characters are words of their own.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "[UNK]\na\nrain\nboot\nwater\n5\ncafe\n##s\n##proof\n##proofs\n##ing\nnaive\nß\n½\n£5";

    fn pieces(text: &str) -> Vec<&'static str> {
        let lines: Vec<_> = LINES.lines().collect();
        let mut found = Vec::new();
        Vocabulary::new(LINES).for_each_row(text, |row| found.push(lines[row as usize]));
        found
    }

    #[test]
    fn texts_are_cut_as_bert_cuts_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\n ", &[]),
            ("rain", &["rain"]),
            ("Rain BOOTS, waterproof!", &["rain", "boot", "##s", "water", "##proof"]),
            ("waterproofs", &["water", "##proofs"]),
            ("rain-boot/water", &["rain", "boot", "water"]),
            ("rainx boot", &["boot"]),
            ("unknown s ##s", &[]),
            ("[UNK]", &[]),
            ("Café cafe\u{301}", &["cafe", "cafe"]),
            ("NAÏVE", &["naive"]),
            ("wa\u{ad}ter ra\u{200b}in bo\u{0}ot", &["water", "rain", "boot"]),
            ("wa\u{0}ter", &["water"]),
            ("rain\u{3000}boot\u{a0}water\u{2014}a", &["rain", "boot", "water", "a"]),
            ("5° ½ ß rain™", &["5", "½", "ß", "rain"]),
            ("£5 £6 boot£5", &["£5"]),
            ("雨rain雨", &["rain"]),
            ("дождь rain", &["rain"]),
        ];
        for (text, expected) in table {
            assert_eq!(&pieces(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_of_more_than_a_hundred_characters_is_dropped_alone() {
        let fits = format!("rain{}", "s".repeat(96));
        assert_eq!(pieces(&fits).len(), 97);
        assert_eq!(pieces(&format!("{fits}s boot")), ["boot"]);
        assert_eq!(pieces(&format!("é {}s boot", "𝒳".repeat(200))), ["boot"]);
        assert!(pieces(&"x".repeat(10_000_000)).is_empty());
    }
}
