//! The embedder: every batch is one detached task that owns its credit and, through its flights, its receipts. The credits of
//! the edge to it are the number of calls at once.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use actix::prelude::*;

use super::accounts::Accounts;
use super::call::Calls;
use crate::actor::{Outlet, Parcel};
use crate::batch::Batch;
use crate::dedup::{PendingText, Work, Works};
use crate::document::{Fingerprint, Vector};
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;

/// See the module.
pub struct Embedder {
    desk: Arc<Desk>,
}

/// What batches share.
pub struct Desk {
    /// Makes their calls.
    pub calls: Calls,
    /// Counts calls and what they cost.
    pub accounts: Accounts,
    /// Where vectors are kept that would wait in memory for other calls; `None` where they do not outlive their points.
    pub ledger: Option<Arc<Ledger>>,
    /// Where finished work goes.
    pub writer: Outlet<Works>,
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
        let accounts = self.accounts.of(&batch.0);
        let (texts, whole) = (batch.texts(), batch.0.len());
        let mut pending: Vec<Option<PendingText>> = batch.0.into_iter().map(Some).collect();
        let settled = async |part: Range<usize>, results: Vec<Result<Vector, String>>| {
            fault_point!("embedded");
            let part: Vec<PendingText> = pending[part].iter_mut().filter_map(Option::take).collect();
            let paid = paid_with_others(&part, &results, whole);
            // First, so that whatever fails from here on, what is paid for is at hand.
            let works = land(part, results);
            self.keep(in_none_of(&works, paid)).await;
            if !works.is_empty() {
                // Closed: the generation ends, and the receipts in the works report themselves as lost.
                let _ = self.writer.send(Works(works)).await;
            }
        };
        self.calls.embed(&texts, &|call| accounts.finished(call), settled).await;
    }

    async fn keep(&self, ahead: Vec<(Fingerprint, Vector)>) {
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !ahead.is_empty()) {
            let ahead: Arc<[_]> = ahead.into();
            patiently(ledger, move |ledger| ledger.keep_vectors(&ahead)).await;
        }
    }
}

/// The vectors to keep in the ledger ahead of their document: those of a document with more texts than one call takes, or of a batch that
/// failed in part. Others of a split document arrive with the next call, and keeping them would cost a write per call.
fn paid_with_others(
    part: &[PendingText],
    results: &[Result<Vector, String>],
    whole: usize,
) -> Vec<(Fingerprint, Vector)> {
    let fit = if part.len() == whole { whole } else { 1 };
    let longer = part.iter().zip(results).filter(|(pending, _)| pending.texts_of_document > fit);
    longer.filter_map(|(pending, vector)| Some((*pending.flight.fingerprint(), vector.clone().ok()?))).collect()
}

/// What of this no finished work brings to the ledger: its document lacks texts of other calls, and the process may end before they come.
fn in_none_of(works: &[Work], mut paid: Vec<(Fingerprint, Vector)>) -> Vec<(Fingerprint, Vector)> {
    if !paid.is_empty() {
        let chunks = works.iter().flat_map(|work| &work.write.chunks);
        let brought: HashSet<Fingerprint> = chunks.map(|chunk| chunk.fingerprint).collect();
        paid.retain(|(text, _)| !brought.contains(text));
    }
    paid
}

