//! From a request's body to events: one JSON object, an array of them, or one a line.

use std::fmt;
use std::str::Utf8Error;

use actix_web::web::Bytes;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How many errors are told one by one.
const MAX_ERRORS: usize = 100;

/// What is in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// JSON objects, as they were sent: the first of them, as many as were wanted.
    pub good: Vec<Bytes>,
    /// How many there are beyond those. They are counted and not kept: an event takes more memory than the three bytes that it may be.
    pub surplus: usize,
    /// How many parts are no JSON object.
    pub wrong: usize,
    /// The first of those, with what is wrong.
    pub errors: Vec<LineError>,
}

/// What is wrong with one part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// The line of the body that is wrong, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl Events {
    fn refuse(&mut self, error: LineError) {
        self.wrong += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn take(&mut self, event: Result<Bytes, LineError>, most: usize) {
        match event {
            Ok(event) if self.good.len() < most => self.good.push(event),
            Ok(_) => self.surplus += 1,
            Err(error) => self.refuse(error),
        }
    }
}

impl LineError {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }

    fn not_utf8(line: usize, text: &[u8], error: Utf8Error) -> Self {
        Self::new(line + count_lines(&text[..error.valid_up_to()]), "not UTF-8")
    }

    fn no_object(line: usize) -> Self {
        Self::new(line, "an event is a JSON object, and this is none")
    }

    /// What a JSON reader says of a text that starts in a line.
    fn syntax(line: usize, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let (what, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
        let what = match what {
            "trailing characters" => "more follows behind its end; several events need a line each, or an array",
            what => what,
        };
        Self::new(line + error.line().saturating_sub(1), format!("not valid JSON: {what} (column {})", error.column()))
    }
}

/// Takes a body apart without copying it, and keeps `most` of its events. `declared_lines`: the caller said that there is an object a
/// line; otherwise the body itself tells.
///
/// Only the JSON is checked here. An object that the configuration cannot make a change of (no id, an unknown event type) goes to the
/// dead letters, as it would from any source.
pub fn split(body: Bytes, declared_lines: bool, most: usize) -> Events {
    // What stands before the first event stays, so that lines are counted as the caller counts them.
    match body.trim_ascii_start().first() {
        None => refused(LineError::new(1, "the body is empty")),
        Some(b'[') if !declared_lines => split_array(&body, most).unwrap_or_else(refused),
        Some(_) if declared_lines => split_lines(&body, most),
        Some(_) => split_sniffed(body, most),
    }
}

fn refused(error: LineError) -> Events {
    Events { wrong: 1, errors: vec![error], ..Events::default() }
}

/// One object over any number of lines, or one a line: lines when the first or most of them are objects. A broken object
/// over many lines may have an object within on one of them, which is no event.
fn split_sniffed(body: Bytes, most: usize) -> Events {
    let Err(whole) = object(&body, 1) else {
        return Events { good: vec![trimmed(&body, &body)], ..Events::default() };
    };
    let events = split_lines(&body, most);
    let first = body.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    if events.good.len() + events.surplus <= events.wrong && object(first, 1).is_err() {
        refused(whole)
    } else {
        events
    }
}

fn split_lines(body: &Bytes, most: usize) -> Events {
    let mut events = Events::default();
    let mut start = 0;
    for (index, end) in memchr::memchr_iter(b'\n', body).chain([body.len()]).enumerate() {
        let line = trimmed(body, &body[start..end]);
        if !line.is_empty() {
            events.take(object(&line, index + 1).map(|()| line), most);
        }
        start = end + 1;
    }
    events
}

/// An array is whole or nothing: where it breaks, nobody can tell what the rest was meant to be.
fn split_array(body: &Bytes, most: usize) -> Result<Events, LineError> {
    let text = std::str::from_utf8(body).map_err(|error| LineError::not_utf8(1, body, error))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let items = Items { body, most }.deserialize(&mut json).and_then(|events| json.end().map(|()| events));
    items.map_err(|error| LineError::syntax(1, &error))
}

/// Reads the items of an array one after the other.
struct Items<'a> {
    body: &'a Bytes,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Events;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Events, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Events;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Events, A::Error> {
        let mut events = Events::default();
        let (mut line, mut seen) = (1, 0);
        while let Some(item) = items.next_element::<&RawValue>()? {
            let item = self.body.slice_ref(item.get().as_bytes());
            let start = item.as_ptr() as usize - self.body.as_ptr() as usize;
            line += count_lines(&self.body[seen..start]);
            seen = start;
            // It was read as JSON just now.
            let event = if item.starts_with(b"{") { Ok(item) } else { Err(LineError::no_object(line)) };
            events.take(event, self.most);
        }
        Ok(events)
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

fn trimmed(body: &Bytes, part: &[u8]) -> Bytes {
    match part.trim_ascii() {
        [] => Bytes::new(),
        part => body.slice_ref(part),
    }
}

