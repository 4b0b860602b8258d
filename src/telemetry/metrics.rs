//! The metrics of one run. A stage takes the handles it needs once and increments them directly: no label is hashed per document.

use prometheus::core::{Atomic, Collector, Desc, GenericCounter, GenericCounterVec};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::document::Operation;

use super::actors::ActorState;
use super::counters::{By, Label};
use super::labels::{CacheTier, Outcome, Reason, RequestStatus, SearchOutcome};
use super::process::ProcessCollector;

/// Events by operation and outcome.
#[derive(Clone)]
pub struct EventCounters([By<Outcome>; OPERATIONS.len()]);

/// `None`: the record did not get as far as an operation (broken, or of no interest).
const OPERATIONS: [Option<Operation>; 4] =
    [Some(Operation::Upsert), Some(Operation::Patch), Some(Operation::Delete), None];

fn operation_label(operation: Option<Operation>) -> &'static str {
    operation.map_or("unknown", Operation::as_str)
}

impl EventCounters {
    /// The counter of one kind.
    pub fn of(&self, operation: Option<Operation>, outcome: Outcome) -> &IntCounter {
        let row = match operation {
            Some(Operation::Upsert) => 0,
            Some(Operation::Patch) => 1,
            Some(Operation::Delete) => 2,
            None => 3,
        };
        self.0[row].of(outcome)
    }

    /// Every kind that occurred: (operation, outcome, count).
    pub fn counted(&self) -> impl Iterator<Item = (&'static str, Outcome, u64)> {
        OPERATIONS.into_iter().flat_map(move |operation| {
            Outcome::ALL
                .into_iter()
                .map(move |outcome| (operation_label(operation), outcome, self.of(operation, outcome).get()))
                .filter(|(_, _, count)| *count > 0)
        })
    }

    /// Events that were settled: all outcomes but `Redelivered`.
    pub fn settled(&self) -> u64 {
        self.counted().filter(|(_, outcome, _)| *outcome != Outcome::Redelivered).map(|(_, _, count)| count).sum()
    }
}

/// What searches do and cost. Not part of what documents cost: `texts`, `tokens` and `money` of the run leave them out.
#[derive(Clone)]
pub struct SearchMetrics {
    /// `vectide_searches_total`.
    pub outcomes: By<SearchOutcome>,
    /// `vectide_search_seconds`: from the question to its answer.
    pub seconds: Histogram,
    /// `vectide_search_texts_total`: questions that were sent to the provider.
    pub texts: IntCounter,
    /// `vectide_search_tokens_total`: their tokens.
    pub tokens: IntCounter,
    /// `vectide_search_money_dollars_total`: what they cost.
    pub money: Counter,
}

/// How full the window of one source is.
#[derive(Clone)]
pub struct WindowGauges {
    /// Documents read, from the oldest that is not settled on, and what was let go and is still on its way.
    pub documents: IntGauge,
    /// Their bytes.
    pub bytes: IntGauge,
    /// The most documents there may be.
    pub limit_documents: IntGauge,
}

