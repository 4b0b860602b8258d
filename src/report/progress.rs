//! The progress of a run for people: a line that is rewritten on a terminal, and log lines elsewhere.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::dedup::{Departed, Departures};
use crate::pipeline::Resources;
use crate::telemetry::figures::{count, counted, money, rate, span};
use crate::telemetry::health::{Component, ComponentHealth, Health, HealthState};
use crate::telemetry::sources::SourceState;
use crate::telemetry::terminal::{printable, shortened};
use crate::telemetry::{CacheTier, Metrics, Outcome, SourceBoard, status_line};

/// How often the line on a terminal is rewritten.
const REDRAW: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal. A shorter run writes none.
const LINE: Duration = Duration::from_secs(10);
/// Over how long rates are measured.
const MEMORY: Duration = Duration::from_secs(10);

/// Shows how a run gets on.
pub struct Progress {
    /// Counts of this run.
    pub metrics: Arc<Metrics>,
    /// How sources are doing.
    pub sources: SourceBoard,
    /// How provider and index are doing.
    pub health: Arc<Health>,
    /// Documents that left the index for want of a text.
    pub departures: Arc<Departures>,
    /// When the run began.
    pub started: Instant,
}

/// What a run did until one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Since the run started.
    pub elapsed: Duration,
    /// Records by outcome, as [`Outcome::ALL`] orders them.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Texts sent to the provider.
    pub texts: u64,
    /// Tokens sent.
    pub tokens: u64,
    /// US dollars spent.
    pub money: f64,
    /// Texts that needed no call, as [`CacheTier::ALL`] orders them.
    pub hits: [u64; CacheTier::ALL.len()],
    /// Bytes left to read or to settle, of the sources that have an end; `None` when there is none that is not finished.
    pub remaining: Option<u64>,
    /// Sources that cannot read: name and reason.
    pub failing: Vec<(String, String)>,
    /// What everything waits for because it fails, and why.
    pub awaited: Vec<(&'static str, String)>,
    /// Documents that left the index for want of a text.
    pub departed: Option<Departed>,
}

/// How fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// Records settled per second.
    pub records: f64,
    /// Until everything is read and settled.
    pub left: Option<Duration>,
}

impl Progress {
    /// Shows that of this pipeline, which begins to run now.
    pub fn of(resources: &Resources) -> Self {
        Self {
            metrics: resources.metrics.clone(),
            sources: resources.sources.clone(),
            health: resources.health.clone(),
            departures: resources.departures.clone(),
            started: Instant::now(),
        }
    }

    /// Shows progress until it is dropped; takes its line away then.
    pub async fn run(&self) -> Infallible {
        let _erased = EraseOnDrop;
        let (mut meter, mut told) = (Meter::default(), Snapshot::default());
        loop {
            let terminal = status_line::terminal();
            tokio::time::sleep(if terminal.is_some() { REDRAW } else { LINE }).await;
            let now = self.snapshot();
            let line = line(&now, meter.pace(&now));
            match terminal {
                Some(width) => status_line::show(&shortened(&printable(&line), width.saturating_sub(1))),
                None if now.is_news_after(&told) => {
                    tracing::info!("{line}");
                    told = now;
                }
                // A log that is kept for months needs no line for every ten seconds in which nothing happened.
                None => {}
            }
        }
    }

    /// What the run did until now.
    pub fn snapshot(&self) -> Snapshot {
        let metrics = &self.metrics;
        let mut outcomes = [0; Outcome::ALL.len()];
        for (_, outcome, events) in metrics.events.counted() {
            outcomes[outcome as usize] += events;
        }
        let sources = self.sources.snapshot();
        let reading = sources.values().filter(|source| source.state == SourceState::Reading);
        let left = reading.filter_map(|source| Some(source.remaining_bytes? + source.window_bytes));
        let failing = sources.iter().filter_map(|(name, source)| Some((name.clone(), source.reason.clone()?)));
        Snapshot {
            elapsed: self.started.elapsed(),
            outcomes,
            texts: metrics.texts.sum(),
            tokens: metrics.tokens.sum(),
            money: metrics.money.sum(),
            hits: CacheTier::ALL.map(|tier| metrics.cache_hits.of(tier).get()),
            remaining: left.reduce(|one, other| one + other),
            failing: failing.collect(),
            awaited: self.awaited(),
            departed: self.departures.of_this_run(),
        }
    }

    fn awaited(&self) -> Vec<(&'static str, String)> {
        let ill = |(component, name)| {
            let ComponentHealth { state, reason, .. } = self.health.of(component);
            let fails = matches!(state, HealthState::Degraded | HealthState::Unhealthy);
            reason.filter(|_| fails).map(|reason| (name, reason))
        };
        [
            (Component::Provider, "the embedding provider"),
            (Component::Index, "the index"),
            (Component::Ledger, "the ledger"),
        ]
        .into_iter()
        .filter_map(ill)
        .collect()
    }
}

struct EraseOnDrop;

impl Drop for EraseOnDrop {
    fn drop(&mut self) {
        status_line::show("");
    }
}

impl Snapshot {
    pub(super) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Whether something happened since, or does not although it should.
    fn is_news_after(&self, before: &Self) -> bool {
        let happened = *before != Self { elapsed: before.elapsed, ..self.clone() };
        happened || !self.failing.is_empty() || !self.awaited.is_empty()
    }

    /// Records that were settled: a redelivery settles nothing.
    pub(super) fn settled(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() - self.of(Outcome::Redelivered)
    }
}

/// Measures rates over the last seconds.
#[derive(Default)]
struct Meter(VecDeque<Mark>);

struct Mark {
    at: Duration,
    settled: u64,
    remaining: Option<u64>,
}

