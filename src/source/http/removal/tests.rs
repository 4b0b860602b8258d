//! What a removal makes void, whatever comes before it, beside it and after it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;
use crate::document::Document;
use crate::document::mapping::{Mapped, Mapper};
use crate::ledger::Ledger;
use crate::ledger::testing::{open_with, options};

const SECOND: i64 = 1_000_000_000;
const NOW: i64 = 1_800_000_000 * SECOND;

fn version(nanos: i64) -> Version {
    Version::from_nanos(nanos.into())
}

#[test]
fn is_read_back_from_its_bytes_and_nothing_else_is_taken_for_one() {
    let id = DocumentId::new("a \"quoted\"\n id").unwrap();
    let newest = Version::from_nanos(i128::MAX);
    for reach in [Reach::UpTo(newest), Reach::Before(None), Reach::Before(Some(newest))] {
        let removal = Removal { id: id.clone(), reach };
        assert_eq!(Removal::from_payload(&removal.to_payload()), Some(removal));
    }
    for other in [r#"{"id":"a"}"#, r#"{"DELETE":{"id":"a"}}"#, "DELETE", r#"DELETE {"id":""}"#, "DELETE a"] {
        assert_eq!(Removal::from_payload(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn is_as_new_as_it_says_or_as_its_place_in_the_journal() {
    let removal = |reach| Removal { id: DocumentId::new("a").unwrap(), reach };
    for (reach, expected) in [
        (Reach::UpTo(version(3)), 3),
        (Reach::UpTo(version(7)), 7),
        (Reach::Before(None), 5),
        (Reach::Before(Some(version(3))), 5),
        (Reach::Before(Some(version(7))), 7),
    ] {
        let change = removal(reach).into_change(version(5));
        assert_eq!((change.operation, change.version), (Operation::Delete, version(expected)), "{reach:?}");
    }
}

#[test]
fn without_a_version_it_reaches_all_that_is_held_and_nothing_that_is_to_come() {
    use Reach::{Before, UpTo};
    use VersionUnit::{Auto, Counter, Milliseconds, Seconds};
    for (held, unit, expected) in [
        (None, Some(Auto), UpTo(version(NOW))),
        (Some(NOW - 1), Some(Auto), UpTo(version(NOW))),
        (Some(NOW), Some(Seconds), UpTo(version(NOW))),
        (Some(NOW + 5), Some(Milliseconds), UpTo(version(NOW + 5))),
        (Some(7), Some(Milliseconds), UpTo(version(NOW))),
        (Some(7), Some(Counter), UpTo(version(7))),
        (Some(7 * SECOND), Some(Auto), UpTo(version(7 * SECOND))),
        (None, None, Before(None)),
        (Some(NOW + 5), None, Before(Some(version(NOW + 5)))),
    ] {
        assert_eq!(Reach::now(held.map(version), unit, version(NOW)), Ok(expected), "{held:?} {unit:?}");
    }
    assert!(Reach::now(None, Some(Counter), version(NOW)).unwrap_err().contains("?version="));
}

/// What the versions of a pipeline are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Versions {
    /// The place in the journal.
    Order,
    /// The time, cut to so many nanoseconds and written as a number of them.
    Time { unit: VersionUnit, tick: i64 },
    /// The time as a text.
    Text,
    /// Numbers that follow each other.
    Counter(VersionUnit),
}

impl Versions {
    fn unit(self) -> Option<VersionUnit> {
        match self {
            Self::Order => None,
            Self::Text => Some(VersionUnit::Auto),
            Self::Time { unit, .. } | Self::Counter(unit) => Some(unit),
        }
    }

    fn mapper(self) -> Mapper {
        let version = match self.unit() {
            Some(unit) => json!({"field": "v", "unit": unit}),
            None => Value::Null,
        };
        let events = json!({"field": "t", "w": {"operation": "patch"}});
        let document = json!({"id": "id", "version": version, "text": "x", "events": events});
        Mapper::new(&serde_json::from_value(document).unwrap()).unwrap()
    }

    /// What the `number`th change says, at this time.
    fn field(self, now: i64, number: usize) -> Value {
        match self {
            Self::Order => Value::Null,
            Self::Time { tick, .. } => json!(now / tick),
            Self::Text => {
                let time = OffsetDateTime::from_unix_timestamp_nanos(now.into()).unwrap();
                json!(time.format(&Rfc3339).unwrap())
            }
            Self::Counter(_) => json!(number + 1),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A change is accepted.
    Change,
    /// The document is deleted.
    Delete,
    /// So many entries of the journal are settled.
    Settle(usize),
    /// The time goes on.
    Later(i64),
    /// The clock is set back.
    Back(i64),
    /// Other events are accepted.
    Others(u64),
    /// The process ends, and the next one settles once more what was settled since so many entries.
    Restart(u64),
}

/// A pipeline of one document, whose changes each write a field of their own.
struct World {
    versions: Versions,
    mapper: Mapper,
    folder: TempDir,
    ledger: Option<Ledger>,
    clock: i64,
    /// By their numbers in the journal.
    changes: BTreeMap<u64, Version>,
    deletions: BTreeMap<u64, Deletion>,
    held: Document,
    /// The number of the first entry that is not settled.
    next: u64,
}

struct Deletion {
    at: Version,
    /// The newest version that was held, and the entries before this number were.
    held: Option<Version>,
    settled: u64,
}

impl World {
    fn new(versions: Versions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            versions,
            mapper: versions.mapper(),
            ledger: Some(open_with(&folder, options())),
            folder,
            clock: NOW,
            changes: BTreeMap::new(),
            deletions: BTreeMap::new(),
            held: Document::default(),
            next: 0,
        }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    fn append(&mut self, payload: &[u8]) -> u64 {
        // Nothing happens twice in one nanosecond.
        self.clock += 1;
        self.ledger().append_journal("api", &[payload], self.clock).unwrap().start
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Change => {
                let number = self.changes.len();
                let field = self.versions.field(self.clock, number);
                let event = json!({"t": "w", "id": "d", "v": field, format!("field {number}"): true}).to_string();
                let seq = self.append(event.as_bytes());
                self.changes.insert(seq, self.change(seq).unwrap().version);
            }
            Step::Delete => {
                let held = (self.held != Document::default()).then(|| self.held.newest());
                let at = version(self.clock);
                let Ok(reach) = Reach::now(held, self.versions.unit(), at) else { return };
                let removal = Removal { id: DocumentId::new("d").unwrap(), reach };
                let seq = self.append(&removal.to_payload());
                self.deletions.insert(seq, Deletion { at, held, settled: self.next });
            }
            Step::Settle(entries) => {
                for entry in self.ledger().journal("api", self.next, entries, usize::MAX).unwrap() {
                    if let Some(change) = self.change(entry.seq) {
                        self.held.join(change.into());
                    }
                    self.next = entry.seq + 1;
                }
            }
            Step::Later(nanos) => self.clock += nanos,
            Step::Back(nanos) => self.clock -= nanos,
            Step::Others(events) => {
                let last = self.append(b"{}");
                self.ledger().skip_journal_to(last + events);
            }
            Step::Restart(again) => {
                self.ledger = None;
                self.ledger = Some(open_with(&self.folder, options()));
                self.next = self.next.saturating_sub(again);
            }
        }
    }

    /// What an entry of the journal does to the document.
    fn change(&self, seq: u64) -> Option<Change> {
        let entry = self.ledger().journal("api", seq, 1, usize::MAX).unwrap().remove(0);
        let removal = Removal::from_payload(&entry.payload).map(|removal| removal.into_change(entry.order));
        removal.or_else(|| match self.mapper.map(&entry.payload, entry.order) {
            Ok(Mapped::Change(change)) => Some(change),
            Ok(Mapped::Ignored) | Err(_) => None,
        })
    }

    /// What is promised of a change in view of a deletion: that it is void, that it is not, or neither.
    fn is_void(&self, (change, version): (u64, Version), (seq, deletion): (u64, &Deletion)) -> Option<bool> {
        let was_held = change < deletion.settled;
        let before = change < seq;
        let wins_over_held = deletion.held.is_none_or(|held| version > held);
        match self.versions {
            Versions::Order => Some(before),
            Versions::Counter(_) if was_held => Some(true),
            Versions::Counter(unit) => {
                // Where nothing is held, nothing tells that versions are counters.
                let told = unit == VersionUnit::Counter || deletion.held.is_some_and(|held| held.time().is_none());
                (told && wins_over_held).then_some(false)
            }
            Versions::Time { .. } | Versions::Text if before && (was_held || version <= deletion.at) => Some(true),
            Versions::Time { .. } | Versions::Text => {
                (!before && version > deletion.at && wins_over_held).then_some(false)
            }
        }
    }
}

fn any_versions() -> impl Strategy<Value = Versions> {
    use VersionUnit::*;
    let time = |unit, tick| Just(Versions::Time { unit, tick });
    prop_oneof![
        2 => Just(Versions::Order),
        1 => time(Seconds, SECOND),
        1 => time(Milliseconds, SECOND / 1_000),
        1 => time(Auto, SECOND / 1_000_000),
        1 => time(Nanoseconds, 1),
        1 => Just(Versions::Text),
        1 => prop_oneof![Just(Versions::Counter(Counter)), Just(Versions::Counter(Auto))],
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let span = || prop_oneof![1..1_000_i64, 1..2_000_000_i64, 1..3 * SECOND, 1..3_600 * SECOND];
    prop_oneof![
        6 => Just(Step::Change),
        4 => Just(Step::Delete),
        3 => (1..4_usize).prop_map(Step::Settle),
        3 => span().prop_map(Step::Later),
        1 => span().prop_map(Step::Back),
        1 => (1..20_000_000_000_u64).prop_map(Step::Others),
        1 => (0..4_u64).prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_came_before_is_void_and_what_comes_later_is_not(
        versions in any_versions(),
        steps in prop::collection::vec(any_step(), 1..24),
    ) {
        let mut world = World::new(versions);
        steps.into_iter().for_each(|step| world.step(step));
        world.step(Step::Settle(usize::MAX));
        for (number, (seq, version)) in world.changes.iter().enumerate() {
            let said = world.deletions.iter().map(|(at, deletion)| world.is_void((*seq, *version), (*at, deletion)));
            let said: Vec<_> = said.collect();
            let there = world.held.field(&format!("field {number}")).is_some();
            if said.contains(&Some(true)) {
                prop_assert!(!there, "change {number} of {versions:?} came before a deletion");
            } else if said.iter().all(|said| *said == Some(false)) {
                prop_assert!(there, "change {number} of {versions:?} is later than every deletion");
            }
        }
    }
}
