//! What becomes of the first record of a source, for whoever has just written a configuration.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::connect::told;
use super::search::brief;
use crate::document::mapping::{Mapped, Mapper};
use crate::document::template::Template;
use crate::document::{Change, Document, Operation, quoted};
use crate::settings::DocumentSettings;
use crate::source::file::FileSource;
use crate::source::{Read, Room, Source};
use crate::telemetry::figures::bytes;
use crate::telemetry::terminal::{printable, shortened};

/// How many columns of a text or of metadata are shown.
const SHOWN: usize = 200;

/// How records become documents.
pub(super) struct Reading<'a> {
    settings: &'a DocumentSettings,
    mapper: Mapper,
    template: Template,
}

impl<'a> Reading<'a> {
    /// `operation`: what every record of the source does, where that is configured.
    pub fn new(settings: &'a DocumentSettings, operation: Option<Operation>) -> Result<Self, String> {
        Ok(Self { settings, mapper: Mapper::of_source(settings, operation)?, template: Template::new(settings)? })
    }

    /// Reads the first record as a run without any position would, and maps it: a line, and more about it on further lines.
    pub async fn first_record(&self, mut source: FileSource) -> Result<String, String> {
        source.open(Vec::new()).await.map_err(told)?;
        let size = source.remaining_bytes().map(|size| format!("{} to read", bytes(size)));
        let read = source.read(Room { records: 1, bytes: 1 }).await.map_err(told)?;
        let first = match &read {
            Read::Records(records) => records.first(),
            Read::Finished
            | Read::Idle
            | Read::Waiting
            | Read::Positions(_)
            | Read::Revoked(_)
            | Read::Forgotten(_) => None,
        };
        let first = match first {
            None => "no records yet".to_owned(),
            Some(record) => {
                let becomes = match (record.why_broken(), self.mapper.map(&record.payload, record.version)) {
                    (Some(reason), _) => dead(&reason),
                    (None, Err(refusal)) => dead(&refusal),
                    (None, Ok(Mapped::Ignored)) => "is filtered out".to_owned(),
                    (None, Ok(Mapped::Change(change))) => self.seen(change).join("\n"),
                };
                format!("the first record, {}, {becomes}", record.position)
            }
        };
        Ok(size.into_iter().chain([first]).collect::<Vec<_>>().join("; "))
    }

    /// What becomes of a change, a line each: its document, the text and the metadata, and what may not be as it was meant.
    fn seen(&self, change: Change) -> Vec<String> {
        let about = printable(&format!("is about document `{}`", change.id));
        if change.operation == Operation::Delete {
            return vec![format!("{about}, and deletes it")];
        }
        // Of a change, the document may have the rest already.
        let is_whole = change.operation == Operation::Upsert;
        let document = Document::from(change);
        let about = match self.template.why_no_text(&document).filter(|_| is_whole) {
            Some(reason) => format!("{about}, which has no text: {reason}"),
            None => about,
        };
        let metadata: Map<String, Value> =
            serde_json::from_str(&self.template.metadata(&document)).expect("metadata is always a JSON object");
        let absent = self.settings.metadata.iter().filter(|name| is_whole && !metadata.contains_key(*name));
        let absent = absent.map(|name| format!("note: it has no {}, which `document.metadata` lists", quoted(name)));
        let texts = self.settings.numbers.iter().filter_map(|name| Some((name, metadata.get(name)?.as_str()?)));
        let texts =
            texts.map(|(name, text)| format!("note: {} is not a number: `{name}` is stored as a text", quoted(text)));
        let notes = absent.chain(texts);
        let text = self.template.render(&document).ok().flatten().map(|text| line("text", &text));
        let shown = (!metadata.is_empty()).then(|| line("metadata", &brief(&metadata.clone().into())));
        [about].into_iter().chain(text).chain(shown).chain(notes).collect()
    }
}

fn line(what: &str, shown: &str) -> String {
    format!("{what}: {}", shortened(&printable(shown), SHOWN))
}

/// One broken record is no reason not to run.
fn dead(reason: &impl Display) -> String {
    format!("would go to the dead letters: {reason}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::settings::source::FileSettings;

    fn settings(yaml: &str) -> DocumentSettings {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[tokio::test]
    async fn the_first_record_is_tried_and_a_missing_file_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let files: FileSettings = serde_yaml::from_str(&format!("{{ path: {} }}", path.display())).unwrap();
        let settings = settings("{ id: id, text: '{{ t }} {{ more }}' }");
        let reading = Reading::new(&settings, None).unwrap();
        assert!(reading.first_record(FileSource::new(&files)).await.unwrap_err().contains("there is no file"));
        for (content, said) in [
            ("", "no records yet"),
            ("{\"id\":\"p1\",\"t\":1}\n{}\n", "is about document `p1`, which has no text: its text lacks `more`"),
            ("{\"id\":\"p1\",\"t\":1,\"more\":2}\n{}\n", "is about document `p1`"),
            ("{\"name\":\"p1\"}\n", "would go to the dead letters"),
        ] {
            fs::write(&path, content).unwrap();
            let found = reading.first_record(FileSource::new(&files)).await.unwrap();
            assert!(found.contains(said) && found.contains("lacks") == said.contains("lacks"), "{found}");
        }
    }

    #[test]
    fn what_becomes_of_a_record_is_shown_with_what_may_not_be_meant() {
        let settings = settings(
            "{ id: id, text: '{{ title }}', metadata: [price, weight, /shop/name, Größe], numbers: [price, weight], events: \
             { field: kind, put: { operation: upsert }, change: { operation: patch }, gone: { operation: delete } } }",
        );
        let reading = Reading::new(&settings, None).unwrap();
        let seen = |fields: Value| {
            let Ok(Mapped::Change(change)) =
                reading.mapper.map(fields.to_string().as_bytes(), crate::document::Version::OLDEST)
            else {
                panic!("{fields}")
            };
            reading.seen(change)
        };
        let put = json!({"id": "a", "kind": "put", "title": "Boots\n\u{1b}of rubber", "price": "12.99 EUR", "weight": "1.50"});
        assert_eq!(
            seen(put),
            [
                "is about document `a`",
                "text: Boots  of rubber",
                "metadata: price: 12.99 EUR, weight: 1.5",
                "note: it has no `/shop/name`, which `document.metadata` lists",
                "note: it has no `Größe`, which `document.metadata` lists",
                "note: `12.99 EUR` is not a number: `price` is stored as a text",
            ]
        );
        let long = "x".repeat(1_000_000);
        let long = seen(json!({"id": "a", "kind": "put", "title": long, "price": long, "shop": {"name": long}}));
        assert!(long.iter().all(|line| line.len() < 250), "{long:?}");
        assert_eq!(
            seen(json!({"id": "a", "kind": "change", "price": 5})),
            ["is about document `a`", "metadata: price: 5"]
        );
        assert_eq!(seen(json!({"id": "a", "kind": "gone"})), ["is about document `a`, and deletes it"]);
    }
}