/// The work that these results finish.
fn land(part: Vec<PendingText>, results: Vec<Result<Vector, String>>) -> Vec<Work> {
    let mut works = Vec::with_capacity(part.len());
    for (pending, result) in part.into_iter().zip(results) {
        match result {
            Ok(vector) => works.extend(pending.flight.land(vector)),
            Err(reason) => works.extend(pending.flight.reject(&reason)),
        }
    }
    works
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::dedup::{Claims, Flights, VectorCache};
    use crate::delivery::Verdict;
    use crate::document::fingerprint::Fingerprinter;
    use crate::embed::limiter::Limiter;
    use crate::ledger::testing::open;
    use crate::settings::embedding::RateLimitSettings;
    use crate::telemetry::Metrics;
    use crate::testkit::fakes::{Answer, FakeProvider, Fault};
    use crate::testkit::world::Receipts;
    use crate::testkit::{Probe, World};

    struct Stage {
        provider: Arc<FakeProvider>,
        flights: Arc<Flights>,
        claims: Arc<Claims>,
        receipts: Receipts,
        ledger: Arc<Ledger>,
        embedder: Outlet<Batch>,
        writer: Probe<Works>,
        _folder: TempDir,
    }

    impl Stage {
        /// Two calls at once.
        fn new(world: &World, provider: FakeProvider) -> Self {
            let (writer, to_writer) = world.probe("writer", 2);
            let (provider, metrics) = (Arc::new(provider), Arc::new(Metrics::new()));
            let cache = VectorCache::ample();
            let flights = Arc::new(Flights::new(metrics.embedding_queue.clone(), cache, true));
            world.must_go("the flights", &flights);
            let (folder, ledger) = open();
            let ledger = Arc::new(ledger);
            let embedder = Embedder::new(Desk {
                calls: Calls {
                    provider: provider.clone(),
                    limiter: Limiter::new(RateLimitSettings::default()),
                    estimator: Arc::default(),
                    status: Arc::default(),
                    underway: Arc::default(),
                    may_take: Duration::from_secs(60),
                },
                accounts: Accounts::new(metrics, "fake", 1.0),
                ledger: Some(ledger.clone()),
                writer: to_writer,
            });
            let embedder = world.stage("embedder", 2, embedder);
            let (claims, receipts) = (Arc::default(), world.receipts());
            Self { provider, flights, claims, receipts, ledger, embedder, writer, _folder: folder }
        }

        /// The texts of one document.
        fn document(&self, texts: &[&str]) -> Vec<PendingText> {
            PendingText::of_document(texts, &self.flights, &self.claims, self.receipts.issue())
        }

        async fn send(&self, texts: &[&str]) {
            let texts = texts.iter().flat_map(|text| self.document(&[text])).collect();
            self.embedder.send(Batch(texts)).await.unwrap();
        }

        /// Which of these texts the ledger has.
        fn kept(&self, texts: [&str; 3]) -> [bool; 3] {
            let kept = self.ledger.vectors(&texts.map(|text| Fingerprinter::new("test").of(text))).unwrap();
            [0, 1, 2].map(|text: usize| kept[text].is_some())
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
            stage.settle(3).await;
            let verdicts: Vec<_> = stage.receipts.all().into_iter().flatten().collect();
            let rejected = Verdict::Rejected("the fake refuses a text".into());
            assert_eq!(verdicts, [Verdict::Indexed, rejected, Verdict::Indexed, Verdict::Indexed]);
        });
    }

    #[test]
    fn of_an_answer_with_a_vector_that_cannot_be_used_that_text_alone_is_sent_again() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::default());
            stage.provider.faults.order([Fault::Answers(Answer::Zeros)]);
            stage.send(&["a", "b", "c"]).await;
            stage.settle(2).await;
            assert_eq!(stage.provider.calls(), [vec!["a", "b", "c"], vec!["a"]]);
            assert_eq!(stage.receipts.all(), vec![Some(Verdict::Indexed); 3]);
        });
    }

    #[test]
    fn what_a_document_of_several_calls_has_paid_for_is_kept_before_it_has_everything() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::default());
            let mut texts = stage.document(&["a", "b", "c"]);
            let last = texts.split_off(2);
            stage.embedder.send(Batch(texts)).await.unwrap();
            let kept = async {
                while !stage.kept(["a", "b", "c"])[0] {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), kept).await.expect("they are kept");
            assert_eq!((stage.kept(["a", "b", "c"]), stage.writer.len()), ([true, true, false], 0));
            stage.embedder.send(Batch(last)).await.unwrap();
            stage.settle(1).await;
            stage.send(&["d", "e", "f"]).await;
            stage.settle(1).await;
            assert_eq!(stage.kept(["d", "e", "f"]), [false; 3], "they have everything, and are kept with it");
        });
    }

    #[test]
    fn what_a_batch_has_paid_for_goes_on_while_the_rest_of_it_is_tried() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::refusing(["poison"]));
            let texts = [["x"].as_slice(), &["a", "b", "c"], &["poison"]];
            let batch = Batch(texts.iter().flat_map(|texts| stage.document(texts)).collect());
            stage.embedder.send(batch).await.unwrap();
            let works = stage.writer.settled(3).await.into_iter().flat_map(|works| works.0);
            let ids: Vec<String> = works.map(|work| work.write.id.to_string()).collect();
            assert_eq!(ids, ["x", "a", "poison"], "each as soon as it has everything");
            assert_eq!(stage.kept(["a", "b", "x"]), [true, true, false]);
            assert_eq!(stage.kept(["a", "b", "c"]), [true, true, false], "the last one goes with its document");
        });
    }

    #[test]
    fn what_is_whole_in_a_part_of_a_batch_is_kept_with_its_document_and_not_ahead() {
        World::run(1, async |world| {
            let stage = Stage::new(&world, FakeProvider::refusing(["poison"]));
            let texts = [["a", "b"].as_slice(), &["c", "d", "e", "f"], &["poison"], &["x"]];
            let batch = Batch(texts.iter().flat_map(|texts| stage.document(texts)).collect());
            stage.embedder.send(batch).await.unwrap();
            stage.settle(4).await;
            assert_eq!(stage.kept(["a", "b", "c"]), [false, false, true], "one half ends within the second document");
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
