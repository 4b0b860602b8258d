//! The metrics of one run. A stage takes the handles it needs once and increments them directly: no label is hashed per document.

use std::collections::BTreeMap;

use prometheus::core::{Atomic, Collector, Desc, GenericCounter, GenericCounterVec};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::document::Operation;

use super::actors::ActorBoard;
use super::counters::{By, Label};
use super::labels::{CacheTier, Outcome, Reason, RequestStatus, SearchOutcome};
use super::process::ProcessCollector;
use super::sources::{SourceBoard, SourceStatus};

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
    /// `vectide_points`: chunks in the index; set from the ledger whenever metrics are gathered.
    pub points: IntGauge,
    /// `vectide_graph_lag_points`: points that the search graph does not cover yet and that are scanned.
    pub graph_lag: IntGauge,
    requests: IntCounterVec,
    backpressure: CounterVec,
    restarts: IntCounterVec,
    /// `vectide_rebuilds_total`: how often all actors were built anew.
    pub rebuilds: IntCounter,
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
        let r = Families(Registry::new());
        let events: IntCounterVec = r.counters(
            "vectide_events_total",
            "Events by operation and how they were settled, and redeliveries.",
            &["operation", "outcome"],
        )?;
        let texts = r.by("vectide_texts_total", "Texts sent to the embedding provider, by why.", "reason")?;
        let cache_hits =
            r.by("vectide_cache_hits_total", "Texts that needed no call, by where their vector was found.", "tier")?;
        r.0.register(Box::new(HitRatio::new(texts.clone(), cache_hits.clone())?))?;
        r.0.register(Box::new(ProcessCollector::new()?))?;
        Ok(Self {
            embedding_latency: r.histogram(
                "embedding_latency_seconds",
                "Duration of one call to the embedding provider.",
                &LATENCY_BUCKETS,
            )?,
            embedding_queue: r
                .gauge("embedding_queue_size", "Texts that wait for a call to the embedding provider or are in one.")?,
            events: EventCounters(
                OPERATIONS.map(|operation| {
                    By::new(|outcome| events.with_label_values(&[operation_label(operation), outcome]))
                }),
            ),
            texts,
            tokens: r.by("vectide_tokens_total", "Tokens sent to the embedding provider, by why.", "reason")?,
            money: r.by("vectide_money_dollars_total", "Money spent on embeddings in US dollars, by why.", "reason")?,
            cache_hits,
            searches: searches(&r)?,
            freshness: r.histogram(
                "vectide_freshness_seconds",
                "Time from an event in its source, or its arrival, until its document is searchable.",
                &FRESHNESS_BUCKETS,
            )?,
            dead_letters: r.gauge("vectide_dead_letters", "Records in the dead letters.")?,
            documents: r.gauge("vectide_documents", "Documents in the index.")?,
            points: r.gauge("vectide_points", "Chunks in the index.")?,
            graph_lag: r.gauge(
                "vectide_graph_lag_points",
                "Chunks that the search graph does not cover yet; searches scan them.",
            )?,
            requests: r.counters(
                "embedding_requests_total",
                "Calls to the embedding provider by how they ended.",
                &["status", "model"],
            )?,
            backpressure: r.counters(
                "vectide_backpressure_seconds_total",
                "Time that senders waited for room, by edge.",
                &["edge"],
            )?,
            restarts: r.counters("vectide_restarts_total", "Restarts of actors after a panic.", &["actor"])?,
            rebuilds: r
                .counter("vectide_rebuilds_total", "How often all actors were built anew from committed positions.")?,
            source_lag: r.gauges(
                "vectide_source_lag",
                "Records of a partition that are not settled yet.",
                &["source", "partition"],
            )?,
            registry: r.0,
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

    /// All metrics in the Prometheus text format, and what these boards tell of actors and sources.
    pub fn render(&self, actors: &ActorBoard, sources: &SourceBoard) -> String {
        let (actors, sources) = (actors.snapshot(), sources.snapshot());
        let mut families = self.registry.gather();
        families.extend(states("actor", actors.iter().map(|(name, actor)| (name.as_str(), actor.state))));
        families.extend(states("source", sources.iter().map(|(name, source)| (name.as_str(), source.state))));
        families.extend(windows(&sources));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("every family has a name and a value, and memory takes all bytes");
        String::from_utf8(text).expect("the encoder writes UTF-8 only")
    }
}

/// `vectide_actor_state` or `vectide_source_state`, made anew for every page: what is no longer there is not on it.
fn states<'b, L: Label>(of: &str, states: impl Iterator<Item = (&'b str, L)>) -> Vec<MetricFamily> {
    let page = Families(Registry::new());
    let (name, help) =
        (format!("vectide_{of}_state"), format!("1 for the state that the {of} is in, 0 for the others."));
    let gauges = page.gauges(&name, &help, &[of, "state"]).expect("names and labels are valid, as a test shows");
    for (name, state) in states {
        for each in L::VALUES {
            gauges.with_label_values(&[name, each.text()]).set(i64::from(each.place() == state.place()));
        }
    }
    page.0.gather()
}

