//! Records that cannot be used: each is a dead letter that says why, and the records around it are indexed.

use serde_json::json;

use crate::pipeline::{Pipeline, sound};

const MEBIBYTE: usize = 1 << 20;

/// Reads a bad line between two sound ones.
fn refused(line: impl AsRef<[u8]>, reason: &str) {
    refused_by(&Pipeline::new(), line.as_ref(), reason);
}

fn refused_by(pipeline: &Pipeline, line: &[u8], reason: &str) {
    pipeline.write("input.jsonl", [sound("a").as_bytes(), line, b"\n", sound("c").as_bytes()].concat());
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["a", "c"]);
    let letters = pipeline.dead_letters();
    assert_eq!(letters.len(), 1, "{:?}", letters.iter().map(|dead| &dead.letter.reason).collect::<Vec<_>>());
    let letter = &letters[0].letter;
    assert_eq!((letter.source.as_str(), letter.position.as_str()), ("input", "input.jsonl:2"));
    assert!(letter.reason.contains(reason), "{} should say: {reason}", letter.reason);
    assert!(letter.reason.len() < 400, "{}", letter.reason);
    assert!(letter.payload == line, "the record is kept as it came");
    // What was refused once is known: nothing is read, refused or indexed again.
    pipeline.run_well();
    assert_eq!(pipeline.dead_letters(), letters);
}

#[test]
fn broken_json() {
    refused(r#"{"id":"b","at":1700000000,"title":"so"#, "broken JSON: EOF while parsing a string");
}

#[test]
fn a_record_that_is_no_object() {
    refused("[1]", "the record must be a JSON object, and it starts with a list");
}

#[test]
fn a_missing_id() {
    refused(r#"{"at":1700000000,"title":"socks"}"#, "the record has no `id`, which names the document");
}

#[test]
fn an_id_of_a_wrong_type() {
    refused(
        r#"{"id":["b"],"at":1700000000,"title":"socks"}"#,
        "must be a text or a whole number, and it is a list of 1",
    );
}

#[test]
fn an_id_of_10_mib() {
    let id = "b".repeat(10 * MEBIBYTE);
    refused(json!({ "id": id, "at": 1_700_000_000, "title": "socks" }).to_string(), "has 10485760 bytes; at most 1024");
}

#[test]
fn a_million_values_in_two_bytes_each() {
    let line = format!(r#"{{"id":"b","at":1700000000,"title":"socks","x":[{}0]}}"#, "0,".repeat(1_000_000));
    refused(line, "broken JSON: more than 100000 values at line 1");
}

#[test]
fn a_million_levels() {
    refused(r#"{"id":"#.to_owned() + &"[".repeat(1_000_000), "broken JSON: more than 64 levels of objects and lists");
}

#[test]
fn a_number_of_a_million_digits() {
    let digits = "7".repeat(1_000_000);
    refused(
        format!(r#"{{"id":"b","at":1700000000,"title":"socks","x":{digits}}}"#),
        "broken JSON: number out of range",
    );
    refused(format!(r#"{{"id":{digits},"at":1700000000,"title":"socks"}}"#), "broken JSON: number out of range");
}

#[test]
fn a_text_of_10_mib() {
    let title = "socks ".repeat(10 * MEBIBYTE / 6);
    refused(
        json!({ "id": "b", "at": 1_700_000_000, "title": title }).to_string(),
        "has 10485756 bytes; at most 4194304",
    );
}

#[test]
fn a_line_over_the_limit_is_kept_in_part() {
    let pipeline = Pipeline::new();
    let line = "x".repeat(20 * MEBIBYTE);
    pipeline.write("input.jsonl", [sound("a"), line, "\n".to_owned(), sound("c")].concat());
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["a", "c"]);
    let letter = &pipeline.dead_letters()[0].letter;
    assert!(letter.reason.contains("20971520 bytes") && letter.reason.contains("`max_record`"), "{}", letter.reason);
    assert_eq!(letter.payload, vec![b'x'; 64 << 10]);
}

#[test]
fn a_nul_byte_in_json() {
    refused(b"{\"id\":\"b\",\"at\":1700000000,\"title\":\"so\0cks\"}", "broken JSON: control character");
}

#[test]
fn a_nul_character_in_an_id() {
    refused(r#"{"id":"b\u0000","at":1700000000,"title":"socks"}"#, "the document id holds a NUL byte");
}

#[test]
fn a_nul_character_in_a_text_is_a_character() {
    let pipeline = Pipeline::new();
    pipeline.write("input.jsonl", r#"{"id":"b","at":1700000000,"title":"warm\u0000socks","price":"1\u00002"}"#);
    pipeline.run_well();
    assert_eq!(pipeline.documents()["b"], json!({ "title": "warm\0socks", "price": "1\u{0}2" }));
}

#[test]
fn invalid_utf_8() {
    refused(
        b"{\"id\":\"b\",\"at\":1700000000,\"title\":\"so\xFFcks\"}",
        "the record is not UTF-8: the byte at offset 37",
    );
}

#[test]
fn a_version_in_the_wrong_unit() {
    let mut pipeline = Pipeline::new();
    pipeline.set("document.version={field: at, unit: seconds}");
    let line = br#"{"id":"b","at":1700000000000,"title":"socks"}"#;
    refused_by(&pipeline, line, "version 1700000000000 looks like milliseconds, and document.version.unit is seconds");
}

#[test]
fn a_version_that_is_none() {
    refused(r#"{"id":"b","at":"soon","title":"socks"}"#, "version `soon` is neither a number nor an RFC 3339 time");
}

#[test]
fn an_empty_text() {
    refused(r#"{"id":"b","at":1700000000,"title":" \n "}"#, "the document's text is empty");
}

#[test]
fn a_text_with_no_known_token() {
    refused(
        r#"{"id":"b","at":1700000000,"title":"ᚠᚢᚦ ᚨᚱᚲ"}"#,
        "no word of this text is known to the built-in English model",
    );
}

#[test]
fn a_key_that_appears_twice() {
    refused(
        r#"{"id":"b","at":1700000000,"title":"socks","title":"boots"}"#,
        "broken JSON: the key `title` appears twice",
    );
}

#[test]
fn a_text_that_cannot_be_embedded_takes_its_document_out_of_the_index_until_a_sound_one_comes() {
    let mut pipeline = Pipeline::new();
    let line = |at: u64, title: &str| json!({ "id": "a", "at": at, "title": title }).to_string();
    pipeline.set("sources={input: {type: file, path: '*.jsonl'}}");
    for (file, title, indexed, dead) in [("1", "socks", 1, 0), ("2", "", 0, 1), ("3", "boots", 1, 0)] {
        pipeline.write(&format!("{file}.jsonl"), line(1_700_000_000 + file.parse::<u64>().unwrap(), title));
        pipeline.run_well();
        assert_eq!((pipeline.ids().len(), pipeline.dead_letters().len()), (indexed, dead), "after `{title}`");
    }
}