fn object(event: &[u8], line: usize) -> Result<(), LineError> {
    let text = std::str::from_utf8(event).map_err(|error| LineError::not_utf8(line, event, error))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(LineError::no_object(line));
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(LineError::syntax(line, &error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn outcome(body: &'static [u8], declared_lines: bool) -> (Vec<String>, Vec<usize>) {
        let events = split(Bytes::from_static(body), declared_lines, usize::MAX);
        assert_eq!(events.wrong, events.errors.len());
        let good = events.good.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect();
        (good, events.errors.into_iter().map(|error| error.line).collect())
    }

    #[test]
    fn a_body_tells_by_itself_what_it_is() {
        let (a, b) = (r#"{"a":1}"#, r#"{"b":2}"#);
        let cases: [(&'static [u8], &[&str], &[usize]); 21] = [
            (br#"{"a":1}"#, &[a], &[]),
            (b" \n{\"a\":1}\n\n", &[a], &[]),
            (b"{\n\"a\":1\n}", &["{\n\"a\":1\n}"], &[]),
            (b"{\"a\":1}\n{\"b\":2}", &[a, b], &[]),
            (b"{\"a\":1}\r\n\r\n{\"b\":2}\r\n", &[a, b], &[]),
            (b"[{\"a\":1},\n {\"b\":2}]", &[a, b], &[]),
            (b"[]", &[], &[]),
            (b"{\"a\":1}\n\n{\"b\":\n{\"b\":2}", &[a, b], &[3]),
            (b"{\"a\":\n{\"a\":1}\n{\"b\":2}", &[a, b], &[1]),
            (b"\n{\"a\":1}\n7\n8", &[a], &[3, 4]),
            (b"{\n\"a\":\n{\"a\":1}", &[], &[3]),
            (b"[{\"a\":1},\n\n7, null,\n{\"b\":2}]", &[a, b], &[3, 3]),
            (b"[{\"a\":1},\n{\"b\":2]", &[], &[2]),
            (b"[{\"a\":1},\n{\"b\":\"\xff\"}]", &[], &[2]),
            (b"{\"a\":1}\n{\"b\":\"\xff\"}\n{\"b\":2}", &[a, b], &[2]),
            (b"{\"a\":1}{\"b\":2}", &[], &[1]),
            (b"{\n\"a\":1,\n}", &[], &[3]),
            (b"{\n\"a\":\n\"\xff\"}", &[], &[3]),
            (b" \n ", &[], &[1]),
            (b"\n[{\"a\":1}, 7]", &[a], &[2]),
            (b"\n\n{\"a\":", &[], &[3]),
        ];
        for (body, good, lines) in cases {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(
                outcome(body, false),
                (good.iter().map(|s| (*s).to_owned()).collect(), lines.to_vec()),
                "{shown}"
            );
        }
    }

    #[test]
    fn declared_lines_are_lines_whatever_they_look_like() {
        let cases: [(&'static [u8], &[&str], &[usize]); 4] = [
            (b"[{\"a\":1}]\n{\"b\":2}", &[r#"{"b":2}"#], &[1]),
            (b"{\n\"a\":1}", &[], &[1, 2]),
            (b"7\n8\n{\"a\":1}", &[r#"{"a":1}"#], &[1, 2]),
            (b"{\"a\":1}", &[r#"{"a":1}"#], &[]),
        ];
        for (body, good, lines) in cases {
            assert_eq!(outcome(body, true), (good.iter().map(|s| (*s).to_owned()).collect(), lines.to_vec()));
        }
    }

    proptest! {
        #[test]
        fn events_come_out_as_they_went_in_however_they_are_written(
            texts in proptest::collection::vec(".*", 1..20),
        ) {
            let objects: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
            let lines = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
            let written = [lines, json!(objects).to_string(), serde_json::to_string_pretty(&objects).unwrap()];
            for body in written {
                let events = split(Bytes::from(body), false, usize::MAX);
                prop_assert_eq!(events.wrong, 0);
                let read: Vec<Value> =
                    events.good.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
                prop_assert_eq!(&read, &objects);
            }
        }
    }

    #[test]
    fn events_are_parts_of_the_body_and_not_copies() {
        let body = Bytes::from_static(b"[{\"a\":1}]");
        let events = split(body.clone(), false, 1);
        assert_eq!(events.good[0].as_ptr(), body[1..].as_ptr());
    }

    #[test]
    fn an_answer_does_not_grow_with_the_number_of_errors() {
        let events = split(Bytes::from("7\n".repeat(10_000)), true, 1);
        assert_eq!((events.wrong, events.errors.len()), (10_000, MAX_ERRORS));
    }

    #[test]
    fn events_beyond_those_that_are_wanted_are_counted_and_not_kept() {
        let lines = "{}\n".repeat(9);
        let array = format!("[{}7]", "{},".repeat(9));
        for (body, declared_lines, wrong) in [(&lines, true, 0), (&lines, false, 0), (&array, false, 1)] {
            let events = split(Bytes::from(body.clone()), declared_lines, 4);
            assert_eq!((events.good.len(), events.surplus, events.wrong), (4, 5, wrong), "{body}");
        }
    }

    #[test]
    fn an_error_says_where_in_the_body_and_what() {
        for (body, line, reason) in [
            ("{\"a\":1}{\"b\":2}", 1, "more follows behind its end; several events need a line each"),
            ("{\"a\":1}\n{\"b\":x}\n{}", 2, "not valid JSON: expected value (column 6)"),
            ("[{\"a\":1},\n{\"b\":x}]", 2, "not valid JSON: expected value (column 6)"),
            ("\n\n{\"a\":1}\n7\n{}", 4, "an event is a JSON object, and this is none"),
            ("[{\"a\":1},\n \"{}\"]", 2, "an event is a JSON object, and this is none"),
        ] {
            let error = split(Bytes::from(body), false, usize::MAX).errors.remove(0);
            assert_eq!(error.line, line, "{body}");
            assert!(error.reason.contains(reason), "{}", error.reason);
        }
    }
}