impl Meter {
    fn pace(&mut self, now: &Snapshot) -> Pace {
        self.0.push_back(Mark { at: now.elapsed, settled: now.settled(), remaining: now.remaining });
        while self.0.get(1).is_some_and(|second| now.elapsed - second.at >= MEMORY) {
            self.0.pop_front();
        }
        let start = Mark { at: Duration::ZERO, settled: 0, remaining: None };
        let first = if self.0.len() > 1 { &self.0[0] } else { &start };
        let seconds = (now.elapsed - first.at).as_secs_f64();
        if seconds == 0.0 {
            return Pace::default();
        }
        let read = first.remaining.zip(now.remaining).and_then(|(before, left)| before.checked_sub(left));
        let left = read.zip(now.remaining).filter(|(read, _)| *read > 0);
        Pace {
            records: (now.settled() - first.settled) as f64 / seconds,
            left: left.map(|(read, left)| Duration::from_secs_f64(left as f64 / read as f64 * seconds)),
        }
    }
}

/// One line about a run at one moment.
pub fn line(now: &Snapshot, pace: Pace) -> String {
    let mut parts = vec![
        counted(now.settled(), "record"),
        rate(pace.records),
        format!("{} from cache", count(now.hits.iter().sum())),
        format!("{} sent", counted(now.texts, "text")),
    ];
    if now.tokens > 0 {
        parts.push(counted(now.tokens, "token"));
    }
    if now.money > 0.0 {
        parts.push(money(now.money));
    }
    if now.of(Outcome::DeadLettered) > 0 {
        parts.push(counted(now.of(Outcome::DeadLettered), "dead letter"));
    }
    if let Some(left) = pace.left {
        parts.push(format!("{} left", span(left)));
    }
    parts.extend(now.failing.iter().map(|(source, reason)| format!("source `{source}` cannot read: {reason}")));
    parts.extend(now.awaited.iter().map(|(name, reason)| format!("waiting for {name}: {reason}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(seconds: u64, indexed: u64, remaining: Option<u64>) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(seconds),
            outcomes: [indexed, 0, 0, 0, 0, 0, 0],
            remaining,
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.pace(&snapshot(0, 0, Some(1_000))), Pace::default());
        let slow = meter.pace(&snapshot(10, 100, Some(900)));
        assert_eq!(slow, Pace { records: 10.0, left: Some(Duration::from_secs(90)) });
        let fast = meter.pace(&snapshot(20, 1_100, Some(400)));
        assert_eq!(fast, Pace { records: 100.0, left: Some(Duration::from_secs(8)) });
        let grown = meter.pace(&snapshot(30, 1_100, Some(5_000)));
        assert_eq!(grown, Pace { records: 0.0, left: None }, "a file that grows faster than it is read has no end");
        assert_eq!(meter.pace(&snapshot(40, 1_200, None)).left, None);
        assert_eq!(
            Meter::default().pace(&snapshot(4, 8, None)).records,
            2.0,
            "before anything was measured: since the start"
        );
    }

    #[tokio::test]
    async fn what_was_read_and_is_not_settled_is_left_too() {
        let progress = Progress {
            metrics: Arc::new(Metrics::new()),
            sources: SourceBoard::default(),
            health: Arc::default(),
            departures: Arc::default(),
            started: Instant::now(),
        };
        assert_eq!(progress.snapshot().remaining, None);
        let (file, api) = (progress.sources.register("file"), progress.sources.register("api"));
        file.set_window(10, 5_000, Some(0));
        api.set_window(7, 700, None);
        assert_eq!(progress.snapshot().remaining, Some(5_000), "what has no end is in no forecast");
        file.set_window(0, 0, Some(0));
        file.set_state(SourceState::Finished);
        assert_eq!(progress.snapshot().remaining, None);
    }

    #[test]
    fn where_there_is_no_terminal_only_news_are_told() {
        let (start, idle, later) = (Snapshot::default(), snapshot(10, 5, None), snapshot(20, 5, None));
        assert!(idle.is_news_after(&start) && snapshot(20, 6, None).is_news_after(&idle));
        assert!(!later.is_news_after(&idle), "nothing happened in these ten seconds");
        let failing = |now: &Snapshot| Snapshot { failing: vec![("api".into(), "no such file".into())], ..now.clone() };
        let awaited = |now: &Snapshot| Snapshot { awaited: vec![("the index", "no answer".into())], ..now.clone() };
        for ill in [failing, awaited] {
            assert!(ill(&later).is_news_after(&ill(&idle)), "it is told for as long as it lasts");
            assert!(later.is_news_after(&ill(&idle)), "and that it is over");
        }
    }

    #[test]
    fn a_line_says_what_there_is_to_say() {
        let start = Snapshot::default();
        assert_eq!(line(&start, Pace::default()), "0 records, 0/s, 0 from cache, 0 texts sent");
        let full = Snapshot {
            outcomes: [1_000, 0, 200, 30, 4, 5, 600],
            texts: 900,
            tokens: 12_345,
            money: 0.0042,
            hits: [100, 20, 3, 0],
            failing: vec![("api".into(), "no such file".into())],
            awaited: vec![("the index", "Qdrant at http://h:6334: no answer".into())],
            ..Snapshot::default()
        };
        let pace = Pace { records: 1_234.5, left: Some(Duration::from_secs(75)) };
        let expected = "1,239 records, 1,235/s, 123 from cache, 900 texts sent, 12,345 tokens, $0.0042, 5 dead letters, \
                        1 min 15 s left, source `api` cannot read: no such file, waiting for the index: Qdrant at http://h:6334: no answer";
        assert_eq!(line(&full, pace), expected);
    }
}
