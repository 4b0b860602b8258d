//! Calls to the ledger from async code, repeated for as long as the trouble may pass.

use std::mem;
use std::sync::Arc;
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
    let (mut failures, mut waiting) = (0, None);
    loop {
        match blocking(ledger, call.clone()).await {
            Ok(value) => {
                drop(waiting);
                ledger.works();
                return value;
            }
            Err(error) => {
                failures += 1;
                if error.kind() != LedgerErrorKind::Corrupt {
                    waiting.get_or_insert_with(|| Waiting::on(ledger));
                    ledger.is_waited_for(&error);
                }
                tokio::time::sleep(RETRY.delay(failures, fastrand::f64())).await;
            }
        }
    }
}

/// The calls that wait for a ledger, and what its health says of that. Locked while it is told, so that what was told last is so.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How many calls failed and are tried again.
    waiting: usize,
    /// Whether its health says that a call failed.
    told: bool,
}

impl Ledger {
    fn is_waited_for(&self, error: &LedgerError) {
        let mut patience = self.patience.lock();
        patience.told = true;
        if self.health.degraded(Component::Ledger, error.to_string()) {
            tracing::error!(%error, "the ledger cannot be used; waiting until it can");
        }
    }

    /// A call succeeded. Whoever failed may be gone by now, and while another waits it does not work yet.
    fn works(&self) {
        let mut patience = self.patience.lock();
        if patience.waiting == 0 && mem::take(&mut patience.told) && self.health.ok(Component::Ledger) {
            tracing::info!("the ledger works again");
        }
    }
}

/// A call that failed and is tried again.
struct Waiting<'a>(&'a Ledger);

impl<'a> Waiting<'a> {
    fn on(ledger: &'a Ledger) -> Self {
        ledger.patience.lock().waiting += 1;
        Self(ledger)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.patience.lock().waiting -= 1;
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
    use std::sync::atomic::{AtomicU32, Ordering};

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

    #[tokio::test(start_paused = true)]
    async fn it_works_again_when_nobody_waits_for_it() {
        let (_folder, ledger) = open();
        let ledger = Arc::new(ledger);
        let state = || ledger.health.of(Component::Ledger).state;
        let full = |ledger: &Ledger| -> Result<(), _> {
            Err(LedgerError::opened_only("read", "be written to", ledger.folder()))
        };
        let waits = patiently(&ledger, full);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            patiently(&ledger, |_| Ok(())).await;
            assert_eq!(state(), HealthState::Degraded, "reads work, and a write is waited for");
        };
        tokio::select! {
            () = waits => unreachable!("it always fails"),
            () = others => {}
        }
        patiently(&ledger, |_| Ok(())).await;
        assert_eq!(state(), HealthState::Ok, "whoever waited is gone");
    }
}