/// How full the window of each source is, made anew as the states are.
fn windows(sources: &BTreeMap<String, SourceStatus>) -> Vec<MetricFamily> {
    let page = Families(Registry::new());
    let gauges =
        |name, help| page.gauges(name, help, &["source"]).expect("names and labels are valid, as a test shows");
    let documents = gauges("vectide_window_documents", "Documents read, from the oldest that is not settled on.");
    let bytes = gauges("vectide_window_bytes", "Bytes of records read, from the oldest that is not settled on.");
    for (name, source) in sources {
        documents.with_label_values(&[name]).set(source.window_documents.cast_signed());
        bytes.with_label_values(&[name]).set(source.window_bytes.cast_signed());
    }
    page.0.gather()
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

/// Makes metrics and enters them into a registry.
struct Families(Registry);

impl Families {
    fn enter<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter<P: Atomic + 'static>(&self, name: &str, help: &str) -> prometheus::Result<GenericCounter<P>> {
        self.enter(GenericCounter::new(name, help)?)
    }

    fn counters<P: Atomic + 'static>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GenericCounterVec<P>> {
        self.enter(GenericCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Counters with one label.
    fn by<L: Label, P: Atomic + 'static>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<By<L, GenericCounter<P>>> {
        let counters = self.counters(name, help, &[label])?;
        Ok(By::new(|value| counters.with_label_values(&[value])))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.enter(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.enter(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.enter(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
}

fn searches(r: &Families) -> prometheus::Result<SearchMetrics> {
    Ok(SearchMetrics {
        outcomes: r.by("vectide_searches_total", "Searches by how they ended.", "outcome")?,
        seconds: r.histogram(
            "vectide_search_seconds",
            "Time from a search to its answer, the embedding of its text included.",
            &SEARCH_BUCKETS,
        )?,
        texts: r.counter("vectide_search_texts_total", "Texts of searches sent to the embedding provider.")?,
        tokens: r.counter("vectide_search_tokens_total", "Tokens of searches sent to the embedding provider.")?,
        money: r.counter("vectide_search_money_dollars_total", "Money spent on embedding searches in US dollars.")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sources::SourceState;

    fn page(metrics: &Metrics) -> String {
        metrics.render(&ActorBoard::default(), &SourceBoard::default())
    }

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
        let text = page(&metrics);
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
        assert!(page(&metrics).contains("embedding_cache_hit_ratio 0\n"));
        metrics.texts.of(Reason::New).inc_by(1);
        metrics.cache_hits.of(CacheTier::Memory).inc_by(3);
        assert!(page(&metrics).contains("embedding_cache_hit_ratio 0.75\n"));
        assert_eq!(metrics.cache_hit_ratio(), 0.75);
    }

    #[test]
    fn latency_has_the_promised_buckets() {
        let metrics = Metrics::new();
        metrics.embedding_latency.observe(0.03);
        let text = page(&metrics);
        for (bound, count) in [("0.01", 0), ("0.025", 0), ("0.05", 1), ("0.1", 1), ("0.25", 1), ("0.5", 1), ("1", 1)] {
            assert!(text.contains(&format!("embedding_latency_seconds_bucket{{le=\"{bound}\"}} {count}\n")), "{bound}");
        }
    }

    #[test]
    fn each_source_is_in_one_of_its_states_and_shows_its_window_until_it_is_no_longer_read() {
        let (metrics, actors, sources) = (Metrics::new(), ActorBoard::default(), SourceBoard::default());
        sources.register("events").failing("no such file");
        let api = sources.register("api");
        api.set_state(SourceState::Idle);
        api.set_window(3, 300, None);
        let page = || metrics.render(&actors, &sources);
        let lines = |of: &str| -> Vec<String> {
            page().lines().filter(|line| line.starts_with(&format!("vectide_{of}{{"))).map(str::to_owned).collect()
        };
        let told = lines("source_state");
        assert_eq!(told.len(), 2 * SourceState::ALL.len());
        let held: Vec<_> = told.iter().filter(|line| line.ends_with(" 1")).collect();
        let state = |source, state| format!("vectide_source_state{{source=\"{source}\",state=\"{state}\"}} 1");
        assert_eq!(held, [&state("api", "idle"), &state("events", "failing")]);
        let window = |of, source, is| format!("vectide_window_{of}{{source=\"{source}\"}} {is}");
        assert_eq!(lines("window_documents"), [window("documents", "api", 3), window("documents", "events", 0)]);
        sources.keep(|name| name == "api");
        assert_eq!(lines("source_state").len(), SourceState::ALL.len());
        assert_eq!(lines("window_bytes"), [window("bytes", "api", 300)]);
    }

    /// The rules of `promtool check metrics` that can be told from the text alone.
    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let text = crate::testkit::metrics::shown();
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
