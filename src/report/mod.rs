//! What whoever asks is told of a pipeline: statistics, metrics, the progress of a run, and its summary.

pub mod progress;
pub mod stats;
pub mod summary;

use std::sync::Arc;

use tokio::time::Instant;

use crate::embed::provider::Provider;
use crate::index::VectorIndex;
use crate::ledger::{Ledger, LedgerError, Totals};
use crate::pipeline::Resources;
use crate::telemetry::health::{Component, Health};
use crate::telemetry::{ActorBoard, Metrics, SourceBoard};

pub use stats::Stats;

use stats::{IndexStats, ProviderStats, RunStats};

/// Everything that statistics are read from.
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// Counts and totals.
    pub ledger: Arc<Ledger>,
    /// Counts of this run.
    pub metrics: Arc<Metrics>,
    /// What earlier runs counted.
    pub earlier: Totals,
    /// How provider and index are doing.
    pub health: Arc<Health>,
    /// How actors are doing.
    pub actors: ActorBoard,
    /// How sources are doing.
    pub sources: SourceBoard,
    /// The number of points.
    pub index: Arc<dyn VectorIndex>,
    /// What it is, as `index.type` names it.
    pub index_kind: &'static str,
    /// The model.
    pub provider: Arc<dyn Provider>,
    /// When the process started.
    pub started: Instant,
}

impl Report {
    /// Reads those of this pipeline.
    pub fn of(resources: &Resources) -> Self {
        Self {
            pipeline: resources.settings.pipeline.clone(),
            ledger: resources.ledger.clone(),
            metrics: resources.metrics.clone(),
            earlier: resources.earlier,
            health: resources.health.clone(),
            actors: resources.actors.clone(),
            sources: resources.sources.clone(),
            index: resources.index.clone(),
            index_kind: resources.settings.index.kind(),
            provider: resources.provider.clone(),
            started: resources.since,
        }
    }

    /// The statistics of this moment. Blocks.
    pub fn stats(&self) -> Result<Stats, LedgerError> {
        let space = self.provider.space();
        Ok(Stats {
            run: Some(RunStats::read(&self.metrics, self.started.elapsed().as_secs_f64())),
            // Those in the ledger lag behind. Counted after the run's, so that they are never less.
            total: self.earlier + Totals::of(&self.metrics),
            sources: self.sources.snapshot(),
            actors: self.actors.snapshot(),
            provider: Some(ProviderStats {
                model: space.name().to_owned(),
                dimensions: space.dimensions,
                health: self.health.of(Component::Provider),
            }),
            index: Some(IndexStats {
                kind: self.index_kind.to_owned(),
                graph_lag_points: self.index.graph_lag(),
                health: self.health.of(Component::Index),
            }),
            ..Stats::of_ledger(&self.pipeline, &self.ledger)?
        })
    }

    /// All metrics of this moment in the Prometheus text format. Blocks.
    pub fn metrics(&self) -> Result<String, LedgerError> {
        let counts = self.ledger.counts()?;
        let metrics = &self.metrics;
        for (gauge, count) in [
            (&metrics.documents, counts.indexed),
            (&metrics.points, counts.points),
            (&metrics.dead_letters, counts.dead_letters),
            (&metrics.graph_lag, self.index.graph_lag()),
        ] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(metrics.render(&self.actors, &self.sources))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::totals::TotalsKeeper;
    use crate::telemetry::Outcome;
    use crate::testkit::fakes::{self, FakeProvider};

    #[tokio::test]
    async fn the_sums_over_all_runs_have_what_this_one_counted_just_now() {
        let folder = tempfile::tempdir().unwrap();
        for in_all in [5, 10] {
            let (resources, _) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
            let mut totals = TotalsKeeper::new(resources.ledger.clone(), resources.metrics.clone());
            let report = Report::of(&resources);
            for settled in 0..5 {
                assert_eq!(report.stats().unwrap().total.events, in_all - 5 + settled);
                resources.metrics.events.of(None, Outcome::Unchanged).inc();
                totals.flush().await;
            }
            assert_eq!(report.stats().unwrap().total.events, in_all);
            resources.metrics.events.of(None, Outcome::Unchanged).inc();
            let stats = report.stats().unwrap();
            assert_eq!((stats.run.unwrap().events, stats.total.events), (6, in_all + 1), "before it is written");
        }
    }
}
