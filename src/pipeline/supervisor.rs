//! Keeps a generation of actors alive until there is nothing left to do, someone asks it to stop, or it fails for good.

use std::convert::Infallible;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Resources;
use super::generation::{Failure, Generation};
use super::sources::{NamedSource, sources};
use crate::actor::backoff::Backoff;
use crate::actor::pulse::Call;
use crate::source::{replan, rewrite};
use crate::telemetry::health::Component;

/// Between generations.
const REBUILD: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).at_least(Duration::from_secs(1));
/// Between attempts to find the index ready.
const PREPARE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
/// After so many generations in a row that committed nothing, rebuilding is no cure.
const FRUITLESS: u32 = 5;

/// How a run is to end.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// End when no source has anything left to read and everything read is settled.
    pub until_idle: bool,
    /// How long a stop waits for what is on its way.
    pub grace: Duration,
    /// How often to look for what hangs, and how often the actors' thread beats: [`pulse::EVERY`](crate::actor::pulse::EVERY).
    pub look_every: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything there was to read is settled and committed.
    Done,
    /// It was stopped, and everything that it had read is settled and committed.
    Stopped,
    /// It was stopped, and some work was left: it will be delivered again, or read.
    WorkLeft,
    /// It cannot go on, for this reason.
    Failed(String),
    /// As `Failed`, and something hangs that an orderly end would wait for: the process must end at once.
    Hangs(String),
}

/// Runs the pipeline. `stop` completes when someone asks it to end. Dropped before it ends, it tells its actors to end at once, and what
/// was not settled is delivered again by the next run. A write that is under way may still be done for a while, and the ledger stays locked
/// for as long: to run again in the same process, use `stop`.
///
/// # Panics
/// Outside an `actix::System`, which its actors' thread belongs to.
pub async fn supervise(resources: &Arc<Resources>, options: RunOptions, stop: impl Future<Output = ()>) -> Ending {
    supervise_sources(resources, async || sources(resources).await, options, stop).await
}

/// As [`supervise`], with the sources that every generation is to read: those of [`sources()`], and any of one's own beside them. Each
/// needs a name that stays, by which its positions are kept, and that no other has.
///
/// # Panics
/// As [`supervise`].
pub async fn supervise_sources(
    resources: &Arc<Resources>,
    sources: impl AsyncFn() -> Result<Vec<NamedSource>, String>,
    options: RunOptions,
    stop: impl Future<Output = ()>,
) -> Ending {
    tokio::pin!(stop);
    let Break(ending) = generations(resources, sources, options, stop).await;
    ending
}

