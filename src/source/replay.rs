//! Dead letters that a person asked to be tried again: an internal source named [`NAME`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::IgnoredAny;

use super::http::Removal;
use super::mappers::Mappers;
use super::{Form, Origin, Partition, Position, Read, Record, Room, Source, SourceError};
use crate::document::quoted;
use crate::ledger::patience::blocking;
use crate::ledger::{DeadLetter, Ledger};

/// What it is called on pages and in metrics.
pub const NAME: &str = "dead-letters";

/// How often the ledger is asked for new requests.
const LOOK_EVERY: Duration = super::IDLE_WAIT;

/// Gives every dead letter that is marked for a replay, once for each request. When it is settled its mark is looked at again: a letter
/// that was buried anew has lost it and stays, the others are cleared.
pub struct ReplaySource {
    ledger: Arc<Ledger>,
    mappers: Mappers,
    partition: Arc<Partition>,
    /// The last letter that was given.
    after: i64,
    /// Given and not yet known to be settled: the number and the attempts of each.
    given: Vec<(i64, u32)>,
    /// Whether the last look found nothing. The first one is not waited for: a run until idle has little else to wait for.
    idle: bool,
}

impl ReplaySource {
    /// Reads the marks in this ledger, and each letter as the source that it came from reads its records.
    pub fn new(ledger: Arc<Ledger>, mappers: Mappers) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: String::new() });
        Self { ledger, mappers, partition, after: 0, given: Vec::new(), idle: false }
    }

    fn record(&self, letter: DeadLetter) -> Record {
        let number = letter.id.cast_unsigned();
        let position = Position { partition: self.partition.clone(), offset: number, ordinal: number };
        let DeadLetter { letter, .. } = letter;
        let mapper = self.mappers.of_former(&letter.source);
        let unknown = || {
            let source = quoted(&letter.source);
            format!(
                "what records of the source {source} do is not known, as it is not configured: configure it, and replay this again"
            )
        };
        let form = mapper.map_or_else(|| Form::Broken(unknown()), Form::JsonOfOther);
        let origin = Some(Origin { source: letter.source, position: letter.position });
        let payload = Bytes::from(letter.payload);
        let order = letter.order;
        let record = match letter.document {
            // Of a document that was only looked at again; how much is held of it is not known here.
            Some(id) if payload.is_empty() => Record::look_again(id, 0, position),
            Some(_) => match Removal::from_payload(&payload) {
                Some(removal) => Record::of_change(removal.into_change(order), payload, position, order),
                None => Record::new(payload, position, order),
            },
            // A row of CSV, say, or the beginning of a long line: it can never be mapped, and whoever buried it knew why.
            None if !is_object(&payload) => Record::broken(payload, position, order, letter.reason),
            // Nobody understood it: any source may be sent bytes that look like a removal.
            None => Record::new(payload, position, order),
        };
        let form = if matches!(record.form, Form::Json) { form } else { record.form };
        Record { form, refresh: true, origin, ..record }
    }
}

/// Whether these bytes are a JSON object, which a changed configuration may map.
fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(payload).is_ok()
}

