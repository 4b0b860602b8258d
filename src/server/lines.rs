//! From a request's body to events: one JSON object, an array of them, or one a line.

use actix_web::web::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// How many errors are told one by one.
const MAX_ERRORS: usize = 100;

/// What is in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// JSON objects, as they were sent.
    pub good: Vec<Bytes>,
    /// How many parts are no JSON object.
    pub wrong: usize,
    /// The first of those, with what is wrong.
    pub errors: Vec<LineError>,
}

/// What is wrong with one part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// The line of the body where the part starts, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl Events {
    fn refuse(&mut self, line: usize, reason: impl Into<String>) {
        self.wrong += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(LineError { line, reason: reason.into() });
        }
    }

    fn take(&mut self, line: usize, event: Bytes) {
        match object(&event) {
            Ok(()) => self.good.push(event),
            Err(reason) => self.refuse(line, reason),
        }
    }
}

/// Takes a body apart without copying it. `declared_lines`: the caller said that there is an object a line; otherwise the
/// body itself tells.
///
/// Only the JSON is checked here. An object that the configuration cannot make a change of (no id, an unknown event type) goes to the
/// dead letters, as it would from any source.
pub fn split(body: Bytes, declared_lines: bool) -> Events {
    let body = trimmed(&body, body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body));
    let mut events = Events::default();
    match body.first() {
        None => events.refuse(1, "the body is empty"),
        Some(b'[') if !declared_lines => split_array(&body, &mut events),
        Some(_) if declared_lines => split_lines(&body, &mut events),
        Some(_) => split_sniffed(body, &mut events),
    }
    events
}

/// One object over any number of lines, or one a line.
fn split_sniffed(body: Bytes, events: &mut Events) {
    let Err(reason) = object(&body) else {
        return events.good.push(body);
    };
    split_lines(&body, events);
    if events.good.is_empty() {
        *events = Events::default();
        events.refuse(1, reason);
    }
}

fn split_lines(body: &Bytes, events: &mut Events) {
    let mut start = 0;
    for (index, end) in memchr::memchr_iter(b'\n', body).chain([body.len()]).enumerate() {
        let line = trimmed(body, &body[start..end]);
        if !line.is_empty() {
            events.take(index + 1, line);
        }
        start = end + 1;
    }
}

fn split_array(body: &Bytes, events: &mut Events) {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return events.refuse(line_of(body, error.valid_up_to()), "not UTF-8"),
    };
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(error) => return events.refuse(error.line(), format!("the array is not valid JSON: {error}")),
    };
    let (mut line, mut seen) = (1, 0);
    for item in items {
        let item = body.slice_ref(item.get().as_bytes());
        let start = item.as_ptr() as usize - body.as_ptr() as usize;
        line += count_lines(&body[seen..start]);
        seen = start;
        events.take(line, item);
    }
}

fn line_of(body: &[u8], offset: usize) -> usize {
    1 + count_lines(&body[..offset])
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

fn object(event: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(event).map_err(|_| "not UTF-8".to_owned())?;
    if !text.starts_with('{') {
        return Err("an event is a JSON object, and this is none".to_owned());
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(error) if error.is_syntax() && error.to_string().starts_with("trailing characters") => {
            Err("more follows behind the JSON object; several events need a line each, or an array".to_owned())
        }
        Err(error) => Err(format!("not valid JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &'static [u8], declared_lines: bool) -> (Vec<String>, Vec<usize>) {
        let events = split(Bytes::from_static(body), declared_lines);
        assert_eq!(events.wrong, events.errors.len());
        let good = events.good.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect();
        (good, events.errors.into_iter().map(|error| error.line).collect())
    }

    #[test]
    fn a_body_tells_by_itself_what_it_is() {
        let (a, b) = (r#"{"a":1}"#, r#"{"b":2}"#);
        let cases: [(&'static [u8], &[&str], &[usize]); 16] = [
            (br#"{"a":1}"#, &[a], &[]),
            (b" \n{\"a\":1}\n\n", &[a], &[]),
            (b"\xef\xbb\xbf{\"a\":1}", &[a], &[]),
            (b"{\n\"a\":1\n}", &["{\n\"a\":1\n}"], &[]),
            (b"{\"a\":1}\n{\"b\":2}", &[a, b], &[]),
            (b"{\"a\":1}\r\n\r\n{\"b\":2}\r\n", &[a, b], &[]),
            (b"[{\"a\":1},\n {\"b\":2}]", &[a, b], &[]),
            (b"[]", &[], &[]),
            (b"{\"a\":1}\n\n{\"b\":\n{\"b\":2}\n7", &[a, b], &[3, 5]),
            (b"{\"a\":\n{\"b\":2}", &[b], &[1]),
            (b"[{\"a\":1},\n\n7, null,\n{\"b\":2}]", &[a, b], &[3, 3]),
            (b"[{\"a\":1},\n{\"b\":2]", &[], &[2]),
            (b"[{\"a\":1},\n{\"b\":\"\xff\"}]", &[], &[2]),
            (b"{\"a\":1}\n{\"b\":\"\xff\"}\n{\"b\":2}", &[a, b], &[2]),
            (b"{\"a\":1}{\"b\":2}", &[], &[1]),
            (b" \n ", &[], &[1]),
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
        let cases: [(&'static [u8], &[&str], &[usize]); 3] = [
            (b"[{\"a\":1}]\n{\"b\":2}", &[r#"{"b":2}"#], &[1]),
            (b"{\n\"a\":1}", &[], &[1, 2]),
            (b"{\"a\":1}", &[r#"{"a":1}"#], &[]),
        ];
        for (body, good, lines) in cases {
            assert_eq!(outcome(body, true), (good.iter().map(|s| (*s).to_owned()).collect(), lines.to_vec()));
        }
    }

    #[test]
    fn events_are_parts_of_the_body_and_not_copies() {
        let body = Bytes::from_static(b"[{\"a\":1}]");
        let events = split(body.clone(), false);
        assert_eq!(events.good[0].as_ptr(), body[1..].as_ptr());
    }

    #[test]
    fn an_answer_does_not_grow_with_the_number_of_errors() {
        let events = split(Bytes::from("7\n".repeat(10_000)), true);
        assert_eq!((events.wrong, events.errors.len()), (10_000, MAX_ERRORS));
    }

    #[test]
    fn objects_without_a_line_each_are_told_what_is_missing() {
        let events = split(Bytes::from_static(b"{\"a\":1}{\"b\":2}"), false);
        assert!(events.errors[0].reason.contains("need a line each"), "{}", events.errors[0].reason);
    }
}
