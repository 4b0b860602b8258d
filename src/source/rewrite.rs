//! Every document that the index in another system may lack, once: an internal source named [`NAME`].
//!
//! They are there after a crash in the middle of a write, and when the collection was dropped or is another one. Each is planned and written
//! again from what the ledger holds; nothing is embedded for it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Committed, Partition, Position, Read, Record, Room, Source, SourceError};
use crate::ledger::Ledger;
use crate::ledger::patience::blocking;

/// What it is called on pages and in metrics.
pub const NAME: &str = "rewrite";

/// See the module. What it did not come to is still noted in the ledger, so that it keeps no position.
pub struct RewriteSource {
    ledger: Arc<Ledger>,
    partition: Arc<Partition>,
    last: i64,
    given: u64,
}

impl RewriteSource {
    /// Gives every document that is noted in this ledger.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let partition = Arc::new(Partition { name: NAME.to_owned(), detail: String::new() });
        Self { ledger, partition, last: 0, given: 0 }
    }
}

impl Source for RewriteSource {
    fn open(&mut self, _: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let after = self.last;
            let scan = move |ledger: &Ledger| ledger.unwritten_after(after, room.records);
            let found = blocking(&self.ledger, scan).await.map_err(|error| SourceError(error.to_string()))?;
            let Some((last, _)) = found.last() else { return Ok(Read::Finished) };
            self.last = *last;
            let record = |(_, id)| {
                self.given += 1;
                let position = Position { partition: self.partition.clone(), offset: self.given, ordinal: self.given };
                Record::look_again(id, position)
            };
            Ok(Read::Records(found.into_iter().map(record).collect()))
        }
        .boxed()
    }
}
