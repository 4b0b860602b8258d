//! What becomes of dead letters: buried, replayed, moot.

use serde_json::json;

use super::*;
use crate::document::{Change, Document, Operation};
use crate::ledger::DocumentWrite;
use crate::ledger::testing::{here, open, write};

fn letter(position: &str, payload: &str) -> Letter {
    Letter {
        source: "files".to_owned(),
        position: position.to_owned(),
        document: None,
        version: None,
        reason: "it is broken".to_owned(),
        payload: payload.as_bytes().to_vec(),
        attempts: 1,
        order: Version::from_nanos(i128::MAX),
        taken_in: true,
    }
}

fn of_document(position: &str, version: i128) -> Letter {
    let document = Some(DocumentId::new("a").unwrap());
    Letter { document, version: Some(Version::from_nanos(version)), ..letter(position, "x") }
}

fn ids(letters: &[DeadLetter]) -> Vec<i64> {
    letters.iter().map(|letter| letter.id).collect()
}

#[test]
fn the_same_record_is_kept_once() {
    let (_folder, ledger) = open();
    ledger.bury(&[letter("f:1", "x"), letter("f:1", "y")], 5).unwrap();
    ledger.request_replay(Some(&[1])).unwrap();
    let again = Letter { reason: "still broken".to_owned(), attempts: 2, ..letter("f:1", "x") };
    ledger.bury(std::slice::from_ref(&again), 9).unwrap();
    let expected = DeadLetter { id: 1, at: 9, replay: false, letter: Letter { attempts: 3, ..again } };
    assert_eq!(ledger.dead_letter(1).unwrap(), Some(expected));
    assert_eq!(ledger.dead_letter_count().unwrap(), 2);
    assert_eq!(ids(&ledger.dead_letters(1, 10).unwrap()), [2]);
}

#[test]
fn a_replay_ends_unless_the_record_failed_again() {
    let (_folder, ledger) = open();
    ledger.bury(&["f:1", "f:2", "f:3"].map(|position| letter(position, "four")), 1).unwrap();
    assert_eq!(ledger.request_replay(Some(&[3])).unwrap(), 1);
    assert_eq!(ledger.request_replay(None).unwrap(), 2);
    assert_eq!(ids(&ledger.replays(0, 10, 8).unwrap()), [1, 2]);
    assert_eq!(ids(&ledger.replays(1, 1, 0).unwrap()), [2]);
    ledger.bury(&[letter("f:2", "four"), letter("f:3", "four")], 2).unwrap();
    assert_eq!(
        ledger.request_replay(Some(&[3])).unwrap(),
        1,
        "asked for again before the first replay is known to be over"
    );
    ledger.finish_replay(&[(1, 1), (2, 1), (3, 1)]).unwrap();
    assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), [2, 3]);
    assert_eq!(ids(&ledger.replays(0, 10, 100).unwrap()), [3]);
    assert_eq!(ledger.drop_dead_letters(&[2, 3, 9]).unwrap(), 2);
    assert_eq!(ledger.dead_letter_count().unwrap(), 0);
}

/// As JSON text: what one change of this version makes.
fn said(operation: Operation, version: i128, fields: serde_json::Value) -> String {
    let (id, version) = (DocumentId::new("a").unwrap(), Version::from_nanos(version));
    let fields = fields.as_object().unwrap().clone();
    Document::from(Change { id, operation, version, fields, priority: 0, immediate: false }).to_json()
}

fn upserted(version: i128, fields: serde_json::Value) -> String {
    said(Operation::Upsert, version, fields)
}

#[test]
fn a_replay_that_says_nothing_of_a_document_that_is_refused_leaves_it_its_letter() {
    let (_folder, ledger) = open();
    let never_taken_in = Letter { taken_in: false, ..of_document("f:2", 6) };
    let boots = json!({ "title": "boots" });
    for (document, left) in [(upserted(5, boots), &[1][..]), (upserted(5, json!({})), &[])] {
        ledger.write(&[DocumentWrite { document, clears: None, ..write("a", vec![]) }]).unwrap();
        ledger.bury(&[of_document("f:1", 6), never_taken_in.clone()], 1).unwrap();
        ledger.request_replay(None).unwrap();
        let given: Vec<_> = ledger.replays(0, 10, 100).unwrap().into_iter().map(|dead| (dead.id, 1)).collect();
        ledger.finish_replay(&given).unwrap();
        assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), left);
        assert!(ledger.replays(0, 10, 100).unwrap().is_empty(), "it is not tried again and again");
        ledger.drop_dead_letters(&[1]).unwrap();
    }
}

