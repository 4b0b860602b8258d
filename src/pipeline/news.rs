//! What the configuration leaves behind without saying so: what records mean has changed, or a source of events that were accepted is gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{FieldName, Operation};
use crate::ledger::{Ledger, LedgerError};
use crate::settings::document::{EventSettings, VersionSettings};
use crate::settings::{DocumentSettings, Settings, SourceSettings};
use crate::telemetry::figures::counted;

/// Where the ledger keeps what records meant.
const SETTING: &str = "reading";

/// What decides what records mean, as the ledger keeps it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Reading {
    #[serde(rename = "document.id")]
    id: String,
    #[serde(rename = "document.version")]
    version: Option<VersionSettings>,
    #[serde(rename = "document.events")]
    events: Option<EventSettings>,
    /// What all records of a source do, where it says so.
    #[serde(default)]
    sources: BTreeMap<String, Option<Operation>>,
}

impl Reading {
    fn of(settings: &Settings) -> Self {
        let DocumentSettings { id, version, events, .. } = settings.document.clone();
        let sources = settings.sources.iter().map(|(name, source)| (name.clone(), source.operation()));
        Self { id, version, events, sources: sources.collect() }
    }

    /// With the sources that were configured before and are not now: they may be again.
    fn remembering(mut self, before: &Self) -> Self {
        for (name, operation) in &before.sources {
            self.sources.entry(name.clone()).or_insert(*operation);
        }
        self
    }

    /// The same in one form of all that mean the same: every field by its pointer, and kinds of events without what says when they are
    /// embedded.
    fn meaning(mut self) -> Self {
        self.id = pointer(&self.id);
        if let Some(version) = &mut self.version {
            version.field = pointer(&version.field);
        }
        if let Some(events) = &mut self.events {
            events.field = pointer(&events.field);
            for kind in events.kinds.values_mut() {
                (kind.priority, kind.immediate) = (0, false);
                kind.rename = kind.rename.iter().map(|(from, to)| (pointer(from), to.clone())).collect();
            }
        }
        self
    }
}

fn pointer(name: &str) -> String {
    FieldName::new(name).map_or_else(|_| name.to_owned(), |field| field.pointer())
}

/// What a person should know at the start of a run. What records mean is kept: a change is told once.
pub fn of(settings: &Settings, ledger: &Ledger) -> Result<Vec<String>, LedgerError> {
    let mut news = forsaken(settings, ledger)?;
    let kept = ledger.setting(SETTING)?;
    let before = kept.as_ref().and_then(|kept| serde_json::from_str::<Reading>(kept).ok());
    let now = Reading::of(settings);
    let now = if let Some(before) = &before { now.remembering(before) } else { now };
    let keep = serde_json::to_string(&now).expect("texts and numbers under names are always JSON");
    if kept.as_ref() != Some(&keep) {
        ledger.set_setting(SETTING, &keep)?;
    }
    let Some(before) = before else { return Ok(news) };
    let (before, now) = (before.meaning(), now.meaning());
    if ledger.counts()?.documents > 0 {
        let changed = [before.id != now.id, before.version != now.version, before.events != now.events];
        let changed = MEANINGS.iter().zip(changed).filter(|(_, changed)| *changed);
        news.extend(changed.map(|((key, meaning), _)| format!("`{key}` has changed: {meaning}")));
        let others =
            now.sources.iter().filter(|(name, now)| before.sources.get(*name).is_some_and(|then| then != *now));
        news.extend(others.map(|(name, _)| format!("`sources.{name}.operation` has changed: {NOT_READ_AGAIN}")));
    }
    Ok(news)
}

const MEANINGS: [(&str, &str); 3] = [
    (
        "document.id",
        "documents that were read before stay under the ids that they had, beside those that are read from now on. To have only the new \
         ones, name another folder in `state.path`",
    ),
    (
        "document.version",
        "what was read before keeps its versions, and a record whose version is not greater than these changes nothing. Where the two cannot \
         be compared (counters and times, say), name another folder in `state.path`",
    ),
    ("document.events", NOT_READ_AGAIN),
];

const NOT_READ_AGAIN: &str = "records that were read before are not read again for it. To have them read so too, name another folder in `state.path`";

