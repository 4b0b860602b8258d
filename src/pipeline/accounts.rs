//! What calls cost and why: counters for this run, and totals in the ledger for all runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::embed::actor::BatchObserver;
use crate::embed::call::{CallObserver, FinishedCall};
use crate::ledger::patience::blocking;
use crate::ledger::{Ledger, Totals};
use crate::telemetry::metrics::RequestCounters;
use crate::telemetry::{Metrics, Reason, RequestStatus};

/// How often totals are written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Counts the calls to one model.
pub struct Accounts {
    metrics: Arc<Metrics>,
    requests: RequestCounters,
    price_per_token: f64,
}

impl Accounts {
    /// For this model, at this price in US dollars for a million tokens.
    pub fn new(metrics: Arc<Metrics>, model: &str, price_per_million_tokens: f64) -> Self {
        Self { requests: metrics.requests(model), metrics, price_per_token: price_per_million_tokens / 1e6 }
    }
}

/// Shared by all batches; each brings the shares of its reasons.
pub struct SharedAccounts(pub Arc<Accounts>);

impl BatchObserver for SharedAccounts {
    fn of(&self, batch: &Batch) -> Box<dyn CallObserver> {
        let mut shares = Vec::new();
        for reason in Reason::ALL {
            let of_reason = batch.0.iter().filter(|text| text.reason == reason);
            let share = of_reason.map(|text| text.tokens.max(1)).sum::<u64>();
            if share > 0 {
                shares.push((reason, share));
            }
        }
        Box::new(BatchAccounts { accounts: self.0.clone(), shares })
    }
}

struct BatchAccounts {
    accounts: Arc<Accounts>,
    /// The estimated tokens of each reason in the batch.
    shares: Vec<(Reason, u64)>,
}

impl CallObserver for BatchAccounts {
    fn finished(&self, call: FinishedCall) {
        let accounts = &*self.accounts;
        accounts.metrics.embedding_latency.observe(call.latency.as_secs_f64());
        accounts.requests.of(call.status).inc();
        if call.status != RequestStatus::Ok {
            return;
        }
        let texts = split(call.texts as u64, &self.shares);
        let tokens = split(call.tokens, &self.shares);
        for ((reason, texts), (_, tokens)) in texts.zip(tokens) {
            accounts.metrics.texts.of(reason).inc_by(texts);
            accounts.metrics.tokens.of(reason).inc_by(tokens);
            accounts.metrics.money.of(reason).inc_by(tokens as f64 * accounts.price_per_token);
        }
    }
}

/// Divides a whole number by shares so that the parts add up to it.
fn split(whole: u64, shares: &[(Reason, u64)]) -> impl Iterator<Item = (Reason, u64)> {
    let all: u64 = shares.iter().map(|(_, share)| share).sum();
    let (mut passed, mut given) = (0, 0);
    shares.iter().map(move |(reason, share)| {
        passed += share;
        let until = (u128::from(whole) * u128::from(passed) / u128::from(all.max(1))) as u64;
        let part = until - given;
        given = until;
        (*reason, part)
    })
}

/// Adds what this run counted to the totals in the ledger, again and again until it is dropped.
pub struct TotalsKeeper {
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    written: Totals,
    /// Whether they could not be written the last time.
    fails: bool,
}

impl TotalsKeeper {
    /// Nothing of this run was written yet.
    pub fn new(ledger: Arc<Ledger>, metrics: Arc<Metrics>) -> Self {
        Self { ledger, metrics, written: Totals::default(), fails: false }
    }

    /// Writes every second until dropped.
    pub async fn run(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            self.flush().await;
        }
    }

    /// Writes what was counted since the last time. A ledger that cannot be written to is tried again with the next.
    pub async fn flush(&mut self) {
        let now = Totals {
            texts: self.metrics.texts.sum(),
            tokens: self.metrics.tokens.sum(),
            money: self.metrics.money.sum(),
            cache_hits: self.metrics.cache_hits.sum(),
            events: self.metrics.events.settled(),
        };
        let more = Totals {
            texts: now.texts - self.written.texts,
            tokens: now.tokens - self.written.tokens,
            money: now.money - self.written.money,
            cache_hits: now.cache_hits - self.written.cache_hits,
            events: now.events - self.written.events,
        };
        if more == Totals::default() {
            return;
        }
        // Taken for written at once: a caller that stops waiting does not stop the write, and must not write it again.
        let before = std::mem::replace(&mut self.written, now);
        let written = blocking(&self.ledger, move |ledger| ledger.add_totals(&more)).await;
        let failed = std::mem::replace(&mut self.fails, written.is_err());
        if let Err(error) = written {
            self.written = before;
            if !failed {
                tracing::warn!(%error, "totals cannot be written; trying again every second");
            }
        } else if failed {
            tracing::info!("totals are written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::testkit::fakes::{self, FakeProvider};

    #[tokio::test]
    async fn what_is_written_while_nobody_waits_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let (resources, _) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let (ledger, metrics) = (resources.ledger.clone(), resources.metrics.clone());
        drop(resources);
        let mut keeper = TotalsKeeper::new(ledger.clone(), metrics.clone());
        metrics.texts.of(Reason::New).inc_by(5);
        let held = Arc::strong_count(&ledger);
        assert!(keeper.flush().now_or_never().is_none());
        keeper.flush().await;
        while Arc::strong_count(&ledger) > held {
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger.totals().unwrap().texts, 5);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let shares = [(Reason::New, 1), (Reason::Changed, 1), (Reason::Migrated, 1)];
        for whole in [0, 1, 2, 100, u64::MAX] {
            assert_eq!(split(whole, &shares).map(|(_, part)| part).sum::<u64>(), whole);
        }
        let parts: Vec<_> = split(100, &[(Reason::New, 3), (Reason::Changed, 1)]).collect();
        assert_eq!(parts, [(Reason::New, 75), (Reason::Changed, 25)]);
    }
}
