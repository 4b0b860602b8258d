//! What the configuration leaves behind without saying so: what records mean has changed, or a source of events that were accepted is gone.

use serde_json::{Map, Value, json};

use crate::ledger::{Ledger, LedgerError};
use crate::settings::{Settings, SourceSettings};
use crate::telemetry::figures::counted;

/// Where the ledger keeps what records meant.
const SETTING: &str = "reading";

/// What a person should know at the start of a run. What records mean is kept: a change is told once.
pub fn news(settings: &Settings, ledger: &Ledger) -> Result<Vec<String>, LedgerError> {
    let mut news = forsaken(settings, ledger)?;
    let now = json!({
        "document.id": settings.document.id,
        "document.version": settings.document.version,
        "document.events": meaning(&json!(settings.document.events)),
    });
    let mut before = ledger.setting(SETTING)?.and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
    if let Some(events) = before.as_mut().and_then(|before| before.get_mut("document.events")) {
        *events = meaning(events);
    }
    if before.as_ref() != now.as_object() {
        ledger.set_setting(SETTING, &now.to_string())?;
    }
    let Some(before) = before else { return Ok(news) };
    if ledger.counts()?.documents > 0 {
        let changed = MEANINGS.iter().filter(|(key, _)| before.get(*key) != now.get(*key));
        news.extend(changed.map(|(key, meaning)| format!("`{key}` has changed: {meaning}")));
    }
    Ok(news)
}

/// Kinds of events without what says when they are embedded, and not what they mean.
fn meaning(events: &Value) -> Value {
    let mut events = events.clone();
    for kind in events.as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        kind.retain(|key, _| key != "priority" && key != "immediate");
    }
    events
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
    (
        "document.events",
        "records that were read before are not read again for it. To have them read so too, name another folder in `state.path`",
    ),
];

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
        let yaml = format!(
            "{{ pipeline: test, document: {{ text: '{{{{ title }}}}', {document} }}, sources: {{ {source}: {{ type: http }} }}, server: {{ listen: '127.0.0.1:0' }}, \
             embedding: {{ provider: builtin }} }}"
        );
        let settings = load_text(Path::new("config.yaml"), &yaml, &Default::default(), &[]).unwrap();
        news(&settings, ledger).unwrap()
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
        ] {
            let told = told(&ledger, document, "api");
            assert_eq!(told.len(), keys.len(), "{document}: {told:?}");
            for (told, key) in told.iter().zip(keys) {
                assert!(told.starts_with(key) && told.contains("state.path"), "{document}: {told}");
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
