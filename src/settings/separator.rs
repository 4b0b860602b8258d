//! What stands between the values of a CSV file.

use std::fmt;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// One ASCII character: `;`, or `tab` for a tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separator(u8);

impl Separator {
    /// What CSV has by its name.
    pub const COMMA: Self = Self(b',');
    /// What `.tsv` has by its name.
    pub const TAB: Self = Self(b'\t');

    /// The character.
    pub const fn as_byte(self) -> u8 {
        self.0
    }

    /// Whether it is the one that CSV is named for.
    pub fn is_comma(&self) -> bool {
        *self == Self::COMMA
    }

    /// None for what could not be told from a quoted value or the end of a row. A tab is also known as people write it where a
    /// backslash means nothing: in single quotes, and on a command line.
    fn written(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"tab" | br"\t" => Some(Self::TAB),
            [b'"' | b'\r' | b'\n'] => None,
            [byte] => Some(Self(*byte)),
            _ => None,
        }
    }
}

impl Default for Separator {
    fn default() -> Self {
        Self::COMMA
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::TAB { f.write_str("tab") } else { write!(f, "{}", char::from(self.0)) }
    }
}

impl<'de> Deserialize<'de> for Separator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Separator;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one ASCII character like `;`, no quotation mark and no end of a line, or the word `tab`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Separator, E> {
                Separator::written(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Written)
    }
}

impl Serialize for Separator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_one_character_that_is_no_quotation_mark_and_ends_no_line() {
        for (yaml, byte, written) in [
            ("';'", b';', ";"),
            (r#"",""#, b',', ","),
            ("'|'", b'|', "|"),
            ("' '", b' ', " "),
            (r#""\t""#, b'\t', "tab"),
            (r"'\t'", b'\t', "tab"),
            (r"\t", b'\t', "tab"),
            ("tab", b'\t', "tab"),
        ] {
            let separator: Separator = serde_yaml::from_str(yaml).unwrap();
            assert_eq!((separator.as_byte(), &*separator.to_string()), (byte, written), "{yaml}");
            let again = serde_yaml::to_string(&separator).unwrap();
            assert_eq!(serde_yaml::from_str::<Separator>(&again).unwrap(), separator, "{again}");
        }
        for yaml in ["''", "'\"'", r#""\n""#, r#""\r""#, ";;", "§", "[';']", "Tab"] {
            assert!(serde_yaml::from_str::<Separator>(yaml).is_err(), "{yaml}");
        }
    }
}
