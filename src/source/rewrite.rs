//! Every document that the index in another system may lack, once: an internal source named [`NAME`].
//!
//! They are there after a crash in the middle of a write, and when the collection was dropped or is another one. Each is planned and
//! written again from what the ledger holds; nothing is embedded for it. Documents that are new since the pipeline began are none of them:
//! they are being written, and noted until that is done.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Partition, Position, Read, Record, Room, Source, SourceError};
use crate::ledger::Ledger;
use crate::ledger::patience::blocking;

/// What it is called on pages and in metrics.
pub const NAME: &str = "rewrite";

/// See the module. What it did not come to is still noted in the ledger, so that it keeps no position.
pub struct RewriteSource {
    ledger: Arc<Ledger>,
    partition: Arc<Partition>,
    last: i64,
    end: i64,
    given: u64,
}

impl RewriteSource {
    /// Gives every document that is noted in this ledger, up to the one with this number: see [`Ledger::last_unwritten`].
    pub fn new(ledger: Arc<Ledger>, end: i64) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: String::new() });
        Self { ledger, partition, last: 0, end, given: 0 }
    }
}

impl Source for RewriteSource {
    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let after = self.last;
            let list = move |ledger: &Ledger| ledger.unwritten_after(after, room.records, room.bytes);
            let mut found = blocking(&self.ledger, list).await?;
            found.retain(|(number, ..)| *number <= self.end);
            let Some((last, ..)) = found.last() else { return Ok(Read::Finished) };
            self.last = *last;
            let record = |(_, id, bytes)| {
                self.given += 1;
                let position = Position { partition: self.partition.clone(), offset: self.given, ordinal: self.given };
                Record::look_again(id, bytes, position)
            };
            Ok(Read::Records(found.into_iter().map(record).collect()))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{here, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, Points};

    #[tokio::test]
    async fn what_is_noted_after_the_end_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
        let note = |name: &str| drop(ledger.write(&[write(name, vec![here(name)])]).unwrap());
        ["a", "b", "c"].into_iter().for_each(note);
        let mut source = RewriteSource::new(ledger.clone(), ledger.last_unwritten().unwrap().unwrap());
        let mut given = 0;
        while let Read::Records(records) = source.read(Room { records: 2, bytes: 1_000 }).await.unwrap() {
            given += records.len();
            assert!(given <= 3, "it has an end");
            note(&format!("new {given}"));
        }
        assert_eq!((given, ledger.unwritten_after(0, 100, 1_000).unwrap().len()), (3, 5));
    }

    #[tokio::test]
    async fn gives_no_more_than_there_is_room_for_and_each_weighs_what_is_held_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
        for (name, document) in [("a", "☂☂"), ("b", "1234567"), ("c", "12")] {
            let document = document.to_owned();
            ledger.write(&[DocumentWrite { document, ..write(name, vec![here(name)]) }]).unwrap();
        }
        let mut source = RewriteSource::new(ledger, i64::MAX);
        let mut given = Vec::new();
        while let Read::Records(records) = source.read(Room { records: 10, bytes: 9 }).await.unwrap() {
            given.push(records.iter().map(|record| record.weight).collect::<Vec<_>>());
        }
        assert_eq!(given, [vec![6], vec![7, 2]]);
    }
}
