//! The embedder: every batch is one detached task that owns its credit and, through its flights, its receipts. The credits of
//! the edge to it are the number of calls at once.

use std::sync::Arc;

use actix::prelude::*;

use super::call::{CallObserver, embed_batch};
use super::limiter::Limiter;
use super::provider::Provider;
use super::status::ProviderStatus;
use crate::actor::{Outlet, Parcel};
use crate::batch::Batch;
use crate::dedup::{Work, Works};
use crate::document::Vector;

/// See the module.
pub struct Embedder {
    desk: Arc<Desk>,
}

/// What calls share.
pub struct Desk {
    /// What embeds.
    pub provider: Arc<dyn Provider>,
    /// Lets calls out.
    pub limiter: Arc<Limiter>,
    /// What the health page shows.
    pub status: Arc<ProviderStatus>,
    /// Counts calls and what they cost.
    pub observer: Arc<dyn BatchObserver>,
    /// Where finished work goes.
    pub writer: Outlet<Works>,
}

/// Makes the observer of one batch's calls: it knows why each text is paid for.
pub trait BatchObserver: Send + Sync {
    /// For the calls of this batch.
    fn of(&self, batch: &Batch) -> Box<dyn CallObserver>;
}

impl Embedder {
    /// Between the batcher and the index writer.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Arc::new(desk) }
    }
}

impl Actor for Embedder {
    type Context = Context<Self>;
}

impl Supervised for Embedder {}

impl Handler<Parcel<Batch>> for Embedder {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<Batch>, _: &mut Context<Self>) {
        let desk = self.desk.clone();
        actix::spawn(async move {
            desk.embed(parcel.body).await;
            drop(parcel.credit);
        });
    }
}

impl Desk {
    async fn embed(&self, batch: Batch) {
        let observer = self.observer.of(&batch);
        let vectors = embed_batch(&*self.provider, &self.limiter, &self.status, &*observer, batch.texts()).await;
        fault_point!("embedded");
        let works = land(batch, vectors);
        if !works.is_empty() {
            // Closed: the generation ends, and the receipts in the works report themselves as lost.
            let _ = self.writer.send(Works(works)).await;
        }
    }
}

/// The work that the results for a batch finish.
fn land(batch: Batch, results: Vec<Result<Vector, String>>) -> Vec<Work> {
    let mut works = Vec::with_capacity(batch.0.len());
    for (pending, result) in batch.0.into_iter().zip(results) {
        match result {
            Ok(vector) => works.extend(pending.flight.land(vector)),
            Err(reason) => works.extend(pending.flight.reject(&reason)),
        }
    }
    works
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::flight::{Boarding, Draft, SharedDraft};
    use crate::dedup::{Claims, Flights, PendingText, VectorCache};
    use crate::delivery::Verdict;
    use crate::document::fingerprint::Fingerprinter;
    use crate::pipeline::accounts::{Accounts, SharedAccounts};
    use crate::settings::DedupSettings;
    use crate::settings::embedding::RateLimitSettings;
    use crate::telemetry::{Metrics, Reason};
    use crate::testkit::fakes::{FakeProvider, Fault};
    use crate::testkit::world::Receipts;
    use crate::testkit::{Probe, World};

    struct Stage {
        provider: Arc<FakeProvider>,
        flights: Arc<Flights>,
        claims: Arc<Claims>,
        receipts: Receipts,
        embedder: Outlet<Batch>,
        writer: Probe<Works>,
    }

    impl Stage {
        /// Two calls at once.
        fn new(world: &World, provider: FakeProvider) -> Self {
            let (writer, to_writer) = world.probe("writer", 2);
            let (provider, metrics) = (Arc::new(provider), Arc::new(Metrics::new()));
            let cache = VectorCache::new(&DedupSettings::default(), 1);
            let flights = Arc::new(Flights::new(metrics.embedding_queue.clone(), cache, true));
            world.must_go("the flights", &flights);
            let embedder = Embedder::new(Desk {
                provider: provider.clone(),
                limiter: Arc::new(Limiter::new(RateLimitSettings::default())),
                status: Arc::default(),
                observer: Arc::new(SharedAccounts(Arc::new(Accounts::new(metrics, "fake", 1.0)))),
                writer: to_writer,
            });
            let embedder = world.stage("embedder", 2, embedder);
            Self { provider, flights, claims: Arc::default(), receipts: world.receipts(), embedder, writer }
        }

        fn pending(&self, text: &str) -> PendingText {
            let fingerprint = Fingerprinter::new("test").of(text);
            let draft = Draft::waiting(text, vec![(fingerprint, None)], &self.claims, self.receipts.issue());
            let Boarding::Lead(flight) = self.flights.board(fingerprint, SharedDraft::new(draft), 0) else {
                panic!("`{text}` is on its way already");
            };
            PendingText { text: text.into(), tokens: 1, priority: 0, immediate: false, reason: Reason::New, flight }
        }

        async fn send(&self, texts: &[&str]) {
            let texts = texts.iter().map(|text| self.pending(text)).collect();
            self.embedder.send(Batch(texts)).await.unwrap();
        }

        /// Settles what reaches the writer, so many messages.
        async fn settle(&self, messages: usize) {
            let works = self.writer.settled(messages).await.into_iter().flat_map(|works| works.0);
            works.for_each(|work| work.settlement.settle());
        }
    }

    #[test]
    fn a_rejected_text_leaves_its_batch_mates_alone() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::refusing(["poison"]));
            stage.send(&["a", "poison", "b", "c"]).await;
            stage.settle(1).await;
            let verdicts: Vec<_> = stage.receipts.all().into_iter().flatten().collect();
            let rejected = Verdict::Rejected("the fake refuses a text".into());
            assert_eq!(verdicts, [Verdict::Indexed, rejected, Verdict::Indexed, Verdict::Indexed]);
        });
    }

    #[test]
    fn a_call_that_panics_loses_only_its_batch_and_gives_its_credit_back() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::default());
            stage.provider.crash_on("crash");
            stage.send(&["a", "crash"]).await;
            stage.send(&["b", "c"]).await;
            stage.settle(1).await;
            world.rest().await;
            let lost = [Some(Verdict::Lost), Some(Verdict::Lost)];
            let indexed = [Some(Verdict::Indexed), Some(Verdict::Indexed)];
            assert_eq!(stage.receipts.all(), [lost, indexed].concat());
            assert_eq!((stage.embedder.free(), stage.claims.claimed(), stage.flights.len()), (2, 0, 0));
            assert_eq!(world.panics(), 0, "the actor itself goes on");
        });
    }

    #[test]
    fn a_call_holds_its_credit_until_the_writer_took_its_work() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::default());
            stage.writer.hold();
            for text in ["a", "b", "c", "d"] {
                stage.send(&[text]).await;
            }
            world.rest().await;
            assert_eq!((stage.writer.len(), stage.provider.calls().len()), (2, 4));
            assert_eq!(stage.embedder.free(), 0, "two calls are done and wait for the writer");
            stage.settle(4).await;
        });
    }

    #[test]
    fn a_storm_of_failures_delays_and_loses_nothing() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::default());
            stage.provider.faults.order([Fault::TooMany, Fault::Unavailable, Fault::TooMany, Fault::Unavailable]);
            stage.send(&["a", "b"]).await;
            stage.send(&["c"]).await;
            stage.settle(2).await;
            assert_eq!(stage.receipts.all(), vec![Some(Verdict::Indexed); 3]);
            assert!(stage.provider.paid().values().all(|times| *times == 1));
        });
    }
}
