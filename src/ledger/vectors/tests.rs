//! Vectors across writes, crashes, damage and the readers beside.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::thread;

use futures_util::FutureExt;
use tempfile::TempDir;

use super::file::FILE;
use super::*;
use crate::ledger::key_value::PLAN;
use crate::ledger::testing::{copy, fingerprint, here, open, open_with, options, vector, write};
use crate::ledger::{ChunkWrite, LedgerErrorKind, LedgerOptions, NewPoint, Points, VectorSource, Written};
use crate::same_file::FileId;

const LEDGER: &[&str] = &["ledger.sqlite", "ledger.sqlite-wal"];

fn forgetful() -> LedgerOptions {
    LedgerOptions { persist_vectors: false, ..options() }
}

fn texts(ledger: &Ledger) -> Vec<bool> {
    let vectors = ledger.vectors(&[fingerprint("one"), fingerprint("two")]).unwrap();
    vectors.iter().map(Option::is_some).collect()
}

#[test]
fn a_text_of_two_documents_is_kept_once() {
    let (_folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")]), write("b", vec![here("one")])]).unwrap();
    assert_eq!(ledger.vectors(&[fingerprint("none"), fingerprint("one")]).unwrap(), [None, Some(vector("one"))]);
    let kept: i64 =
        ledger.read("count", |c| Ok(c.query_row("SELECT count(*) FROM vectors", [], |r| r.get(0))?)).unwrap();
    assert_eq!(kept, 1);
    assert_eq!(ledger.vectors_of(&[2, 9, 1]).unwrap(), [Some(vector("one")), None, Some(vector("one"))]);
}

#[test]
fn a_text_is_found_in_whichever_segment_it_is_with_and_without_a_filter() {
    const TEXTS: usize = (2 << segment::SLOTS_LOG2) + 100;
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, options());
    let text = |number: usize| format!("text {number}");
    let chunks = (0..TEXTS).map(|number| here(&text(number)));
    ledger.write(&[write("a", chunks.collect())]).unwrap();
    // At both ends of each segment, and some that there are not.
    let asked: Vec<usize> = [0, 1, 2]
        .into_iter()
        .flat_map(|segment: usize| {
            let end = segment << segment::SLOTS_LOG2;
            end.saturating_sub(3)..end + 3
        })
        .chain(TEXTS - 2..TEXTS + 50)
        .rev()
        .collect();
    let fingerprints: Vec<_> = asked.iter().map(|number| fingerprint(&text(*number))).collect();
    let expected: Vec<_> = asked.iter().map(|number| (*number < TEXTS).then(|| vector(&text(*number)))).collect();
    assert_eq!(ledger.vectors(&fingerprints).unwrap(), expected);
    let reader = Ledger::open_to_read(folder.path()).unwrap();
    assert_eq!(reader.vectors(&fingerprints).unwrap(), expected, "without a filter");
    drop((ledger, reader));
    let ledger = open_with(&folder, options());
    assert_eq!(ledger.vectors(&fingerprints).unwrap(), expected, "a filter filled from the file");
    let again = fingerprints.iter().zip(&expected).filter_map(|(fingerprint, vector)| {
        let vector = VectorSource::Here(vector.clone()?);
        Some(ChunkWrite { fingerprint: *fingerprint, vector })
    });
    ledger.write(&[write("b", again.collect())]).unwrap();
    let kept: i64 =
        ledger.read("count", |c| Ok(c.query_row("SELECT count(*) FROM vectors", [], |r| r.get(0))?)).unwrap();
    assert_eq!(kept, TEXTS as i64, "each text once");
}

#[test]
fn an_unused_vector_stays_when_vectors_persist() {
    let (_folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    ledger.write(&[write("a", vec![])]).unwrap();
    assert_eq!(texts(&ledger), [true, false]);
}

#[test]
fn a_vector_goes_with_its_last_point_when_vectors_do_not_persist() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")]), write("b", vec![here("one")])]).unwrap();
    ledger.write(&[write("c", vec![here("two")])]).unwrap();
    ledger.write(&[write("c", vec![])]).unwrap();
    assert_eq!(texts(&ledger), [true, true]);
    ledger.set_setting(PLAN, "planned").unwrap();
    drop(ledger);
    let ledger = open_with(&folder, forgetful());
    assert_eq!(texts(&ledger), [true, false], "the unused one goes at the start");
    ledger.write(&[write("a", vec![])]).unwrap();
    assert_eq!(texts(&ledger), [true, false], "`b` still has it");
    ledger.write(&[write("b", vec![])]).unwrap();
    assert_eq!(texts(&ledger), [false, false]);
}