/// The metrics of one run, with a registry of its own. Share it as `Arc<Metrics>`.
pub struct Metrics {
    registry: Registry,
    /// `embedding_latency_seconds`: one call to the provider, answered or not.
    pub embedding_latency: Histogram,
    /// `embedding_queue_size`: texts that wait for a call or are in one.
    pub embedding_queue: IntGauge,
    /// `vectide_events_total{operation,outcome}`.
    pub events: EventCounters,
    /// `vectide_texts_total{reason}`: texts sent to the provider.
    pub texts: By<Reason>,
    /// `vectide_tokens_total{reason}`: tokens sent to the provider.
    pub tokens: By<Reason>,
    /// `vectide_money_dollars_total{reason}`: what they cost.
    pub money: By<Reason, Counter>,
    /// `vectide_cache_hits_total{tier}`: texts that needed no call.
    pub cache_hits: By<CacheTier>,
    /// `vectide_search*`.
    pub searches: SearchMetrics,
    /// `vectide_freshness_seconds`: from the event in the source (its arrival, where the event tells no time) to searchable.
    pub freshness: Histogram,
    /// `vectide_dead_letters`: set from the ledger whenever metrics are gathered.
    pub dead_letters: IntGauge,
    /// `vectide_documents`: documents in the index; set from the ledger whenever metrics are gathered.
    pub documents: IntGauge,
    /// `vectide_points`: chunks in the index; set from the index whenever metrics are gathered.
    pub points: IntGauge,
    /// `vectide_graph_lag_points`: points that the search graph does not cover yet and that are scanned.
    pub graph_lag: IntGauge,
    requests: IntCounterVec,
    backpressure: CounterVec,
    restarts: IntCounterVec,
    actor_state: IntGaugeVec,
    /// `vectide_rebuilds_total`: how often all actors were built anew.
    pub rebuilds: IntCounter,
    window_documents: IntGaugeVec,
    window_bytes: IntGaugeVec,
    window_limit_documents: IntGaugeVec,
    source_lag: IntGaugeVec,
}

const LATENCY_BUCKETS: [f64; 7] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const SEARCH_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const FRESHNESS_BUCKETS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        Self::build().expect("names and labels are constants that are valid and unique, as a test shows")
    }

    fn build() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = &registry;
        let events: IntCounterVec = counters(
            r,
            "vectide_events_total",
            "Events by operation and how they were settled, and redeliveries.",
            &["operation", "outcome"],
        )?;
        let texts = by(r, "vectide_texts_total", "Texts sent to the embedding provider, by why.", "reason")?;
        let found = "Texts that needed no call, by where their vector was found.";
        let cache_hits = by(r, "vectide_cache_hits_total", found, "tier")?;
        r.register(Box::new(HitRatio::new(texts.clone(), cache_hits.clone())?))?;
        r.register(Box::new(ProcessCollector::new()?))?;
        let call = "Duration of one call to the embedding provider.";
        let queue = "Texts that wait for a call to the embedding provider or are in one.";
        let tokens = "Tokens sent to the embedding provider, by why.";
        let money = "Money spent on embeddings in US dollars, by why.";
        let fresh = "Time from an event in its source, or its arrival, until its document is searchable.";
        let uncovered = "Chunks that the search graph does not cover yet; searches scan them.";
        let requests = "Calls to the embedding provider by how they ended.";
        let waited = "Time that senders waited for room, by edge.";
        let state = "1 for the state that an actor is in, 0 for the others.";
        let rebuilt = "How often all actors were built anew from committed positions.";
        let read = "Documents read, from the oldest that is not settled on.";
        let read_bytes = "Bytes of records read, from the oldest that is not settled on.";
        let most_read = "The most documents that may be read and not yet settled.";
        let unsettled = "Records of a partition that are not settled yet.";
        Ok(Self {
            embedding_latency: histogram(r, "embedding_latency_seconds", call, &LATENCY_BUCKETS)?,
            embedding_queue: gauge(r, "embedding_queue_size", queue)?,
            events: EventCounters(
                OPERATIONS.map(|operation| {
                    By::new(|outcome| events.with_label_values(&[operation_label(operation), outcome]))
                }),
            ),
            texts,
            tokens: by(r, "vectide_tokens_total", tokens, "reason")?,
            money: by(r, "vectide_money_dollars_total", money, "reason")?,
            cache_hits,
            searches: searches(r)?,
            freshness: histogram(r, "vectide_freshness_seconds", fresh, &FRESHNESS_BUCKETS)?,
            dead_letters: gauge(r, "vectide_dead_letters", "Records in the dead letters.")?,
            documents: gauge(r, "vectide_documents", "Documents in the index.")?,
            points: gauge(r, "vectide_points", "Chunks in the index.")?,
            graph_lag: gauge(r, "vectide_graph_lag_points", uncovered)?,
            requests: counters(r, "embedding_requests_total", requests, &["status", "model"])?,
            backpressure: counters(r, "vectide_backpressure_seconds_total", waited, &["edge"])?,
            restarts: counters(r, "vectide_restarts_total", "Restarts of actors after a panic.", &["actor"])?,
            actor_state: gauges(r, "vectide_actor_state", state, &["actor", "state"])?,
            rebuilds: counter(r, "vectide_rebuilds_total", rebuilt)?,
            window_documents: gauges(r, "vectide_window_documents", read, &["source"])?,
            window_bytes: gauges(r, "vectide_window_bytes", read_bytes, &["source"])?,
            window_limit_documents: gauges(r, "vectide_window_limit_documents", most_read, &["source"])?,
            source_lag: gauges(r, "vectide_source_lag", unsettled, &["source", "partition"])?,
            registry,
        })
    }

    /// `embedding_requests_total` of one model.
    pub fn requests(&self, model: &str) -> By<RequestStatus> {
        By::new(|status| self.requests.with_label_values(&[status, model]))
    }

    /// `vectide_backpressure_seconds_total` of one edge, named by the stage it leads to.
    pub fn backpressure(&self, edge: &str) -> Counter {
        self.backpressure.with_label_values(&[edge])
    }

    /// `vectide_restarts_total` of one actor.
    pub fn restarts(&self, actor: &str) -> IntCounter {
        self.restarts.with_label_values(&[actor])
    }

    /// Sets `vectide_actor_state` of one actor.
    pub fn set_actor_state(&self, actor: &str, state: ActorState) {
        for each in ActorState::ALL {
            self.actor_state.with_label_values(&[actor, each.as_str()]).set(i64::from(each == state));
        }
    }

    /// The window of one source.
    pub fn window(&self, source: &str) -> WindowGauges {
        WindowGauges {
            documents: self.window_documents.with_label_values(&[source]),
            bytes: self.window_bytes.with_label_values(&[source]),
            limit_documents: self.window_limit_documents.with_label_values(&[source]),
        }
    }

    /// `vectide_source_lag` of one partition.
    pub fn lag(&self, source: &str, partition: &str) -> IntGauge {
        self.source_lag.with_label_values(&[source, partition])
    }

    /// Takes a partition that is read by others from the page.
    pub fn forget_lag(&self, source: &str, partition: &str) {
        // It may never have been there.
        let _ = self.source_lag.remove_label_values(&[source, partition]);
    }

    /// The share of texts that needed no call, 0 to 1; 0 before the first text.
    pub fn cache_hit_ratio(&self) -> f64 {
        hit_ratio(self.cache_hits.sum(), self.texts.sum())
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("every family was registered with a name and a value, and memory takes all bytes");
        String::from_utf8(text).expect("the encoder writes UTF-8 only")
    }
}

