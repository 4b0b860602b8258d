//! The batcher: accepts texts, and seals a batch when one is due *and* the embedder has room. While all calls are busy texts gather,
//! so batches grow exactly when that helps, and the highest lane goes first when a call becomes free.

use std::sync::Arc;

use actix::prelude::*;
use tokio::time::Instant;

use super::estimate::Estimator;
use super::plan::{Cost, Lanes, Limits};
use crate::actor::{Outlet, Parcel};
use crate::dedup::{PendingText, Texts};

/// A message of texts for one call.
pub struct Batch(pub Vec<PendingText>);

/// Nobody reads any more: no text waits for others that may come.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// See the module.
pub struct Batcher {
    embedder: Outlet<Batch>,
    lanes: Lanes<PendingText>,
    estimator: Arc<Estimator>,
    /// Whether a task waits for room at the embedder.
    reserving: bool,
    /// When it will look again.
    alarm: Option<Instant>,
}

impl Batcher {
    /// Between the deduplicator and the embedder.
    pub fn new(limits: Limits, estimator: Arc<Estimator>, embedder: Outlet<Batch>) -> Self {
        Self { embedder, lanes: Lanes::new(limits), estimator, reserving: false, alarm: None }
    }

    /// Reserves room for the next batch when one is due, else sets the alarm for when it will be.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        if self.reserving {
            return;
        }
        let now = Instant::now();
        let Some(due) = self.lanes.due(now) else { return };
        if due > now {
            return self.wake_at(due, ctx);
        }
        self.reserving = true;
        let embedder = self.embedder.clone();
        ctx.spawn(async move { embedder.reserve().await }.into_actor(self).map(|slot, batcher, ctx| {
            batcher.reserving = false;
            if let Some(batch) = batcher.lanes.seal(Instant::now()) {
                fault_point!("batch sealed");
                tracing::trace!(texts = batch.len(), "batch sealed");
                // Closed: the generation ends, and what waits here is lost with its receipts.
                let _ = slot.send(Batch(batch));
            }
            batcher.drive(ctx);
        }));
    }

    fn wake_at(&mut self, due: Instant, ctx: &mut Context<Self>) {
        if self.alarm.is_some_and(|at| at <= due) {
            return;
        }
        self.alarm = Some(due);
        ctx.spawn(tokio::time::sleep_until(due).into_actor(self).map(|(), batcher, ctx| {
            batcher.alarm = None;
            batcher.drive(ctx);
        }));
    }
}

impl Actor for Batcher {
    type Context = Context<Self>;
}

impl Supervised for Batcher {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.lanes.clear();
        self.reserving = false;
        self.alarm = None;
    }
}

impl Handler<Drain> for Batcher {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        self.lanes.hurry();
        self.drive(ctx);
    }
}

impl Handler<Parcel<Texts>> for Batcher {
    type Result = ();

    /// The credit goes back at once: what waits here is bounded by the windows of the sources, and the batcher must see all
    /// that waits to choose well.
    fn handle(&mut self, parcel: Parcel<Texts>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for text in parcel.body.0 {
            let bytes = text.text.len();
            let cost = Cost { tokens: self.estimator.tokens(bytes), bytes };
            let (priority, immediate) = (text.priority, text.immediate);
            self.lanes.push(text, cost, priority, immediate, now);
        }
        self.drive(ctx);
    }
}