#[test]
fn a_document_clears_its_letters_that_are_not_newer() {
    let (_folder, ledger) = open();
    ledger
        .bury(&[of_document("f:1", 9), of_document("f:2", 10), of_document("f:3", 11), letter("f:4", "x")], 1)
        .unwrap();
    ledger.write(&[write("b", vec![])]).unwrap();
    ledger.write(&[DocumentWrite { clears: None, ..write("a", vec![]) }]).unwrap();
    assert_eq!(ledger.dead_letter_count().unwrap(), 4);
    ledger
        .write(&[DocumentWrite { clears: Some(Moot::up_to(Version::from_nanos(10))), ..write("a", vec![]) }])
        .unwrap();
    assert_eq!(ids(&ledger.dead_letters(0, 10).unwrap()), [3, 4]);
}

#[test]
fn what_is_part_of_its_document_stays_so_when_it_is_refused_later_and_goes_with_the_next_version() {
    let (_folder, ledger) = open();
    let refused = |document: Option<&str>, version: Option<i128>| Letter {
        document: document.map(|id| DocumentId::new(id).unwrap()),
        version: version.map(Version::from_nanos),
        reason: "unknown event type".to_owned(),
        taken_in: false,
        ..of_document("f:1", 5)
    };
    for again in [refused(Some("a"), Some(5)), refused(Some("b"), Some(9)), refused(None, None)] {
        ledger.bury(&[of_document("f:1", 5), again.clone()], 1).unwrap();
        let letter = ledger.dead_letters(0, 1).unwrap().remove(0).letter;
        assert_eq!(letter, Letter { reason: again.reason, attempts: 2, ..of_document("f:1", 5) });
        let clears = Some(Moot { taken_in: Version::from_nanos(6), replaced: None });
        ledger.write(&[DocumentWrite { clears, ..write("a", vec![here("boots")]) }]).unwrap();
        assert_eq!(ledger.dead_letter_count().unwrap(), 0);
        ledger.write(&[write("a", vec![])]).unwrap();
    }
}

#[test]
fn what_comes_again_behind_newer_changes_and_is_refused_is_not_moot_by_these() {
    let (_folder, ledger) = open();
    let again = Letter { taken_in: false, order: Version::from_nanos(9), ..of_document("f:1", 9) };
    ledger.bury(&[Letter { order: Version::from_nanos(5), ..of_document("f:1", 5) }, again], 1).unwrap();
    for (newest, left) in [(8, 1), (9, 0)] {
        let clears = Some(Moot { taken_in: Version::from_nanos(newest), replaced: None });
        ledger.write(&[DocumentWrite { clears, ..write("a", vec![here("boots")]) }]).unwrap();
        assert_eq!(ledger.dead_letter_count().unwrap(), left);
    }
}

#[test]
fn what_was_never_taken_in_is_moot_only_once_all_of_its_document_was_replaced() {
    let (_folder, ledger) = open();
    let refused = Letter { taken_in: false, ..of_document("f:1", 5) };
    ledger.bury(&[refused, of_document("f:2", 5)], 1).unwrap();
    let patched = |version, replaced: Option<i128>| {
        let replaced = replaced.map(Version::from_nanos);
        let clears = Some(Moot { taken_in: Version::from_nanos(version), replaced });
        ledger.write(&[DocumentWrite { clears, ..write("a", vec![]) }]).unwrap();
        ids(&ledger.dead_letters(0, 10).unwrap())
    };
    assert_eq!(patched(6, None), [1]);
    assert_eq!(patched(7, Some(4)), [1]);
    assert!(patched(8, Some(5)).is_empty());
}

#[test]
fn a_change_that_a_newer_one_has_brought_into_the_index_is_not_buried_after_it() {
    let (_folder, ledger) = open();
    let document = |version| upserted(version, json!({ "title": "boots" }));
    let late = Letter { taken_in: true, ..of_document("f:1", 5) };
    let bury = |letter: &Letter| {
        ledger.bury(std::slice::from_ref(letter), 1).unwrap();
        ledger.dead_letter_count().unwrap()
    };
    ledger.write(&[DocumentWrite { document: document(5), ..write("a", vec![]) }]).unwrap();
    assert_eq!(bury(&late), 1, "it is not in the index");
    ledger.write(&[DocumentWrite { document: document(6), ..write("a", vec![here("boots")]) }]).unwrap();
    assert_eq!(bury(&late), 0);
    assert_eq!(bury(&Letter { taken_in: true, ..of_document("f:2", 7) }), 1, "it is newer");
    assert_eq!(bury(&Letter { taken_in: false, ..late }), 1, "an upsert has replaced what it said");
    assert_eq!(bury(&Letter { taken_in: false, ..of_document("f:3", 7) }), 2, "nothing has what it said");
}