#[test]
fn without_vectors_the_chunks_are_known_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let discard = LedgerOptions { persist_vectors: false, points: Points::Nowhere, ..options() };
    let ledger = open_with(&folder, discard);
    let written = ledger.write(&[write("a", vec![here("one")])]).unwrap();
    assert_eq!(written.added, [NewPoint { key: 1, write: 0, chunk: 0 }]);
    assert_eq!(texts(&ledger), [false, false]);
    let held = ledger.documents(&[write("a", vec![]).id]).unwrap().remove(0).unwrap();
    assert_eq!(held.chunks[0].fingerprint, fingerprint("one"));
    assert_eq!(ledger.points_after(0, 10).unwrap(), []);
    assert_eq!(ledger.write(&[write("a", vec![])]).unwrap().removed, [1]);
}

fn spoil(folder: &TempDir, change: impl FnOnce(&mut Vec<u8>)) {
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn place_of(ledger: &Ledger, text: &str) -> Option<Place> {
    let text = fingerprint(text);
    ledger.read("look", |c| Ok(find(&mut c.prepare_cached(FIND)?, &text, [0])?)).unwrap()
}

#[test]
fn freed_slots_are_used_again_before_the_file_grows_but_not_by_the_write_that_frees_them() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, forgetful());
    let slot = |text| place_of(&ledger, text).unwrap().slot;
    ledger.write(&[write("a", vec![here("one"), here("two"), here("three")])]).unwrap();
    ledger.write(&[write("a", vec![here("four"), here("two")])]).unwrap();
    assert_eq!((slot("two"), slot("four")), (2, 4));
    ledger.write(&[write("b", vec![here("five"), here("six"), here("seven"), here("five")])]).unwrap();
    assert_eq!((slot("five"), slot("six"), slot("seven")), (1, 3, 5));
    drop(ledger);
    let ledger = open_with(&folder, forgetful());
    let texts = ["one", "two", "five", "six", "seven"];
    let held = ledger.vectors(&texts.map(fingerprint)).unwrap();
    assert_eq!(held[0], None);
    assert_eq!(held[1..], texts.map(|text| Some(vector(text)))[1..]);
}

#[test]
fn a_worn_filter_is_filled_anew_with_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, forgetful());
    ledger.write(&[write("a", vec![here("one"), here("two")])]).unwrap();
    ledger.write(&[write("a", vec![here("two")])]).unwrap();
    let bloom = ledger.access.bloom().unwrap();
    let segments = |text| bloom.segments(segment::prefix(&fingerprint(text)));
    assert_eq!(segments("one"), [0], "it was there");
    // As if so many had come and gone since, in 100 segments.
    let mut random = fastrand::Rng::with_seed(7);
    (0..2 << segment::SLOTS_LOG2).for_each(|number| bloom.add(random.u64(..) >> 24, number % 100));
    ledger.write(&[write("b", vec![here("three")])]).unwrap();
    assert_eq!(["one", "two", "three"].map(segments), [vec![], vec![0], vec![0]]);
    let held = ledger.vectors(&["one", "two", "three"].map(fingerprint)).unwrap();
    assert_eq!(held, [None, Some(vector("two")), Some(vector("three"))]);
    assert!(!bloom.is_worn(4));
}

#[test]
fn a_crash_before_the_commit_leaves_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, forgetful());
    ledger.write(&[write("a", vec![here("one"), here("two")])]).unwrap();
    ledger.write(&[write("a", vec![here("two")])]).unwrap();
    // A free slot, one that goes, one that stays, and one behind the end.
    let crashed = tempfile::tempdir().unwrap();
    copy(&folder, &crashed, LEDGER);
    ledger.write(&[write("a", vec![here("three")]), write("b", vec![here("four"), here("five")])]).unwrap();
    copy(&folder, &crashed, &[FILE]);

    let ledger = open_with(&crashed, forgetful());
    assert_eq!(texts(&ledger), [false, true]);
    assert_eq!(ledger.vectors(&[fingerprint("two")]).unwrap(), [Some(vector("two"))]);
    ledger.write(&[write("b", vec![here("six"), here("seven")])]).unwrap();
    let held = ledger.vectors(&["two", "six", "seven"].map(fingerprint)).unwrap();
    assert_eq!(held, ["two", "six", "seven"].map(|text| Some(vector(text))));
}

#[test]
fn a_slot_that_was_used_again_is_looked_up_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&folder, forgetful());
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    let stale = place_of(&ledger, "one");
    ledger.write(&[write("a", vec![])]).unwrap();
    ledger.write(&[write("b", vec![here("other")])]).unwrap();
    let read = |now: Option<Place>| {
        let lookups = Cell::new(0);
        let find =
            |_: &mut CachedStatement<'_>, _: &()| Ok(if lookups.replace(lookups.get() + 1) == 0 { stale } else { now });
        ledger.look_up_vectors("read", &[()], FIND, find)
    };
    assert_eq!(read(None).unwrap(), [None], "it is gone");
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    assert_eq!(read(place_of(&ledger, "one")).unwrap(), [Some(vector("one"))], "it is elsewhere");
    assert_eq!(ledger.damaged().now_or_never(), None);
    assert_eq!(read(stale).unwrap_err().kind(), LedgerErrorKind::Corrupt, "the ledger itself says so");
}

