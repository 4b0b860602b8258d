//! Bodies of any bytes.

use actix_web::web::Bytes;
use serde::de::IgnoredAny;

use super::body::gunzip;
use super::lines::{Events, split};
use crate::settings::ByteSize;
use crate::testkit::hostile::attack;

const LIMIT: ByteSize = ByteSize::bytes(100_000);

fn is_object(text: &[u8]) -> bool {
    // A form feed is white space around a line, and nothing in JSON.
    let text = text.trim_ascii();
    text.starts_with(b"{")
        && std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn verdicts(events: &Events) -> usize {
    events.good.len() + events.surplus + events.wrong
}

#[test]
fn every_line_of_a_body_has_one_verdict_and_every_event_is_an_object_of_it() {
    attack("body", |input| {
        let body = Bytes::copy_from_slice(input);
        let lines: Vec<&[u8]> =
            input.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
        let objects = lines.iter().filter(|line| is_object(line)).count();

        let declared = split(body.clone(), true, usize::MAX);
        assert_eq!(verdicts(&declared), lines.len().max(1), "one verdict a line");
        assert_eq!(declared.good.len(), objects, "what is an object is accepted");

        let told = split(body.clone(), false, usize::MAX);
        let whole = input.trim_ascii();
        assert!(verdicts(&told) > 0 || serde_json::from_slice::<[(); 0]>(whole).is_ok(), "nothing is told of it");
        assert!(told.good.iter().all(|event| is_object(event)));
        let mut behind = body.as_ptr() as usize;
        for event in &told.good {
            assert!(event.as_ptr() as usize >= behind, "events are parts of the body in their order");
            behind = event.as_ptr() as usize + event.len();
        }
        for declared_lines in [true, false] {
            let all = split(body.clone(), declared_lines, usize::MAX);
            let few = split(body.clone(), declared_lines, 1);
            assert_eq!(verdicts(&few), verdicts(&all), "what is not kept is counted");
            assert!(all.wrong == 0 || (1..=all.wrong).contains(&all.errors.len()));
            let last = input.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!(all.errors.iter().all(|error| (1..=last).contains(&error.line) && error.reason.len() < 300));
        }
    });
}

#[test]
fn a_compressed_body_inflates_to_no_more_than_the_limit() {
    attack("body", |input| match gunzip(input, LIMIT) {
        Ok(Some(plain)) => assert!(plain.len() <= LIMIT.as_usize()),
        Ok(None) => assert!(input.starts_with(b"\x1f\x8b")),
        Err(error) => assert!(error.to_string().starts_with("the body is not whole gzip: "), "{error}"),
    });
}