impl Source for ReplaySource {
    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            if self.idle {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let after = self.after;
            let look = move |ledger: &Ledger| ledger.replays(after, room.records, room.bytes);
            let letters = blocking(&self.ledger, look).await?;
            self.idle = letters.is_empty();
            let Some(last) = letters.last() else {
                // A letter that failed again and was asked for again lies behind: look from the start next time.
                if self.given.is_empty() {
                    self.after = 0;
                }
                return Ok(Read::Idle);
            };
            self.after = last.id;
            self.given.extend(letters.iter().map(|given| (given.id, given.letter.attempts)));
            Ok(Read::Records(letters.into_iter().map(|letter| self.record(letter)).collect()))
        }
        .boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        let settled = positions.iter().map(|position| position.offset.cast_signed()).max().unwrap_or(0);
        async move {
            let done: Vec<(i64, u32)> = self.given.iter().copied().filter(|(id, _)| *id <= settled).collect();
            blocking(&self.ledger, move |ledger| ledger.finish_replay(&done)).await?;
            self.given.retain(|(id, _)| *id > settled);
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::mapping::Mapped;
    use crate::document::{DocumentId, Operation, Version};
    use crate::ledger::Letter;
    use crate::ledger::testing::open;

    fn letter(position: &str, payload: &[u8], document: Option<&str>) -> Letter {
        Letter {
            source: "feed".to_owned(),
            position: position.to_owned(),
            document: document.map(|id| DocumentId::new(id).unwrap()),
            version: None,
            reason: "it failed".to_owned(),
            payload: payload.to_vec(),
            attempts: 1,
            order: Version::from_nanos(7),
            taken_in: false,
        }
    }

    fn mappers() -> Mappers {
        let settings = "{ pipeline: p, document: { id: id, text: '{{ title }}' }, embedding: { provider: builtin }, state: { path: data }, \
                        sources: { feed: { type: http }, prices: { type: stdin, operation: patch } } }";
        Mappers::new(&serde_yaml::from_str(settings).unwrap()).unwrap()
    }

    /// What is given when all of these letters are replayed.
    async fn replayed(letters: &[Letter]) -> Vec<Record> {
        let (_folder, ledger) = open();
        ledger.bury(letters, 1).unwrap();
        ledger.request_replay(None).unwrap();
        let mut source = ReplaySource::new(Arc::new(ledger), mappers());
        match source.read(Room { records: 10, bytes: 1000 }).await.unwrap() {
            Read::Records(records) => records,
            _ => panic!("there are letters"),
        }
    }

    #[tokio::test]
    async fn only_a_letter_that_names_its_document_is_a_removal_or_another_look() {
        let removal = br#"DELETE {"id":"p1"}"#;
        let records = replayed(&[
            letter("feed:1", removal, Some("p1")),
            letter("feed:2", removal, None),
            letter("feed:3", b"", Some("p2")),
            letter("feed:4", b"", None),
        ])
        .await;
        let change = |record: &Record| match &record.form {
            Form::Change(change) => Some((change.id.to_string(), change.operation)),
            Form::Json | Form::JsonOfOther(_) | Form::Broken(_) => None,
        };
        let expected =
            [Some(("p1".to_owned(), Operation::Delete)), None, Some(("p2".to_owned(), Operation::Patch)), None];
        assert_eq!(records.iter().map(change).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn a_letter_is_read_as_the_source_that_it_came_from_reads_it() {
        for (source, operation) in [("feed", Operation::Upsert), ("prices", Operation::Patch)] {
            let letter = Letter { source: source.to_owned(), ..letter("x:1", br#"{"id": "p1", "price": 1}"#, None) };
            let records = replayed(&[letter]).await;
            let Form::JsonOfOther(mapper) = &records[0].form else { panic!("{:?}", records[0]) };
            let mapped = mapper.map(&records[0].payload, records[0].version);
            assert!(matches!(mapped, Ok(Mapped::Change(change)) if change.operation == operation));
        }
    }

    #[tokio::test]
    async fn a_letter_of_a_source_that_is_gone_is_taken_for_no_whole_document() {
        let letter = Letter { source: "gone".to_owned(), ..letter("x:1", br#"{"id": "p1", "price": 1}"#, None) };
        let records = replayed(&[letter]).await;
        assert!(records[0].why_broken().is_some_and(|why| why.contains("`gone`")), "{:?}", records[0]);
    }

    #[tokio::test]
    async fn a_letter_that_no_configuration_can_map_keeps_its_reason() {
        for (payload, reason) in [
            ("p1,boots", Some("it failed")),
            ("12", Some("it failed")),
            (r#"{"id": "p1", "title": "bo"#, Some("it failed")),
            ("", Some("it failed")),
            (r#" {"title": "boots"}"#, None),
        ] {
            let records = replayed(&[letter("feed:1", payload.as_bytes(), None)]).await;
            assert_eq!(records[0].why_broken(), reason, "{payload}");
            assert_eq!(records[0].payload, payload);
        }
    }
}