fn hit_ratio(hits: u64, sent: u64) -> f64 {
    match hits + sent {
        0 => 0.0,
        asked => hits as f64 / asked as f64,
    }
}

/// `embedding_cache_hit_ratio`, worked out whenever metrics are gathered.
struct HitRatio {
    texts: By<Reason>,
    hits: By<CacheTier>,
    ratio: Gauge,
}

impl HitRatio {
    fn new(texts: By<Reason>, hits: By<CacheTier>) -> prometheus::Result<Self> {
        let help = "Share of texts that needed no call to the embedding provider, since the start of this run.";
        Ok(Self { texts, hits, ratio: Gauge::new("embedding_cache_hit_ratio", help)? })
    }
}

impl Collector for HitRatio {
    fn desc(&self) -> Vec<&Desc> {
        self.ratio.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.ratio.set(hit_ratio(self.hits.sum(), self.texts.sum()));
        self.ratio.collect()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter<P: Atomic + 'static>(r: &Registry, name: &str, help: &str) -> prometheus::Result<GenericCounter<P>> {
    register(r, GenericCounter::new(name, help)?)
}

fn counters<P: Atomic + 'static>(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<GenericCounterVec<P>> {
    register(r, GenericCounterVec::new(Opts::new(name, help), labels)?)
}

