//! The index writer: gathers finished work while a write is under way, and writes all of it at once. Receipts are settled only after
//! the index and the ledger hold what they stand for.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::target::{IndexError, VectorIndex};
use crate::actor::backoff::Backoff;
use crate::actor::{Credit, Parcel};
use crate::dedup::flight::Settlement;
use crate::dedup::{Work, Works};
use crate::ledger::DocumentWrite;
use crate::telemetry::Health;
use crate::telemetry::health::Component;

const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// See the module.
pub struct IndexWriter {
    index: Arc<dyn VectorIndex>,
    health: Arc<Health>,
    waiting: Vec<Work>,
    credits: Vec<Credit>,
    writing: bool,
}

impl IndexWriter {
    /// At the end of the pipeline.
    pub fn new(index: Arc<dyn VectorIndex>, health: Arc<Health>) -> Self {
        Self { index, health, waiting: Vec::new(), credits: Vec::new(), writing: false }
    }

    fn drive(&mut self, ctx: &mut Context<Self>) {
        if self.writing || self.waiting.is_empty() {
            return;
        }
        self.writing = true;
        let (works, credits) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.credits));
        let (index, health) = (self.index.clone(), self.health.clone());
        let write = async move {
            let (writes, settlements): (Vec<_>, Vec<_>) =
                works.into_iter().map(|work| (work.write, work.settlement)).unzip();
            match write_patiently(&*index, &health, writes.into()).await {
                Ok(()) => settlements.into_iter().for_each(Settlement::settle),
                // Dropped unsettled, the changes are delivered again and planned on what is held now.
                Err(Stale(reason)) => {
                    tracing::warn!(reason, "a write was planned on what is no longer so; planning it again")
                }
            }
            drop(credits);
        };
        // A task of its own: a panic loses what this write holds, and not what waits for the next one.
        ctx.spawn(actix::spawn(write).into_actor(self).map(|_, writer, ctx| {
            writer.writing = false;
            writer.drive(ctx);
        }));
    }
}

/// Why a write must be planned again.
struct Stale(String);

/// Writes until it is written: an index that is down makes its sources wait, and nothing is dropped.
async fn write_patiently(index: &dyn VectorIndex, health: &Health, writes: Arc<[DocumentWrite]>) -> Result<(), Stale> {
    let mut failures = 0;
    while let Err(error) = index.write(writes.clone()).await {
        failures += 1;
        let news = match &error {
            IndexError::Unavailable(reason) => health.degraded(Component::Index, reason),
            IndexError::Fatal(reason) => health.unhealthy(Component::Index, reason),
            IndexError::Stale(reason) => return Err(Stale(reason.clone())),
        };
        if news {
            tracing::error!(%error, "the index cannot be written to; waiting until it can");
        }
        tokio::time::sleep(RETRY.delay(failures, fastrand::f64())).await;
    }
    if health.ok(Component::Index) {
        tracing::info!("the index can be written to again");
    }
    Ok(())
}

impl Actor for IndexWriter {
    type Context = Context<Self>;
}

impl Supervised for IndexWriter {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.waiting.clear();
        self.credits.clear();
        self.writing = false;
    }
}

impl Handler<Parcel<Works>> for IndexWriter {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<Works>, ctx: &mut Context<Self>) {
        self.waiting.extend(parcel.body.0);
        self.credits.push(parcel.credit);
        self.drive(ctx);
    }
}
