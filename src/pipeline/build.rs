//! The graph, wired from its end to its beginning. To add an actor: spawn it here and put its outlet between its neighbours.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix::prelude::*;
use tokio::sync::{Semaphore, watch};

use super::stages::Stages;
use super::{NamedSource, Resources};
use crate::actor::pulse::{self, Pulse};
use crate::actor::{GiveUp, Outlet};
use crate::batch::{self, Batcher, Drain};
use crate::dedup::{Budget, Deduplicator, Flights, Planner, Renderer, Works};
use crate::delivery::Room;
use crate::document::fingerprint::Fingerprinter;
use crate::embed::accounts::Accounts;
use crate::embed::actor::{Desk, Embedder};
use crate::embed::call::Calls;
use crate::index::actor::IndexWriter;
use crate::index::patience::PatientIndex;
use crate::source::actor::{Ingestor, Rest, StopReading, Wiring};

/// Messages of up to 1,024 changes that are planned at once: one is asked for in the ledger while the other has a core. More would only
/// wait for the index writer, which is alone, with all that they hold.
const PLANNING: usize = 2;
/// Messages of texts on their way to the batcher, which takes them in at once.
const BATCHING: usize = 4;
/// Messages of finished work that wait for or are in a write.
pub(super) const WRITING: usize = 32;
/// Bytes of large documents on their way from their plan to the index, with the texts that they lack and all but one of their vectors.
const PLANNED: usize = 64 * 1024 * 1024;
/// What each source may have on its way.
pub(super) const WINDOW: Room = Room { records: 10_000, bytes: 64 * 1024 * 1024 };

/// What a generation is stopped by, and asked whether it is done.
pub struct Controls {
    /// The sources, told to stop reading.
    pub stop: Vec<Recipient<StopReading>>,
    /// The batcher, told when they are.
    pub drain: Recipient<Drain>,
    /// One for each source: whether it has anything left to do.
    pub rests: Vec<watch::Receiver<Rest>>,
    /// How often positions were committed.
    pub commits: Arc<AtomicU64>,
}

impl Controls {
    /// Tells every source to stop reading, and the batcher to wait for nothing more. What was read goes on.
    pub fn stop_reading(&self) {
        // One message each: bounded.
        self.stop.iter().for_each(|stop| stop.do_send(StopReading));
        // One message: bounded.
        self.drain.do_send(Drain);
    }
}

/// Starts every actor on the current arbiter. Each source has this window; the actors' calls show in `pulse`; `give_up` is told when one
/// of them is given up.
pub fn build(
    window: Room,
    resources: &Arc<Resources>,
    sources: Vec<NamedSource>,
    pulse: &Pulse,
    give_up: GiveUp,
) -> Controls {
    let r = resources;
    let stages = Stages::new(r, give_up.clone());

    let (_, writer) = stages.start("index_writer", WRITING, index_writer(r, pulse, give_up.clone()));

    let calls = r.settings.embedding.concurrency();
    let (_, embedder) = stages.start("embedder", calls, embedder(r, pulse, writer.clone()));

    let limits = batch::Limits::new(&r.settings.batching, r.provider.max_items(), r.settings.embedding.rate_limit());
    let batcher = Batcher::new(limits, r.estimator.clone(), embedder);
    let (drain, batcher) = stages.start("batcher", BATCHING, batcher);

    let deduplicator = Deduplicator::new(r.ledger.clone(), Arc::new(planner(r)), batcher, writer);
    let (_, deduplicator) = stages.start("deduplicator", PLANNING, deduplicator);

    let (commits, through) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let turn = Arc::new(Semaphore::new(1));
    let ingestor = |source: NamedSource| {
        let (rest, resting) = watch::channel(Rest::Busy);
        let actor = format!("ingestor {}", source.name);
        let ingestor = Ingestor::new(Wiring {
            board: r.sources.register(&source.name),
            mapper: r.mappers.of(&source.name),
            name: source.name,
            make: source.make,
            version_is_time: r.settings.document.are_versions_times(),
            ledger: r.ledger.clone(),
            deduplicator: deduplicator.clone(),
            limits: window,
            metrics: r.metrics.clone(),
            rest,
            commits: commits.clone(),
            through: through.clone(),
            turn: turn.clone(),
            health: r.health.clone(),
            give_up: give_up.clone(),
        });
        (stages.spawn(&actor, 1, ingestor).recipient(), resting)
    };
    let (stop, rests) = sources.into_iter().map(ingestor).unzip();
    Controls { stop, drain: drain.recipient(), rests, commits }
}

fn index_writer(r: &Resources, pulse: &Pulse, give_up: GiveUp) -> IndexWriter {
    let (index, health, underway) = (r.index.clone(), r.health.clone(), pulse.underway.clone());
    let writer = IndexWriter::new(PatientIndex { index, health, underway }, give_up);
    match r.settings.index.external() {
        Some(_) if r.settings.dedup.persist => writer.keeping_in(r.ledger.clone()),
        _ => writer,
    }
}

fn embedder(r: &Resources, pulse: &Pulse, writer: Outlet<Works>) -> Embedder {
    let price = r.provider.price_per_million_tokens();
    Embedder::new(Desk {
        calls: Calls {
            provider: r.provider.clone(),
            limiter: r.limiter.with_own_queue(),
            estimator: r.estimator.clone(),
            status: r.provider_status.clone(),
            underway: pulse.underway.clone(),
            // The provider gives a call up by itself after this time.
            may_take: r.settings.embedding.timeout() + pulse::CALL_MAY_TAKE,
        },
        accounts: Accounts::new(r.metrics.clone(), r.provider.space().name(), price),
        ledger: r.settings.dedup.persist.then(|| r.ledger.clone()),
        writer,
    })
}

pub(crate) fn planner(r: &Resources) -> Planner {
    let fingerprints = Fingerprinter::new(&r.provider.space().key());
    Planner {
        renderer: Renderer { template: r.template.clone(), chunker: r.chunker.clone(), fingerprints },
        flights: Arc::new(Flights::new(r.metrics.embedding_queue.clone(), r.cache.clone(), r.settings.dedup.persist)),
        budget: Arc::new(Budget::new(PLANNED)),
        vector_bytes: r.provider.space().dimensions * size_of::<f32>(),
        metrics: r.metrics.clone(),
        departures: r.departures.clone(),
    }
}