/// Counters with one label.
fn by<L: Label, P: Atomic + 'static>(
    r: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<By<L, GenericCounter<P>>> {
    let counters = counters(r, name, help, &[label])?;
    Ok(By::new(|value| counters.with_label_values(&[value])))
}

fn gauge(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(r, IntGauge::new(name, help)?)
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(r, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histogram(r: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    register(r, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
}

fn searches(r: &Registry) -> prometheus::Result<SearchMetrics> {
    let answered = "Time from a search to its answer, the embedding of its text included.";
    let money = "Money spent on embedding searches in US dollars.";
    Ok(SearchMetrics {
        outcomes: by(r, "vectide_searches_total", "Searches by how they ended.", "outcome")?,
        seconds: histogram(r, "vectide_search_seconds", answered, &SEARCH_BUCKETS)?,
        texts: counter(r, "vectide_search_texts_total", "Texts of searches sent to the embedding provider.")?,
        tokens: counter(r, "vectide_search_tokens_total", "Tokens of searches sent to the embedding provider.")?,
        money: counter(r, "vectide_search_money_dollars_total", money)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_leads_to_a_counter_of_its_own() {
        let metrics = Metrics::new();
        for operation in OPERATIONS {
            for outcome in Outcome::ALL {
                metrics.events.of(operation, outcome).inc();
            }
        }
        Reason::ALL.iter().for_each(|reason| metrics.texts.of(*reason).inc());
        CacheTier::ALL.iter().for_each(|tier| metrics.cache_hits.of(*tier).inc());
        let requests = metrics.requests("a-model");
        RequestStatus::ALL.iter().for_each(|status| requests.of(*status).inc());
        let text = metrics.render();
        for operation in OPERATIONS.map(operation_label) {
            for outcome in Outcome::ALL.map(Outcome::as_str) {
                let line = format!("vectide_events_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} 1\n");
                assert!(text.contains(&line), "{line}");
            }
        }
        for status in RequestStatus::ALL.map(RequestStatus::as_str) {
            let line = format!("embedding_requests_total{{model=\"a-model\",status=\"{status}\"}} 1\n");
            assert!(text.contains(&line), "{line}");
        }
        assert_eq!(text.matches("vectide_texts_total{").count(), Reason::ALL.len());
        assert_eq!(text.matches("vectide_cache_hits_total{").count(), CacheTier::ALL.len());
        assert_eq!(metrics.events.settled(), 24, "28 events, of which 4 redeliveries settle nothing");
    }

    #[test]
    fn the_hit_ratio_is_that_of_the_moment_it_is_asked_for() {
        let metrics = Metrics::new();
        assert!(metrics.render().contains("embedding_cache_hit_ratio 0\n"));
        metrics.texts.of(Reason::New).inc_by(1);
        metrics.cache_hits.of(CacheTier::Memory).inc_by(3);
        assert!(metrics.render().contains("embedding_cache_hit_ratio 0.75\n"));
        assert_eq!(metrics.cache_hit_ratio(), 0.75);
    }

    #[test]
    fn latency_has_the_promised_buckets() {
        let metrics = Metrics::new();
        metrics.embedding_latency.observe(0.03);
        let text = metrics.render();
        for (bound, count) in [("0.01", 0), ("0.025", 0), ("0.05", 1), ("0.1", 1), ("0.25", 1), ("0.5", 1), ("1", 1)] {
            assert!(text.contains(&format!("embedding_latency_seconds_bucket{{le=\"{bound}\"}} {count}\n")), "{bound}");
        }
    }

    /// The rules of `promtool check metrics` that can be told from the text alone.
    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let text = crate::testkit::metrics::shown().render();
        let types: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        // What the system tells of the process is not everywhere.
        let ours = types.iter().filter(|(name, _)| !name.starts_with("process_"));
        assert_eq!(ours.count(), 27, "{types:?}");
        for (name, kind) in types {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
            assert!(help.is_some_and(|help| help.ends_with('.')), "{name}");
        }
    }
}
