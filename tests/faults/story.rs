//! Events of all kinds to the same documents, out of order, and the index that they make.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};
use vectide::document::mapping::{Mapped, Mapper};
use vectide::document::{Document, Version};
use vectide::ledger::Ledger;

use crate::pipeline::Pipeline;
use crate::provider::Provider;

const VERSION: &str = "{field: at, unit: counter}";
const KINDS: &str =
    "{field: type, create: {operation: upsert}, change: {operation: patch}, delete: {operation: delete}}";

/// See the module.
pub struct Story {
    /// One event a line. Some come twice.
    pub lines: Vec<String>,
    truth: BTreeMap<String, Value>,
}

impl Story {
    /// So many events, to a third as many documents.
    pub fn new(seed: u64, events: usize) -> Self {
        Self::with_notes(seed, events, 0)
    }

    /// The same with a note of so many bytes at every event that is no deletion, which makes the ledger large.
    pub fn with_notes(seed: u64, events: usize, bytes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut told = Vec::new();
        for version in 1..=events {
            let id = format!("d{}", random.usize(..events / 3));
            let mut event = json!({ "id": id, "at": version, "type": "change" });
            match random.u32(..10) {
                0 => event["type"] = "delete".into(),
                1..=4 => event["price"] = random.u32(..100).into(),
                // Fewer titles than events: some texts are those of several documents.
                _ => {
                    event["type"] = "create".into();
                    event["title"] = format!("thing number {}", random.usize(..events * 3 / 4)).into();
                    event["price"] = random.u32(..100).into();
                }
            }
            if bytes > 0 && event["type"] != "delete" {
                let note: String = (0..bytes).map(|_| random.alphanumeric()).collect();
                event["note"] = note.into();
            }
            told.push(event);
        }
        let truth = truth(&told);
        random.shuffle(&mut told);
        let repeated: Vec<Value> = (0..events / 10).map(|_| random.choice(&told).unwrap().clone()).collect();
        let lines = told.iter().chain(&repeated).map(|event| format!("{event}\n")).collect();
        Self { lines, truth }
    }

    /// A pipeline that understands stories, was told none, and uses this provider.
    pub fn pipeline(provider: &Provider) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.set(provider.setting());
        pipeline.set(format!("document.version={VERSION}"));
        pipeline.set(format!("document.events={KINDS}"));
        // Small calls and few at once, so that many moments differ.
        pipeline.set("batching={max_items: 20, max_wait: 5ms}");
        pipeline
    }

    /// Fails unless the index is the one that the story makes.
    pub fn assert_told(&self, pipeline: &Pipeline) {
        let held = pipeline.documents();
        let ids: HashSet<&String> = held.keys().chain(self.truth.keys()).collect();
        for id in ids {
            assert_eq!(held.get(id), self.truth.get(id), "{id}");
        }
        assert_eq!(pipeline.dead_letters(), []);
    }
}

/// The index that events make, given in the order of their versions. A document without a title is not in it.
fn truth(events: &[Value]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for event in events {
        let document = documents.entry(event["id"].as_str().unwrap().to_owned()).or_default();
        if event["type"] != "change" {
            document.clear();
        }
        for name in ["title", "price"] {
            if let Some(value) = event.get(name) {
                document.insert(name.to_owned(), value.clone());
            }
        }
    }
    documents.retain(|_, fields| fields.contains_key("title"));
    documents.into_iter().map(|(id, fields)| (id, fields.into())).collect()
}

/// The lines of which the ledger does not hold what they say, nor anything newer. Merging is idempotent, so a line that is held
/// changes nothing when it is joined again.
pub fn not_held<'a>(ledger: &Ledger, lines: &'a [String]) -> Vec<&'a str> {
    let settings = format!("{{id: id, text: '', version: {VERSION}, events: {KINDS}}}");
    let mapper = Mapper::new(&serde_yaml::from_str(&settings).unwrap()).unwrap();
    let changes = lines.iter().map(|line| match mapper.map(line.as_bytes(), Version::default()).unwrap() {
        Mapped::Change(change) => change,
        Mapped::Ignored => unreachable!("no kind is ignored"),
    });
    let changes: Vec<_> = changes.collect();
    let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
    let held = ledger.documents(&ids).unwrap();
    let adds = |(change, held)| {
        let held: Option<vectide::ledger::HeldDocument> = held;
        held.is_none_or(|mut held| held.document.join(Document::from(change)))
    };
    let each = lines.iter().zip(changes.into_iter().zip(held));
    each.filter_map(|(line, pair)| adds(pair).then_some(line.trim_end())).collect()
}