/// Lets one generation after the other live until the run ends, which each step of their lives may bring about: it breaks with how.
async fn generations(
    resources: &Arc<Resources>,
    sources: impl AsyncFn() -> Result<Vec<NamedSource>, String>,
    options: RunOptions,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> ControlFlow<Ending, Infallible> {
    let (mut fruitless, mut rebuilt) = (0, false);
    loop {
        let generation = begin(resources, &sources, options, rebuilt, stop.as_mut()).await?;
        let (generation, failure) = until_failure(resources, generation, options, stop.as_mut()).await?;
        // What is settled and not committed is done again by the next one, so it is no progress.
        fruitless = if generation.was_fruitful() { 0 } else { fruitless + 1 };
        end_failed(resources, generation, &failure, stop.as_mut()).await?;
        if fruitless == FRUITLESS {
            return Break(Ending::Failed(format!(
                "{FRUITLESS} generations of actors in a row got nowhere; the last one: {failure}"
            )));
        }
        // A source that looks at documents again may have done so, and then the next generation has none.
        resources.sources.keep(|name| ![replan::NAME, rewrite::NAME].contains(&name));
        resources.metrics.rebuilds.inc();
        rebuilt = true;
        let pause = REBUILD.delay(fruitless + 1, fastrand::f64());
        tracing::error!(
            reason = %failure,
            rebuilds = resources.metrics.rebuilds.get(),
            pause_seconds = pause.as_secs(),
            "the pipeline failed; rebuilding it from committed positions"
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Break(Ending::WorkLeft),
        }
    }
}

/// Starts a generation as soon as the index can be written to, unless the run ends before. `rebuilt`: another one failed before it.
async fn begin(
    resources: &Arc<Resources>,
    sources: &impl AsyncFn() -> Result<Vec<NamedSource>, String>,
    options: RunOptions,
    rebuilt: bool,
    stop: impl Future<Output = ()>,
) -> ControlFlow<Ending, Generation> {
    let prepared = async {
        prepare_index(resources).await;
        sources().await
    };
    let sources = tokio::select! {
        sources = prepared => or_fail(sources)?,
        () = stop => return Break(if rebuilt { Ending::WorkLeft } else { stopped(options) }),
        damage = resources.ledger.damaged() => return Break(Ending::Failed(damage.to_string())),
    };
    let generation = or_fail(Generation::start(resources, sources, options.look_every).await)?;
    resources.health.ok(Component::Pipeline);
    Continue(generation)
}

/// Goes on with what was to be had, or fails for the reason why it is not.
fn or_fail<T>(had: Result<T, String>) -> ControlFlow<Ending, T> {
    had.map_or_else(|reason| Break(Ending::Failed(reason)), Continue)
}

/// Lets a generation live until it fails, unless the run ends before.
async fn until_failure(
    resources: &Resources,
    mut generation: Generation,
    options: RunOptions,
    stop: impl Future<Output = ()>,
) -> ControlFlow<Ending, (Generation, Failure)> {
    let rest = generation.rest();
    tokio::select! {
        biased;
        failing = rest, if options.until_idle => {
            Break(if failing.is_empty() { Ending::Done } else { Ending::Failed(failing.join("; ")) })
        }
        () = stop => Break(wind_down(resources, generation, options).await),
        damage = resources.ledger.damaged() => Break(Ending::Failed(damage.to_string())),
        failure = generation.failure() => Continue((generation, failure)),
    }
}

/// Ends a generation that failed, so that another may begin, unless the run ends with it.
async fn end_failed(
    resources: &Resources,
    generation: Generation,
    failure: &Failure,
    stop: impl Future<Output = ()>,
) -> ControlFlow<Ending> {
    resources.health.starting(Component::Pipeline, failure.to_string());
    let ended = tokio::select! {
        ended = generation.end_wholly(failure) => ended,
        () = stop => return Break(Ending::WorkLeft),
    };
    if let Err(Call { callee, purpose, .. }) = ended {
        return Break(Ending::Hangs(format!(
            "the pipeline failed ({failure}), and {callee} does not end a call to {purpose}, which could take back what is written next: look \
             at the disk and at what answers there, and start again; nothing is lost"
        )));
    }
    resources.actors.all_stopped();
    // Those of a thread that was left behind.
    resources.clients.dismiss();
    Continue(())
}

/// The end of a run that was told to stop and left nothing half done. One that was to read everything has not.
fn stopped(options: RunOptions) -> Ending {
    if options.until_idle { Ending::WorkLeft } else { Ending::Stopped }
}

async fn wind_down(resources: &Resources, mut generation: Generation, options: RunOptions) -> Ending {
    let grace = options.grace;
    tracing::info!(grace_seconds = grace.as_secs(), "stopping: no more is read; what was read is finished");
    if let Some(intake) = &resources.intake {
        intake.close();
    }
    generation.stop_reading();
    let rest = generation.rest();
    tokio::select! {
        // What fails may rest, with its work undone.
        biased;
        failure = generation.failure() => {
            tracing::error!(reason = %failure, "the pipeline failed while it was stopping; the next start does the rest");
            Ending::WorkLeft
        }
        damage = resources.ledger.damaged() => Ending::Failed(damage.to_string()),
        _ = rest => stopped(options),
        () = tokio::time::sleep(grace) => Ending::WorkLeft,
    }
}

/// Waits until the index can be written to. Nothing is read before that, and nothing is lost by it.
async fn prepare_index(resources: &Resources) {
    let mut failures = 0;
    while let Err(error) = resources.index.prepare().await {
        failures += 1;
        if error.show_in(&resources.health) {
            tracing::error!(%error, "the index cannot be used; waiting until it can");
        }
        tokio::time::sleep(PREPARE.delay(failures, fastrand::f64())).await;
    }
    if resources.health.ok(Component::Index) {
        tracing::info!("the index can be used");
    }
}
