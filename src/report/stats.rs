//! What `GET /v1/stats` and `vectide stats --json` answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, LedgerError, Totals};
use crate::telemetry::Metrics;
use crate::telemetry::actors::ActorStatus;
use crate::telemetry::health::ComponentHealth;
use crate::telemetry::sources::SourceStatus;

/// Statistics of a pipeline at one moment.
///
/// `run` counts since the process started, `total` since the ledger was made. When no process runs, `run`, `sources`, `actors`,
/// `provider` and `index` are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The pipeline's name.
    pub pipeline: String,
    /// Documents in the index.
    pub documents: u64,
    /// Chunks in the index.
    pub points: u64,
    /// Records in the dead letters.
    pub dead_letters: u64,
    /// Since the ledger was made.
    pub total: Totals,
    /// Since this process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStats>,
    /// By the source's name in the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceStatus>,
    /// By the actor's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actors: BTreeMap<String, ActorStatus>,
    /// What embeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderStats>,
    /// What holds vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexStats>,
}

impl Stats {
    /// What the ledger alone tells: the whole answer when no process runs. Blocks.
    pub fn of_ledger(pipeline: &str, ledger: &Ledger) -> Result<Self, LedgerError> {
        let counts = ledger.counts()?;
        Ok(Self {
            pipeline: pipeline.to_owned(),
            documents: counts.indexed,
            points: counts.points,
            dead_letters: counts.dead_letters,
            total: ledger.totals()?,
            run: None,
            sources: BTreeMap::new(),
            actors: BTreeMap::new(),
            provider: None,
            index: None,
        })
    }
}

/// Counts of this process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunStats {
    /// The number of the process, which stands in `lock` of its data folder as well.
    #[serde(default)]
    pub process: u32,
    /// Texts sent to the provider.
    pub texts_sent: u64,
    /// Tokens sent to the provider, by its own count where it gives one.
    pub tokens_sent: u64,
    /// Texts that needed no call.
    pub cache_hits: u64,
    /// The share of texts that needed no call, 0 to 1.
    pub cache_hit_ratio: f64,
    /// US dollars.
    pub money: f64,
    /// Events settled.
    pub events: u64,
    /// Events by operation, then by outcome; only what occurred. `redelivered` counts repeats and settles nothing.
    pub events_by: BTreeMap<String, BTreeMap<String, u64>>,
    /// How often all actors were built anew from committed positions.
    #[serde(default)]
    pub rebuilds: u64,
    /// Events settled per second, over the whole run.
    pub events_per_second: f64,
    /// How long the process has been running.
    pub uptime_seconds: f64,
}

impl RunStats {
    /// Reads the counters of a process that has been running for so long.
    pub fn read(metrics: &Metrics, uptime_seconds: f64) -> Self {
        let mut events_by: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (operation, outcome, count) in metrics.events.counted() {
            events_by.entry(operation.to_owned()).or_default().insert(outcome.as_str().to_owned(), count);
        }
        let Totals { texts_sent, tokens_sent, cache_hits, money, events } = Totals::of(metrics);
        Self {
            process: std::process::id(),
            texts_sent,
            tokens_sent,
            cache_hits,
            cache_hit_ratio: metrics.cache_hit_ratio(),
            money,
            events,
            events_by,
            rebuilds: metrics.rebuilds.get(),
            events_per_second: if uptime_seconds > 0.0 { events as f64 / uptime_seconds } else { 0.0 },
            uptime_seconds,
        }
    }
}

/// What embeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStats {
    /// The model as metrics and logs call it.
    pub model: String,
    /// Numbers per vector.
    pub dimensions: usize,
    /// How it is doing.
    #[serde(flatten)]
    pub health: ComponentHealth,
}

/// What holds vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// What it is, as `index.type` names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Points that the search graph does not cover yet and that searches scan.
    pub graph_lag_points: u64,
    /// How it is doing.
    #[serde(flatten)]
    pub health: ComponentHealth,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Operation;
    use crate::ledger::testing;
    use crate::telemetry::{CacheTier, Outcome, Reason};

    #[test]
    fn a_run_is_read_from_its_counters() {
        let metrics = Metrics::new();
        metrics.texts.of(Reason::New).inc_by(2);
        metrics.texts.of(Reason::Changed).inc();
        metrics.tokens.of(Reason::New).inc_by(30);
        metrics.money.of(Reason::New).inc_by(0.5);
        metrics.cache_hits.of(CacheTier::Index).inc();
        metrics.events.of(Some(Operation::Patch), Outcome::Indexed).inc_by(9);
        metrics.events.of(Some(Operation::Patch), Outcome::Redelivered).inc();
        metrics.events.of(None, Outcome::DeadLettered).inc();
        metrics.rebuilds.inc();
        let run = RunStats::read(&metrics, 2.0);
        let patch = BTreeMap::from([("indexed".to_owned(), 9), ("redelivered".to_owned(), 1)]);
        let unknown = BTreeMap::from([("dead_lettered".to_owned(), 1)]);
        let expected = RunStats {
            process: std::process::id(),
            texts_sent: 3,
            tokens_sent: 30,
            cache_hits: 1,
            cache_hit_ratio: 0.25,
            money: 0.5,
            events: 10,
            events_by: BTreeMap::from([("patch".to_owned(), patch), ("unknown".to_owned(), unknown)]),
            rebuilds: 1,
            events_per_second: 5.0,
            uptime_seconds: 2.0,
        };
        assert_eq!(run, expected);
        assert_eq!(RunStats::read(&metrics, 0.0).events_per_second, 0.0, "not NaN, which JSON cannot say");
    }

    #[test]
    fn without_a_process_the_ledger_alone_makes_the_answer() {
        let (_folder, ledger) = testing::open();
        ledger.add_totals(&Totals { texts_sent: 3, tokens_sent: 40, cache_hits: 5, money: 0.25, events: 8 }).unwrap();
        let stats = Stats::of_ledger("products", &ledger).unwrap();
        let expected = serde_json::json!({
            "pipeline": "products", "documents": 0, "points": 0, "dead_letters": 0,
            "total": {"texts_sent": 3, "tokens_sent": 40, "cache_hits": 5, "money": 0.25, "events": 8},
        });
        assert_eq!(serde_json::to_value(&stats).unwrap(), expected);
    }
}