#[test]
fn a_damaged_vector_is_told_and_the_others_are_read() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one"), here("two")])]).unwrap();
    spoil(&folder, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(ledger.vectors(&[fingerprint("one")]).unwrap(), [Some(vector("one"))]);
    assert_eq!(ledger.damaged().now_or_never(), None);
    let error = ledger.points_after(0, 9).unwrap_err();
    assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
    for part in ["vectors.bin", "checksum", "one copy"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(ledger.damaged().now_or_never(), Some(error));
}

#[test]
fn a_ledger_without_its_vectors_is_refused_and_left_as_it_is() {
    type Case = (&'static str, fn(&TempDir));
    let cases: [Case; 4] = [
        ("is missing", |folder| fs::remove_file(folder.path().join(FILE)).unwrap()),
        ("is cut off", |folder| spoil(folder, |bytes| bytes.truncate(bytes.len() - 1))),
        ("no file of vectors", |folder| spoil(folder, |bytes| bytes.fill(7))),
        ("belongs to another ledger", |folder| {
            let (other, ledger) = open();
            ledger.write(&[write("b", vec![here("one"), here("two")])]).unwrap();
            copy(&other, folder, &[FILE]);
        }),
    ];
    for (expected, spoil) in cases {
        let (folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one"), here("two")])]).unwrap();
        drop(ledger);
        let sound = tempfile::tempdir().unwrap();
        copy(&folder, &sound, &[FILE]);
        spoil(&folder);
        for opened in [Ledger::open(folder.path(), options()), Ledger::open_to_read(folder.path())] {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), LedgerErrorKind::Corrupt, "{error}");
            for part in [expected, "ledger.sqlite", "vectors.bin", "one copy"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        copy(&sound, &folder, &[FILE]);
        assert_eq!(texts(&open_with(&folder, options())), [true, true], "{expected}");
    }
}

#[test]
fn without_vectors_no_file_is_missed() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![])]).unwrap();
    assert!(!folder.path().join(FILE).exists());
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    ledger.write(&[write("a", vec![])]).unwrap();
    ledger.set_setting(PLAN, "planned").unwrap();
    drop(ledger);
    drop(open_with(&folder, forgetful()));
    fs::remove_file(folder.path().join(FILE)).unwrap();
    let ledger = open_with(&folder, options());
    ledger.write(&[write("a", vec![here("two")])]).unwrap();
    assert_eq!(texts(&ledger), [false, true]);
}

#[test]
fn a_damaged_key_is_told_and_no_memory_taken_for_it() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    drop(ledger);
    Connection::open(folder.path().join(LEDGER[0])).unwrap().execute("UPDATE vectors SET key = -1", []).unwrap();
    let error = Ledger::open(folder.path(), options()).unwrap_err();
    assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
    assert!(error.to_string().contains("never used"), "{error}");
}

#[test]
fn a_file_of_vectors_that_is_removed_while_it_is_open_is_told() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    fs::remove_file(folder.path().join(FILE)).unwrap();
    let error = ledger.write(&[write("b", vec![here("two")])]).unwrap_err();
    assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
    for part in ["vectors.bin", "removed, moved away or replaced"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(ledger.damaged().now_or_never(), Some(error));
}

