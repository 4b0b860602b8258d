//! JSON with its long strings taken out.
//!
//! An answer with vectors is nearly all base64. A JSON reader needs it in one piece and looks at every byte of it several times. Here it
//! is looked at once, in the pieces in which it came, for the quotation marks; what is left is small, and for the JSON reader.

use std::io::Write;

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// What a string in the outline begins with that stands for one that was taken out. One that begins so itself is taken out too.
const MARK: u8 = b'@';
/// Longer strings are taken out, in bytes.
const SHORT: usize = 64;

/// JSON in which each long string is replaced by a short one, and the strings themselves. What is not JSON is not made JSON.
pub struct Outline {
    /// The JSON.
    pub json: Vec<u8>,
    strings: Vec<Bytes>,
}

impl Outline {
    /// The outline of a body that came in these pieces.
    pub fn of(pieces: &[Bytes]) -> Self {
        let mut outline = Self { json: Vec::with_capacity(4096), strings: Vec::new() };
        let mut open: Option<Open> = None;
        for piece in pieces {
            let mut from = 0;
            while from < piece.len() {
                let rest = &piece[from..];
                from += match &mut open {
                    None => match memchr(b'"', rest) {
                        Some(quote) => {
                            outline.json.extend_from_slice(&rest[..quote]);
                            open = Some(Open::default());
                            quote + 1
                        }
                        None => {
                            outline.json.extend_from_slice(rest);
                            rest.len()
                        }
                    },
                    Some(string) => match string.end(rest) {
                        Some(end) => {
                            outline.close(open.take().unwrap_or_default(), piece.slice(from..from + end));
                            end + 1
                        }
                        None => {
                            string.before.extend_from_slice(rest);
                            rest.len()
                        }
                    },
                };
            }
        }
        if let Some(string) = open {
            outline.json.push(b'"');
            outline.json.extend_from_slice(&string.before);
        }
        outline
    }

    /// The string that this one in the outline stands for, if it stands for one. Only a string that is written without escapes does.
    pub fn taken(&self, text: &str) -> Option<&Bytes> {
        self.strings.get(text.strip_prefix(char::from(MARK))?.parse::<usize>().ok()?)
    }

    fn close(&mut self, string: Open, last: Bytes) {
        let whole = if string.before.is_empty() { last } else { [&string.before[..], &last].concat().into() };
        if !string.escaped && (whole.len() > SHORT || whole.first() == Some(&MARK)) {
            write!(self.json, "\"{}{}\"", char::from(MARK), self.strings.len()).expect("a Vec takes all");
            self.strings.push(whole);
        } else {
            self.json.push(b'"');
            self.json.extend_from_slice(&whole);
            self.json.push(b'"');
        }
    }
}

/// A string whose end is not found yet.
#[derive(Default)]
struct Open {
    /// What of it lies in earlier pieces.
    before: Vec<u8>,
    /// Whether it has any escape: then it is left to the JSON reader.
    escaped: bool,
    /// Whether the next byte belongs to an escape.
    in_escape: bool,
}

impl Open {
    /// Where in these next bytes its closing quotation mark is.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.in_escape));
        loop {
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                return Some(at);
            }
            self.escaped = true;
            if at + 1 == bytes.len() {
                self.in_escape = true;
                return None;
            }
            at += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The body cut after so many bytes, and again.
    fn pieces(body: &[u8], cut: usize) -> Vec<Bytes> {
        body.chunks(cut.max(1)).map(Bytes::copy_from_slice).collect()
    }

    /// The value with the strings that were taken out put back. Keys are left as they are.
    fn restored(value: Value, outline: &Outline) -> Value {
        match value {
            Value::String(text) => match outline.taken(&text) {
                Some(taken) => Value::String(String::from_utf8(taken.to_vec()).unwrap()),
                None => Value::String(text),
            },
            Value::Array(values) => values.into_iter().map(|value| restored(value, outline)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(key, value)| (key, restored(value, outline))).collect())
            }
            value => value,
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z@\"\\\\/é\n]{0,9}", "[A-Za-z0-9+/]{60,70}", "@[0-9]{1,2}"];
        let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), text.prop_map(Value::from),];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\]{0,5}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn long_strings_are_taken_out_wherever_they_are_cut() {
        let long = "x".repeat(SHORT + 1);
        let body = format!(r#"{{"a":"{long}","b":["{}","@0","\"{long}"]}}"#, "y".repeat(SHORT));
        for cut in 1..=body.len() {
            let outline = Outline::of(&pieces(body.as_bytes(), cut));
            let expected = format!(r#"{{"a":"@0","b":["{}","@1","\"{long}"]}}"#, "y".repeat(SHORT));
            assert_eq!(String::from_utf8(outline.json).unwrap(), expected, "{cut}");
            assert_eq!(outline.strings, [long.as_bytes(), b"@0"], "{cut}");
        }
    }

    #[test]
    fn what_ends_too_early_stays_broken() {
        for body in [r#"{"a":"xyz"#, r#"{"a":"xyz\"#, r#"{"a":"#] {
            let outline = Outline::of(&pieces(body.as_bytes(), 4));
            assert!(serde_json::from_slice::<Value>(&outline.json).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_mistaken(value in json(), cut in 1usize..80) {
            let outline = Outline::of(&pieces(value.to_string().as_bytes(), cut));
            let read = serde_json::from_slice(&outline.json).unwrap();
            prop_assert_eq!(restored(read, &outline), value);
        }
    }
}
