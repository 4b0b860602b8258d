//! Writing to an index that may be down: its sources wait, and nothing is dropped.

use std::sync::Arc;
use std::time::Duration;

use super::target::{IndexError, Progress, RefusedWrite, VectorIndex};
use crate::actor::backoff::Backoff;
use crate::actor::pulse::{Call, Underway};
use crate::ledger::DocumentWrite;
use crate::telemetry::Health;
use crate::telemetry::health::Component;

const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// An index that is written to until it takes what it is given.
pub struct PatientIndex {
    /// The index.
    pub index: Arc<dyn VectorIndex>,
    /// Shows while it fails.
    pub health: Arc<Health>,
    /// Each attempt is a call that must end. The pause before the next is not.
    pub underway: Arc<Underway>,
}

impl PatientIndex {
    /// Writes until it is written. `on_failure` is called at the first failure; it must not block.
    ///
    /// # Errors
    /// [`IndexError::Stale`] and [`IndexError::Lost`]: the writes must be planned again.
    pub(super) async fn write(
        &self,
        writes: &Arc<[DocumentWrite]>,
        on_failure: impl Fn(),
    ) -> Result<Vec<RefusedWrite>, IndexError> {
        let mut failures = 0;
        let refused = loop {
            let error = match self.attempt(writes).await {
                Ok(refused) => break refused,
                Err(error @ (IndexError::Stale(_) | IndexError::Lost(_))) => return Err(error),
                Err(error) => error,
            };
            failures += 1;
            if failures == 1 {
                on_failure();
            }
            if error.show_in(&self.health) {
                tracing::error!(%error, "the index cannot be written to; waiting until it can");
            }
            tokio::time::sleep(RETRY.delay(failures, fastrand::f64())).await;
        };
        if self.health.ok(Component::Index) {
            tracing::info!("the index can be written to again");
        }
        Ok(refused)
    }

    /// One attempt, part by part: a write that goes on is no write that hangs, however long it is. One of a generation that was given up
    /// never ends: it must not take back what the next one writes, and nothing was lost by those that it was made of.
    async fn attempt(&self, writes: &Arc<[DocumentWrite]>) -> Result<Vec<RefusedWrite>, IndexError> {
        self.index.room().await;
        loop {
            let Some(_underway) = self.underway.begin(part(self.index.may_take())) else {
                return std::future::pending().await;
            };
            if let Progress::Done(refused) = self.index.write(writes.clone()).await? {
                return Ok(refused);
            }
        }
    }
}

/// The call that writes one part.
const fn part(may_take: Duration) -> Call {
    Call { callee: "the index", purpose: "write documents", writes: true, may_take }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use tempfile::TempDir;

    use super::*;
    use crate::actor::pulse;
    use crate::index::{Hit, Query};
    use crate::ledger::testing;
    use crate::testkit::World;
    use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault};

    /// The index, and what it is patiently written to by.
    async fn setup() -> (Arc<FakeIndex>, PatientIndex, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (resources, index) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let (health, underway) = (resources.health.clone(), Arc::default());
        (index.clone(), PatientIndex { index, health, underway }, folder)
    }

    fn writes() -> Arc<[DocumentWrite]> {
        [testing::write("a", vec![testing::here("one")])].into()
    }

    /// Does parts of so long before all is done.
    struct InParts(Arc<FakeIndex>, AtomicUsize);

    const PART: Duration = Duration::from_secs(400);

    impl VectorIndex for InParts {
        fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
            async move {
                tokio::time::sleep(PART).await;
                let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if left.is_ok() { Ok(Progress::More) } else { self.0.write(writes).await }
            }
            .boxed()
        }

        fn may_take(&self) -> Duration {
            PART + Duration::from_secs(10)
        }

        fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
            self.0.search(query)
        }
    }

    #[test]
    fn a_write_that_goes_on_hangs_never_and_each_of_its_parts_may_take_what_the_index_says() {
        World::run(1, async |_| {
            let (index, patient, _folder) = setup().await;
            let patient = PatientIndex { index: Arc::new(InParts(index.clone(), AtomicUsize::new(3))), ..patient };
            let watching = async {
                let mut monitor = pulse::Monitor::default();
                for look in 1.. {
                    tokio::time::sleep(pulse::EVERY).await;
                    assert_eq!(monitor.look(look, &patient.underway.calls()), None, "at look {look}");
                }
            };
            let writes = writes();
            tokio::select! {
                done = patient.write(&writes, || {}) => assert!(done.is_ok()),
                () = watching => {}
            }
            assert_eq!(index.writes(), [["a"]]);
        });
    }

    #[test]
    fn an_attempt_is_under_way_and_the_pause_after_it_is_not() {
        World::run(1, async |world| {
            let (index, patient, _folder) = setup().await;
            let underway = patient.underway.clone();
            let calls = || underway.calls().into_iter().map(|(_, call)| call).collect::<Vec<Call>>();
            index.faults.draw(1, 1.0, &[Fault::Unavailable]);
            let written = actix::spawn(async move { patient.write(&writes(), || {}).await });
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(calls(), [], "it waits for its next attempt");
            index.block();
            world.rest().await;
            assert_eq!(calls(), [part(pulse::CALL_MAY_TAKE)]);
            index.faults.stop();
            index.unblock();
            assert!(written.await.unwrap().is_ok());
            assert_eq!(calls(), []);
        });
    }

    #[test]
    fn after_the_close_nothing_is_written_and_nothing_is_said_of_it() {
        World::run(1, async |_| {
            let (index, patient, _folder) = setup().await;
            patient.underway.close();
            let written = tokio::time::timeout(Duration::from_secs(3600), patient.write(&writes(), || {})).await;
            assert!(written.is_err() && index.writes().is_empty());
        });
    }
}