#[test]
fn what_was_never_taken_in_is_kept_or_not_whichever_was_first_it_or_what_replaces_it() {
    let boots = json!({ "title": "boots" });
    let (upsert, patch) = (upserted(6, boots.clone()), said(Operation::Patch, 6, boots));
    let moot = Some(Moot::up_to(Version::from_nanos(6)));
    let of_patch = moot.map(|moot| Moot { replaced: None, ..moot });
    let cases = [
        ("in the index", &upsert, vec![here("boots")], moot, 0),
        ("without a text", &upsert, vec![], moot, 0),
        ("refused", &upsert, vec![], None, 2),
        ("patched", &patch, vec![here("boots")], of_patch, 1),
    ];
    for (case, document, chunks, clears, left) in cases {
        for is_first in [true, false] {
            let (_folder, ledger) = open();
            let bury = || ledger.bury(&[Letter { taken_in: false, ..of_document("f:1", 5) }], 1).unwrap();
            if is_first {
                bury();
            }
            let (document, chunks) = (document.clone(), chunks.clone());
            ledger.write(&[DocumentWrite { document, clears, ..write("a", chunks) }]).unwrap();
            if clears.is_none() {
                ledger.bury(&[of_document("f:2", 6)], 1).unwrap();
            }
            if !is_first {
                bury();
            }
            assert_eq!(ledger.dead_letter_count().unwrap(), left, "{case}, its letter first: {is_first}");
        }
    }
}

#[test]
fn which_letter_of_a_document_comes_first_in_a_write_decides_nothing() {
    let letters = [Letter { taken_in: false, ..of_document("f:1", 5) }, of_document("f:2", 6)];
    let [first, second] = letters.clone();
    for letters in [letters, [second, first]] {
        let (_folder, ledger) = open();
        let document = upserted(6, json!({ "title": "boots" }));
        ledger.write(&[DocumentWrite { document, clears: None, ..write("a", vec![]) }]).unwrap();
        ledger.bury(&letters, 1).unwrap();
        assert_eq!(ledger.dead_letter_count().unwrap(), 2, "the document is refused");
    }
}

#[test]
fn a_document_that_is_only_looked_at_again_has_no_letter_beside_that_of_its_record() {
    let (_folder, ledger) = open();
    let looked_at_again = |source: &str, reason: &str| Letter {
        source: source.to_owned(),
        reason: reason.to_owned(),
        payload: vec![],
        ..of_document("a", 0)
    };
    let bury = |letter: Letter, at| {
        ledger.bury(&[letter], at).unwrap();
        let letters = ledger.dead_letters(0, 10).unwrap().into_iter();
        letters.map(|dead| (dead.id, dead.at, dead.letter.reason, dead.letter.attempts)).collect::<Vec<_>>()
    };
    let is = |id, at, reason: &str, attempts| (id, at, reason.to_owned(), attempts);
    let refused = Letter { taken_in: false, ..of_document("f:1", 4) };
    let refused = [bury(refused, 1), vec![is(2, 2, "its text is empty", 1)]].concat();
    assert_eq!(bury(looked_at_again("replan", "its text is empty"), 2), refused, "nothing has what the other said");

    let of_record = |at, reason: &str, attempts| vec![refused[0].clone(), is(3, at, reason, attempts)];
    assert_eq!(bury(of_document("f:2", 5), 3), of_record(3, "it is broken", 1));
    ledger.request_replay(Some(&[3])).unwrap();
    assert_eq!(bury(looked_at_again("replan", "too long"), 4), of_record(4, "too long", 2));
    assert_eq!(bury(looked_at_again("rewrite", "its text is empty"), 5), of_record(5, "its text is empty", 3));
    let dead = ledger.dead_letter(3).unwrap().unwrap();
    assert_eq!((dead.replay, dead.letter.position.as_str(), &dead.letter.payload[..]), (false, "f:2", &b"x"[..]));
}

#[test]
fn a_record_that_comes_again_has_its_later_place_in_the_order() {
    let (_folder, ledger) = open();
    let at = |order: i128| Letter { order: Version::from_nanos(order), ..of_document("f:2", order) };
    for (order, expected) in [(100, 100), (300, 300), (200, 300)] {
        ledger.bury(&[at(order)], 1).unwrap();
        let letter = ledger.dead_letter(1).unwrap().unwrap().letter;
        let expected = Version::from_nanos(expected);
        assert_eq!((letter.order, letter.version), (expected, Some(expected)));
    }
}
