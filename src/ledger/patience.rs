//! Calls to the ledger from async code, repeated for as long as the trouble may pass.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::actor::backoff::Backoff;
use crate::actor::offload::on_blocking_thread;
use crate::telemetry::health::Component;

use super::{Ledger, LedgerError, LedgerErrorKind};

const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// Runs a call on a blocking thread until it succeeds. A full or busy disk is waited for: whoever waits here takes no new work,
/// so the pipeline slows down and nothing is lost. Shown in the health of the ledger; logged when that changes.
///
/// Ends only with success: a caller whose generation ends is dropped while it waits. So it is when the file is damaged, which waiting
/// does not cure: see [`Ledger::damaged`].
pub async fn patiently<T, F>(ledger: &Arc<Ledger>, call: F) -> T
where
    T: Send + 'static,
    F: Fn(&Ledger) -> Result<T, LedgerError> + Clone + Send + 'static,
{
    let mut failures = 0;
    loop {
        match blocking(ledger, call.clone()).await {
            Ok(value) => {
                // Whoever failed may be gone by now.
                if ledger.fails.swap(false, Ordering::Relaxed) && ledger.health.ok(Component::Ledger) {
                    tracing::info!("the ledger works again");
                }
                return value;
            }
            Err(error) => {
                failures += 1;
                let passes = error.kind() != LedgerErrorKind::Corrupt;
                ledger.fails.store(passes, Ordering::Relaxed);
                if passes && ledger.health.degraded(Component::Ledger, error.to_string()) {
                    tracing::error!(%error, "the ledger cannot be used; waiting until it can");
                }
                tokio::time::sleep(RETRY.delay(failures, fastrand::f64())).await;
            }
        }
    }
}

/// Runs one call on a blocking thread. A panic in it goes on in the caller.
pub async fn blocking<T, F>(ledger: &Arc<Ledger>, call: F) -> T
where
    T: Send + 'static,
    F: FnOnce(&Ledger) -> T + Send + 'static,
{
    let ledger = ledger.clone();
    on_blocking_thread(move || call(&ledger)).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::ledger::testing::open;
    use crate::telemetry::health::HealthState;

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_waited_for_shows_in_its_health() {
        let (_folder, ledger) = open();
        let (ledger, tries) = (Arc::new(ledger), Arc::new(AtomicU32::new(0)));
        let health = ledger.health.clone();
        let call = move |ledger: &Ledger| match tries.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err(LedgerError::opened_only("read", "be written to", ledger.folder())),
            _ => Ok(health.of(Component::Ledger).state),
        };
        assert_eq!(patiently(&ledger, call).await, HealthState::Degraded);
        assert_eq!(ledger.health.of(Component::Ledger).state, HealthState::Ok);
    }
}
