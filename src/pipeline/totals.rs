//! What was counted, for all runs: totals in the ledger.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::patience::blocking;
use crate::ledger::{Ledger, Totals};
use crate::telemetry::Metrics;

/// How often totals are written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

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
        let now = Totals::of(&self.metrics);
        let more = Totals {
            texts_sent: now.texts_sent - self.written.texts_sent,
            tokens_sent: now.tokens_sent - self.written.tokens_sent,
            cache_hits: now.cache_hits - self.written.cache_hits,
            money: now.money - self.written.money,
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
    use crate::telemetry::Reason;
    use crate::testkit::fakes::{self, FakeProvider};
    use crate::testkit::faults::{Strike, arm};

    #[tokio::test]
    async fn what_is_written_while_nobody_waits_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let (resources, _) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let (ledger, metrics) = (resources.ledger.clone(), resources.metrics.clone());
        drop(resources);
        let mut keeper = TotalsKeeper::new(ledger.clone(), metrics.clone());
        metrics.texts.of(Reason::New).inc_by(5);
        let held = Arc::strong_count(&ledger);
        // Begun, and mostly not waited for: the thread that writes may be faster.
        let _ = keeper.flush().now_or_never();
        keeper.flush().await;
        while Arc::strong_count(&ledger) > held {
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger.totals().unwrap().texts_sent, 5);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let (resources, _) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let mut keeper = TotalsKeeper::new(resources.ledger.clone(), resources.metrics.clone());
        arm("before the ledger commits", Strike::Fail, 0, 1);
        resources.metrics.texts.of(Reason::New).inc_by(5);
        keeper.flush().await;
        assert_eq!(resources.ledger.totals().unwrap().texts_sent, 0, "the write failed");
        keeper.flush().await;
        assert_eq!(resources.ledger.totals().unwrap().texts_sent, 5);
    }
}