/// Events that were accepted over HTTP by a source that is not there any more.
fn forsaken(settings: &Settings, ledger: &Ledger) -> Result<Vec<String>, LedgerError> {
    let is_there = |name: &str| matches!(settings.sources.get(name), Some(SourceSettings::Http(_)));
    let left = ledger.journals()?.into_iter().filter(|(name, _)| !is_there(name));
    let told = left.map(|(name, events)| {
        format!(
            "accepted by the http source `{name}`, which is not configured any more, and not in the index: {}. Name the source `{name}` \
             again to have that read",
            counted(events, "event")
        )
    });
    Ok(told.collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::ledger::testing::{here, open, write};
    use crate::settings::load_text;
    use crate::source::{Partition, Position};

    fn told(ledger: &Ledger, document: &str, source: &str) -> Vec<String> {
        told_of(ledger, document, &format!("{source}: {{ type: http }}"))
    }

    fn told_of(ledger: &Ledger, document: &str, sources: &str) -> Vec<String> {
        let yaml = format!(
            "{{ pipeline: test, document: {{ text: '{{{{ title }}}}', {document} }}, sources: {{ {sources} }}, server: {{ listen: '127.0.0.1:0' }}, \
             embedding: {{ provider: builtin }} }}"
        );
        let settings = load_text(Path::new("config.yaml"), &yaml, &Default::default(), &[]).unwrap();
        of(&settings, ledger).unwrap()
    }

    #[test]
    fn what_records_mean_is_told_when_it_changes_once_and_only_where_there_are_documents() {
        let (_folder, ledger) = open();
        for document in ["id: id", "id: sku"] {
            assert!(told(&ledger, document, "api").is_empty(), "nothing was read yet");
        }
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        for (document, keys) in [
            ("id: sku", &[][..]),
            ("id: sku, version: v", &["`document.version` has changed"]),
            (
                "id: id, version: { field: v, unit: counter }",
                &["`document.id` has changed", "`document.version` has changed"],
            ),
            ("id: id, version: { field: v, unit: counter }", &[]),
            (
                "id: id, version: { field: v, unit: counter }, events: { field: t, a: { operation: patch } }",
                &["`document.events` has changed"],
            ),
            (
                "id: id, version: { field: v, unit: counter }, events: { field: t, a: { operation: patch, priority: 3, immediate: true } }",
                &[],
            ),
            (
                "id: /id, version: { field: /v, unit: counter }, events: { field: /t, a: { operation: patch, rename: { c: d } } }",
                &["`document.events` has changed"],
            ),
            (
                "id: id, version: { field: v, unit: counter }, events: { field: t, a: { operation: patch, rename: { /c: d } } }",
                &[],
            ),
        ] {
            let told = told(&ledger, document, "api");
            assert_eq!(told.len(), keys.len(), "{document}: {told:?}");
            for (told, key) in told.iter().zip(keys) {
                assert!(told.starts_with(key) && told.contains("state.path"), "{document}: {told}");
            }
        }
    }

    #[test]
    fn another_operation_of_a_source_is_told_also_when_others_were_read_in_between() {
        let (_folder, ledger) = open();
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        let told = |sources: &str| told_of(&ledger, "id: id", sources);
        for (sources, changed) in [
            ("prices: { type: http }", None),
            ("once: { type: stdin, operation: delete }", None),
            ("prices: { type: http, operation: patch }", Some("`sources.prices.operation` has changed")),
            ("prices: { type: http, operation: patch }", None),
            ("prices: { type: http }, once: { type: stdin }", Some("`sources.once.operation` has changed")),
        ] {
            let told = told(sources);
            assert_eq!(
                changed.is_some(),
                told.iter().any(|told| told.starts_with(changed.unwrap_or("`sources."))),
                "{sources}: {told:?}"
            );
        }
    }

    #[test]
    fn what_was_kept_before_is_compared_by_its_meaning() {
        for kept in [
            r#"{"document.id":"id","document.version":null,"document.events":{"field":"t","a":{"operation":"patch","rename":{}}}}"#,
            r#"{"document.id":"id","document.version":null,"document.events":{"field":"t","a":{"operation":"patch","priority":3,"immediate":true,"rename":{}}}}"#,
        ] {
            let (_folder, ledger) = open();
            ledger.write(&[write("a", vec![here("one")])]).unwrap();
            for (document, changed) in [
                ("id: id, events: { field: t, a: { operation: patch, priority: 1 } }", false),
                ("id: id, events: { field: t, a: { operation: upsert, priority: 1 } }", true),
            ] {
                ledger.set_setting(SETTING, kept).unwrap();
                assert_eq!(told(&ledger, document, "api").len(), usize::from(changed), "{kept} {document}");
            }
        }
    }

    #[test]
    fn events_of_a_source_that_is_gone_are_told_until_it_is_back() {
        let (_folder, ledger) = open();
        ledger.append_journal("api", &[b"a", b"b"], 1).unwrap();
        assert!(told(&ledger, "id: id", "api").is_empty());
        for _ in 0..2 {
            let told = told(&ledger, "id: id", "other");
            assert!(
                told.len() == 1 && told[0].contains("not in the index: 2 events.") && told[0].contains("`api` again"),
                "{told:?}"
            );
        }
        assert!(told(&ledger, "id: id", "api").is_empty());

        let partition = Arc::new(Partition { name: "journal".to_owned(), detail: String::new() });
        for (offset, left) in [(2, true), (3, false)] {
            let settled = Position { partition: partition.clone(), offset, ordinal: offset };
            ledger.commit_positions("api", &[settled]).unwrap();
            let told = told(&ledger, "id: id", "other");
            let expected = told.first().is_some_and(|told| told.contains("not in the index: 1 event."));
            assert_eq!((expected, told.len()), (left, usize::from(left)), "what is settled is there for some time");
        }
    }
}
