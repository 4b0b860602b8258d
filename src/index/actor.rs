//! The index writer: gathers finished work while a write is under way, and writes all of it at once. Receipts are settled only after
//! the index and the ledger hold what they stand for.

use std::sync::Arc;

use actix::prelude::*;

use super::patience::PatientIndex;
use super::target::{IndexError, RefusedWrite};
use crate::actor::offload::on_core;
use crate::actor::{Credit, GiveUp, Parcel};
use crate::dedup::{Settlement, Work, Works};
use crate::ledger::patience::patiently;
use crate::ledger::{DocumentWrite, Ledger, VectorSource};

/// See the module.
pub struct IndexWriter {
    index: Arc<PatientIndex>,
    give_up: GiveUp,
    /// Keeps paid vectors while the index fails; `None` where the index is in the ledger anyway, or no vectors are kept.
    keeper: Option<Arc<Ledger>>,
    waiting: Vec<Work>,
    credits: Vec<Credit>,
    writing: bool,
    /// Whether the write that is under way failed, and is tried again.
    failing: bool,
}

/// The write that is under way failed for the first time.
#[derive(Message)]
#[rtype(result = "()")]
struct Failing;

impl IndexWriter {
    /// At the end of the pipeline. `give_up` is told when the index has lost all that it held, so that every document is planned again.
    pub fn new(index: PatientIndex, give_up: GiveUp) -> Self {
        let (index, waiting, credits) = (Arc::new(index), Vec::new(), Vec::new());
        Self { index, give_up, keeper: None, waiting, credits, writing: false, failing: false }
    }

    /// Has the vectors of what waits kept in this ledger while the index fails: an outage may last longer than the process, and
    /// they are paid for.
    pub fn keeping_in(self, ledger: Arc<Ledger>) -> Self {
        Self { keeper: Some(ledger), ..self }
    }

    fn drive(&mut self, ctx: &mut Context<Self>) {
        if self.writing || self.waiting.is_empty() {
            return;
        }
        self.writing = true;
        let (works, credits) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.credits));
        let (index, give_up, address) = (self.index.clone(), self.give_up.clone(), ctx.address());
        let write = async move {
            let (writes, settlements): (Vec<_>, Vec<_>) =
                works.into_iter().map(|work| (work.write, work.settlement)).unzip();
            let writes: Arc<[DocumentWrite]> = writes.into();
            // Bounded: one message a write.
            let on_failure = || address.do_send(Failing);
            match index.write(&writes, on_failure).await {
                Ok(refused) => {
                    fault_point!("index written");
                    // Thousands of documents take milliseconds, in which no other actor could do anything. The next write does not wait.
                    actix::spawn(async move {
                        on_core(move || {
                            settle(settlements, refused);
                            drop(writes);
                        })
                        .await;
                        drop(credits);
                    });
                }
                Err(IndexError::Lost(reason)) => give_up(reason),
                // Dropped unsettled, the changes are delivered again and planned on what is held now.
                Err(reason) => {
                    tracing::warn!(%reason, "a write was planned on what is no longer so; planning it again")
                }
            }
        };
        // A task of its own: a panic loses what this write holds, and not what waits for the next one.
        ctx.spawn(actix::spawn(write).into_actor(self).map(|_, writer, ctx| {
            writer.writing = false;
            writer.failing = false;
            writer.drive(ctx);
        }));
    }

    /// Keeps the vectors of what waits from the work of this number on.
    fn keep(&self, from: usize) {
        let Some(ledger) = self.keeper.clone() else { return };
        let chunks = self.waiting[from..].iter().flat_map(|work| &work.write.chunks);
        let vectors: Arc<[_]> = chunks
            .filter_map(|chunk| match &chunk.vector {
                VectorSource::Here(vector) => Some((chunk.fingerprint, vector.clone())),
                VectorSource::Held(_) => None,
            })
            .collect();
        if !vectors.is_empty() {
            actix::spawn(async move { patiently(&ledger, move |ledger| ledger.keep_vectors(&vectors)).await });
        }
    }
}

fn settle(mut settlements: Vec<Settlement>, refused: Vec<RefusedWrite>) {
    for RefusedWrite { write, reason } in refused {
        settlements[write].reject(&reason);
    }
    settlements.into_iter().for_each(Settlement::settle);
}

impl Actor for IndexWriter {
    type Context = Context<Self>;
}

impl Supervised for IndexWriter {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.waiting.clear();
        self.credits.clear();
        self.writing = false;
        self.failing = false;
    }
}

impl Handler<Parcel<Works>> for IndexWriter {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<Works>, ctx: &mut Context<Self>) {
        let before = self.waiting.len();
        self.waiting.extend(parcel.body.0);
        self.credits.push(parcel.credit);
        if self.failing {
            self.keep(before);
        }
        self.drive(ctx);
    }
}

impl Handler<Failing> for IndexWriter {
    type Result = ();