#[test]
fn a_file_of_vectors_that_was_begun_anew_is_not_gone_for_its_readers() {
    let (folder, ledger) = open();
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    let reader = Ledger::open_to_read(folder.path()).unwrap();
    assert_eq!(texts(&reader), [true, false]);
    let before = reader.vectors.opened().unwrap().id();
    ledger.write(&[write("a", vec![])]).unwrap();
    ledger.keep_vectors(&[(fingerprint("short"), [1.0, 2.0].into())]).unwrap();
    assert_ne!(FileId::at(&folder.path().join(FILE)).unwrap(), before);
    let _other = reader.busy_reader();
    let error = reader.counts().unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[test]
fn a_vector_of_another_length_is_taken_only_while_no_document_has_one() {
    let (folder, ledger) = open();
    let short = |text: &str| {
        let vector = VectorSource::Here([1.0, 2.0].into());
        ChunkWrite { fingerprint: fingerprint(text), vector }
    };
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    let error = ledger.write(&[write("b", vec![short("two")])]).unwrap_err();
    assert!(error.to_string().contains("has 2 numbers, and those that are kept have 16"), "{error}");
    assert_eq!((ledger.counts().unwrap().documents, texts(&ledger)), (1, vec![true, false]), "all or nothing");

    ledger.write(&[write("a", vec![])]).unwrap();
    ledger.write(&[write("b", vec![short("two")])]).unwrap();
    drop(ledger);
    let ledger = open_with(&folder, options());
    let held = ledger.vectors(&["one", "two"].map(fingerprint)).unwrap();
    assert_eq!(held, [None, Some([1.0, 2.0].into())]);
}

#[test]
fn whoever_makes_way_second_forgets_nothing_that_came_meanwhile() {
    let (_folder, ledger) = open();
    ledger.keep_vectors(&[(fingerprint("one"), vector("one"))]).unwrap();
    let short: Vector = [1.0, 2.0].into();
    ledger.keep_vectors(&[(fingerprint("two"), short.clone())]).unwrap();
    // Of a call that had asked before there were any.
    ledger.forget_other_lengths(short.len()).unwrap();
    assert_eq!(ledger.vectors(&["one", "two"].map(fingerprint)).unwrap(), [None, Some(short)]);
    ledger.forget_other_lengths(16).unwrap();
    assert_eq!(texts(&ledger), [false, false]);
    ledger.write(&[write("a", vec![here("one")])]).unwrap();
    ledger.forget_other_lengths(2).unwrap();
    assert_eq!(texts(&ledger), [true, false], "what documents use is never forgotten");
}

/// Writing to this device always meets a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_vectors_is_told_and_writing_goes_on_when_there_is_room() {
    let (_folder, ledger) = open();
    ledger.write(&[write("before", vec![here("one")])]).unwrap();
    let sound = ledger.vectors.opened().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    ledger.vectors.exchange(Arc::new(sound.on(full)));
    let next = [write("next", vec![here("two")])];
    let error = ledger.write(&next).unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (LedgerErrorKind::Full, true), "{error}");
    for part in ["ledger.sqlite", "vectors.bin", "make room"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(ledger.write(&[write("before", vec![])]).unwrap().removed, [1], "what needs no vector is written");
    ledger.vectors.exchange(sound);
    assert_eq!(texts(&ledger), [true, false], "all or nothing");
    let added = vec![NewPoint { key: 2, write: 0, chunk: 0 }];
    assert_eq!(ledger.write(&next).unwrap(), Written { added, ..Written::default() });
    assert_eq!(texts(&ledger), [true, true]);
}

#[test]
fn readers_beside_a_writer_that_uses_slots_again_never_see_a_wrong_vector() {
    const LOOKS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let writer = open_with(&folder, forgetful());
    let pinned: Vec<String> = (0..8).map(|number| format!("pinned {number}")).collect();
    let other = |round: usize, number: usize| format!("{} {number}", round % 3);
    let changed = |round| {
        let of = |number: usize| write(&format!("changed {number}"), vec![here(&other(round, number))]);
        (0..8).map(of).collect::<Vec<_>>()
    };
    // Between the pinned ones lie those that go.
    let first = pinned.iter().zip(changed(0)).flat_map(|(text, changed)| [changed, write(text, vec![here(text)])]);
    writer.write(&first.collect::<Vec<_>>()).unwrap();
    let pinned_keys: Vec<_> = (1..=8).map(|number| number * 2).collect();
    let reader = Ledger::open_to_read(folder.path()).unwrap();
    let look = |ledger: &Ledger| {
        for _ in 0..LOOKS {
            let texts: Vec<String> = (0..3).flat_map(|round| (0..8).map(move |number| other(round, number))).collect();
            let fingerprints: Vec<_> = texts.iter().map(|text| fingerprint(text)).collect();
            for (text, found) in texts.iter().zip(ledger.vectors(&fingerprints).unwrap()) {
                assert!(found.is_none_or(|found| found == vector(text)), "{text}");
            }
            let (mut after, mut seen) = (0, Vec::new());
            loop {
                let page = ledger.points_after(after, 2).unwrap();
                let Some((last, _)) = page.last() else { break };
                after = *last;
                seen.extend(page.iter().map(|(key, _)| *key));
            }
            assert!(pinned_keys.iter().all(|key| seen.contains(key)), "{seen:?}");
            let held = ledger.vectors_of(&pinned_keys).unwrap();
            assert!(held.iter().zip(&pinned).all(|(held, text)| *held == Some(vector(text))));
        }
    };
    thread::scope(|scope| {
        let readers = [&writer, &reader].map(|ledger| scope.spawn(move || look(ledger)));
        for round in 1.. {
            writer.write(&changed(round)).unwrap();
            if readers.iter().all(|reader| reader.is_finished()) {
                break;
            }
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let next: i64 =
        writer.read("look", |c| Ok(c.query_row("SELECT next_slot FROM vector_file", [], |r| r.get(0))?)).unwrap();
    assert_eq!(next, 25, "sixteen vectors, and room for eight while eight go");
}
