//! One read, off the arbiter: opening the source if need be, telling it what was committed, reading, and finding out what the records say.

use std::sync::Arc;

use super::feed::Feed;
use super::understanding::{Said, understand};
use crate::document::mapping::Mapper;
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;
use crate::source::{Partition, Position, Read, Record, Room, SourceError};

/// What a read gave, with what its records say.
pub(super) enum Found {
    Records(Vec<(Record, Said)>),
    Positions(Vec<Position>),
    Revoked(Vec<Arc<Partition>>),
    Waiting,
    Idle,
    Finished,
}

/// All that one read needs beside the source, so that it runs without the ingestor.
pub(super) struct Errand {
    pub(super) room: Room,
    pub(super) name: Arc<str>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) mapper: Arc<Mapper>,
}

impl Errand {
    /// Opens the source if need be, tells it what was committed, and reads.
    pub(super) async fn run(self, feed: &mut Feed) -> Result<Found, SourceError> {
        if !feed.opened {
            self.open(feed).await?;
        }
        feed.tell().await?;
        self.read(feed).await
    }

    async fn open(&self, feed: &mut Feed) -> Result<(), SourceError> {
        let name = self.name.clone();
        let committed = patiently(&self.ledger, move |ledger| ledger.positions(&name)).await;
        feed.source.open(committed).await?;
        feed.opened = true;
        Ok(())
    }

    async fn read(&self, feed: &mut Feed) -> Result<Found, SourceError> {
        loop {
            return Ok(match feed.source.read(self.room).await? {
                // Before anything more is read: it may come from a partition with one of these names.
                Read::Forgotten(partitions) => {
                    let name = self.name.clone();
                    patiently(&self.ledger, move |ledger| ledger.forget_partitions(&name, &partitions)).await;
                    continue;
                }
                Read::Waiting => Found::Waiting,
                Read::Idle => Found::Idle,
                Read::Finished => Found::Finished,
                Read::Positions(positions) => Found::Positions(positions),
                Read::Revoked(partitions) => Found::Revoked(partitions),
                Read::Records(records) => {
                    let said = understand(records, &mut feed.repeats, &self.ledger, &self.mapper);
                    Found::Records(said.await)
                }
            });
        }
    }
}