    fn handle(&mut self, _: Failing, _: &mut Context<Self>) {
        // Of a write that is over by now, nothing is to be kept for.
        self.failing = self.writing;
        if self.failing {
            self.keep(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::actor::Outlet;
    use crate::dedup::{Claims, Draft};
    use crate::delivery::Verdict;
    use crate::document::Fingerprint;
    use crate::telemetry::Health;
    use crate::telemetry::health::{Component, HealthState};
    use crate::testkit::World;
    use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault};
    use crate::testkit::world::Receipts;

    struct Stage {
        index: Arc<FakeIndex>,
        health: Arc<Health>,
        claims: Arc<Claims>,
        receipts: Receipts,
        writer: Outlet<Works>,
        ledger: Arc<Ledger>,
        _folder: TempDir,
    }

    impl Stage {
        async fn new(world: &World) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (resources, index) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
            let (health, claims) = (resources.health.clone(), Arc::<Claims>::default());
            let claimed = claims.clone();
            world.must(move || (claimed.claimed() > 0).then(|| format!("{} claims are left", claimed.claimed())));
            world.must_go("the index", &index);
            let patient = PatientIndex { index: index.clone(), health: health.clone(), underway: Arc::default() };
            let writer = IndexWriter::new(patient, Arc::new(|reason| panic!("{reason}")));
            let writer = world.stage("writer", 8, writer.keeping_in(resources.ledger.clone()));
            Self {
                index,
                health,
                claims,
                receipts: world.receipts(),
                writer,
                ledger: resources.ledger.clone(),
                _folder: folder,
            }
        }

        /// A document of one chunk with a vector.
        fn work(&self, id: &str) -> Work {
            let chunk = (Fingerprint::from_bytes([7; 32]), Some(VectorSource::Here(FakeProvider::vector(id))));
            let mut work = Draft::waiting(id, vec![chunk], &self.claims, self.receipts.issue()).finish();
            work.write.metadata = Some("{}".into());
            work
        }

        async fn send(&self, ids: &[&str]) {
            self.writer.send(Works(ids.iter().map(|id| self.work(id)).collect())).await.unwrap();
        }
    }

    #[test]
    fn what_comes_during_a_write_is_written_together_and_settled_after_it() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            stage.index.block();
            stage.send(&["a"]).await;
            world.rest().await;
            for id in ["b", "c", "d"] {
                stage.send(&[id]).await;
            }
            world.rest().await;
            assert_eq!(stage.receipts.open(), [0, 1, 2, 3], "nothing is settled before it is written");
            assert_eq!((stage.writer.free(), stage.claims.claimed()), (4, 4));
            stage.index.unblock();
            world.rest().await;
            assert_eq!(stage.index.writes(), [vec!["a"], vec!["b", "c", "d"]]);
            assert_eq!(stage.receipts.all(), vec![Some(Verdict::Indexed); 4]);
        });
    }

    #[test]
    fn an_index_that_is_down_keeps_everything_waiting_and_loses_nothing() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            stage.index.faults.order([Fault::Unavailable; 8]);
            stage.send(&["a"]).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            stage.send(&["b"]).await;
            assert_eq!(stage.health.snapshot()[&Component::Index].state, HealthState::Degraded);
            assert_eq!(stage.receipts.open(), [0, 1]);
            world.rest().await;
            assert_eq!(stage.index.writes(), [["a"], ["b"]]);
            assert_eq!(stage.health.snapshot()[&Component::Index].state, HealthState::Ok);
        });
    }

    #[test]
    fn while_the_index_is_down_what_waits_for_it_has_its_vectors_kept() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            stage.index.faults.order([Fault::Unavailable; 8]);
            let kept = || stage.ledger.vectors(&[Fingerprint::from_bytes([7; 32])]).unwrap().remove(0);
            stage.send(&["a"]).await;
            stage.send(&["b"]).await;
            while kept().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(stage.index.writes(), Vec::<Vec<String>>::new(), "nothing is written yet");
            assert_eq!(stage.receipts.open(), [0, 1]);
            world.rest().await;
            assert_eq!(stage.index.writes(), [["a"], ["b"]]);
        });
    }

    #[test]
    fn a_write_that_panics_loses_its_own_and_not_what_waits() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            stage.index.faults.order([Fault::PanicBefore]);
            stage.send(&["a"]).await;
            stage.send(&["b"]).await;
            world.rest().await;
            let (lost, written) = (stage.receipts.of(0), stage.receipts.of(1));
            assert_eq!((lost, written), (Some(Verdict::Lost), Some(Verdict::Indexed)));
            assert_eq!(world.panics(), 0, "the actor itself goes on");
        });
    }

    #[test]
    fn a_write_that_was_planned_on_what_is_gone_is_lost_so_that_it_is_planned_again() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            let mut work = stage.work("a");
            work.write.chunks[0].vector = VectorSource::Held(77);
            stage.writer.send(Works(vec![work])).await.unwrap();
            world.rest().await;
            assert_eq!(stage.receipts.of(0), Some(Verdict::Lost));
            stage.send(&["a"]).await;
            world.rest().await;
            assert_eq!(stage.receipts.of(1), Some(Verdict::Indexed));
        });
    }

    #[test]
    fn the_next_write_does_not_wait_until_the_last_one_is_settled_and_the_credits_do() {
        World::run(1, async |world| {
            let stage = Stage::new(&world).await;
            // Settling waits for a core.
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let ended = Arc::new(parking_lot::Mutex::new(ended));
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                let ended = ended.clone();
                actix::spawn(on_core(move || ended.lock().recv()));
            }
            tokio::task::yield_now().await;
            for written in 1..=2 {
                stage.send(&[["a", "b"][written - 1]]).await;
                while stage.index.writes().len() < written {
                    // By itself the clock stands still while work is on the cores.
                    tokio::time::advance(Duration::from_millis(1)).await;
                }
            }
            assert_eq!((stage.receipts.open(), stage.writer.free()), (vec![0, 1], 6));
            drop(end);
            world.rest().await;
            assert_eq!((stage.receipts.open(), stage.writer.free()), (vec![], 8));
        });
    }
}