impl Batch {
    /// The texts in order.
    pub fn texts(&self) -> Vec<Arc<str>> {
        self.0.iter().map(|pending| pending.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::IntGauge;

    use super::*;
    use crate::dedup::{Claims, Flights, VectorCache};
    use crate::delivery::Verdict;
    use crate::testkit::world::Receipts;
    use crate::testkit::{Probe, World};

    const WAIT: Duration = Duration::from_millis(50);

    struct Stage {
        batcher: Outlet<Texts>,
        embedder: Probe<Batch>,
        flights: Arc<Flights>,
        claims: Arc<Claims>,
        receipts: Receipts,
    }

    impl Stage {
        /// Batches of three, and two calls at once.
        fn new(world: &World) -> Self {
            let (embedder, to_embedder) = world.probe("embedder", 2);
            let limits = Limits { items: 3, tokens: 1000, bytes: 100_000, max_wait: WAIT };
            let batcher = world.stage("batcher", 4, Batcher::new(limits, Arc::default(), to_embedder));
            let gauge = IntGauge::new("queue", "texts on their way").unwrap();
            let flights = Arc::new(Flights::new(gauge.clone(), VectorCache::ample(), true));
            world.must_go("the flights", &flights);
            world.must(move || (gauge.get() != 0).then(|| format!("the queue shows {}", gauge.get())));
            Self { batcher, embedder, flights, claims: Arc::default(), receipts: world.receipts() }
        }

        /// A document of one chunk that waits for the vector of this text.
        fn pending(&self, text: &str, priority: u8, immediate: bool) -> PendingText {
            let document = PendingText::of_document(&[text], &self.flights, &self.claims, self.receipts.issue());
            let pending = document.into_iter().next().expect("it has one text");
            PendingText { priority, immediate, ..pending }
        }

        async fn send(&self, texts: &[&str], priority: u8, immediate: bool) {
            let texts = texts.iter().map(|text| self.pending(text, priority, immediate)).collect();
            self.batcher.send(Texts(texts)).await.unwrap();
        }
    }

    /// Ends the flights of a batch and names its texts.
    fn land(batch: Batch) -> Vec<String> {
        let texts = batch.texts().iter().map(|text| text.to_string()).collect();
        let works = batch.0.into_iter().flat_map(|pending| pending.flight.reject("the test is over"));
        works.for_each(|work| work.settlement.settle());
        texts
    }

    #[test]
    fn a_batch_waits_for_others_and_no_longer_than_it_may() {
        World::run(1, async |world| {
            let stage = Stage::new(&world);
            let began = Instant::now();
            stage.send(&["a"], 0, false).await;
            stage.send(&["b"], 0, false).await;
            assert_eq!(land(stage.embedder.next().await.0), ["a", "b"]);
            assert_eq!(began.elapsed(), WAIT);
            stage.send(&["c", "d", "e"], 0, false).await;
            assert_eq!(land(stage.embedder.next().await.0), ["c", "d", "e"]);
            stage.send(&["f"], 0, true).await;
            assert_eq!(land(stage.embedder.next().await.0), ["f"]);
            assert_eq!(began.elapsed(), WAIT, "a full batch and an immediate one do not wait");
        });
    }

    #[test]
    fn batches_are_sealed_when_there_is_room_and_the_highest_lane_goes_first() {
        World::run(1, async |world| {
            let stage = Stage::new(&world);
            stage.embedder.hold();
            stage.send(&["a", "b", "c", "d", "e", "f", "g", "h"], 0, false).await;
            world.rest().await;
            assert_eq!(stage.embedder.len(), 2, "as many batches as calls at once");
            assert_eq!(stage.batcher.free(), 4, "what waits holds no credit");
            stage.send(&["low", "high"], 0, false).await;
            stage.send(&["urgent"], 9, true).await;
            let (batch, credit) = stage.embedder.next().await;
            assert_eq!(land(batch), ["a", "b", "c"]);
            world.rest().await;
            assert_eq!(stage.embedder.len(), 1, "an ended call makes no room until its credit is back");
            drop(credit);
            assert_eq!(land(stage.embedder.next().await.0), ["d", "e", "f"]);
            assert_eq!(
                land(stage.embedder.next().await.0),
                ["urgent", "g", "h"],
                "chosen when there was room, not when due"
            );
            assert_eq!(land(stage.embedder.next().await.0), ["low", "high"]);
        });
    }

    #[test]
    fn a_batch_that_is_lost_on_its_way_loses_its_texts_and_the_next_one_goes() {
        World::run(1, async |world| {
            let stage = Stage::new(&world);
            stage.embedder.panic_once();
            stage.send(&["a", "b", "c", "d"], 0, false).await;
            assert_eq!(land(stage.embedder.next().await.0), ["d"]);
            assert_eq!(world.panics(), 1);
            let all = stage.receipts.all();
            assert_eq!(all[..3], vec![Some(Verdict::Lost); 3]);
            assert!(matches!(all[3], Some(Verdict::Rejected(_))));
            assert_eq!(stage.flights.len(), 0);
        });
    }
}
