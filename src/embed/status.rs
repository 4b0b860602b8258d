//! How the provider is doing, for the health page and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::telemetry::Health;
use crate::telemetry::health::{Component, ComponentHealth};

/// Failed calls in a row, over all calls, from which on the provider counts as degraded. Single failures among
/// successes are everyday life on a network; the metrics count them.
const DEGRADED_AFTER: u64 = 3;

/// A pause that is asked of all calls is told from this length on: nothing else would say why nothing happens.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// The provider's health as the calls see it. Writes a line to the log when it changes, not when a call fails.
#[derive(Debug)]
pub struct ProviderStatus {
    failures: AtomicU64,
    /// How many calls succeeded.
    successes: watch::Sender<u64>,
    /// Until when a long pause lasts that was asked of all calls, and why.
    pause: Mutex<Option<(Instant, String)>>,
    health: Arc<Health>,
}

impl Default for ProviderStatus {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl ProviderStatus {
    /// Kept with the health of everything else, as [`Component::Provider`].
    pub fn new(health: Arc<Health>) -> Self {
        Self { failures: AtomicU64::new(0), successes: watch::Sender::default(), pause: Mutex::default(), health }
    }

    /// The health now.
    pub fn health(&self) -> ComponentHealth {
        self.health.of(Component::Provider)
    }

    /// How many calls gave vectors.
    pub fn successes(&self) -> u64 {
        *self.successes.borrow()
    }

    /// Waits until more calls than these gave vectors.
    pub async fn succeeds_after(&self, successes: u64) {
        let more = self.successes.subscribe().wait_for(|now| *now > successes).await.is_ok();
        debug_assert!(more, "whoever waits holds the other end");
    }

    /// A call gave vectors. That ends no pause: it may have been under way before. All else that was wrong is mended.
    pub fn succeeded(&self) {
        self.successes.send_modify(|successes| *successes += 1);
        self.failures.store(0, Ordering::Relaxed);
        // Kept locked, so that none is asked for between this look and what it leads to.
        let pause = self.pause.lock();
        if let Some(reason) = lasting(&pause) {
            tell_failing(self.health.degraded(Component::Provider, reason), reason);
        } else if self.health.ok(Component::Provider) {
            tracing::info!("the embedding provider works again");
        }
    }

    /// A call failed and will be repeated.
    pub fn failed(&self, reason: &str) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= DEGRADED_AFTER {
            self.fails(reason);
        }
    }

    /// A call failed, and all were asked to wait for so long.
    pub fn asked_to_pause(&self, reason: &str, length: Duration) {
        if length >= LONG_PAUSE {
            let told = format!("{reason}; it asks for a pause of {} s", length.as_secs());
            let asked = Some((Instant::now() + length, told));
            let mut pause = self.pause.lock();
            *pause = pause.take().max(asked);
            drop(pause);
            self.fails(reason);
        }
    }

    /// Calls fail, and not one alone. During a long pause it is that which is told, whatever else fails.
    pub fn fails(&self, reason: &str) {
        let pause = self.pause.lock();
        let reason = lasting(&pause).unwrap_or(reason);
        // A time-out does not repair a wrong key: only a success does.
        tell_failing(self.health.at_least_degraded(Component::Provider, reason), reason);
    }

    /// A call failed, and so will every other until a person acts.
    pub fn needs_a_person(&self, reason: &str) {
        if self.health.unhealthy(Component::Provider, reason) {
            tracing::error!(reason, "the embedding provider refuses every call; trying again slowly");
        }
    }
}

/// Why calls are to wait, while they are.
fn lasting(pause: &Option<(Instant, String)>) -> Option<&str> {
    pause.as_ref().filter(|(until, _)| Instant::now() < *until).map(|(_, reason)| reason.as_str())
}

fn tell_failing(is_news: bool, reason: &str) {
    if is_news {
        tracing::warn!(reason, "the embedding provider fails; waiting and trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::health::HealthState;

    fn told(status: &ProviderStatus) -> (HealthState, String) {
        let ComponentHealth { state, reason, .. } = status.health();
        (state, reason.unwrap_or_default())
    }

    #[test]
    fn single_failures_among_successes_are_no_news() {
        let status = ProviderStatus::default();
        for _ in 0..10 {
            status.failed("timed out");
            status.failed("timed out");
            status.succeeded();
            assert_eq!(status.health().state, HealthState::Ok);
        }
    }

    #[test]
    fn failures_in_a_row_degrade_and_one_success_repairs() {
        let status = ProviderStatus::default();
        (0..DEGRADED_AFTER).for_each(|n| status.failed(&format!("failure {n}")));
        assert_eq!(told(&status), (HealthState::Degraded, "failure 2".to_owned()));
        status.failed("failure 3");
        assert_eq!(told(&status), (HealthState::Degraded, "failure 3".to_owned()), "the newest reason is shown");
        status.succeeded();
        assert_eq!(status.health().state, HealthState::Ok);
    }

    #[test]
    fn what_needs_a_person_stays_until_a_success() {
        let status = ProviderStatus::default();
        status.needs_a_person("wrong key");
        (0..10).for_each(|_| status.failed("timed out"));
        assert_eq!(told(&status), (HealthState::Unhealthy, "wrong key".to_owned()));
        status.succeeded();
        assert_eq!(status.health().state, HealthState::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_told_for_as_long_as_it_lasts_unless_a_person_is_needed() {
        let status = ProviderStatus::default();
        let paused = || (HealthState::Degraded, "not now; it asks for a pause of 31 s".to_owned());
        status.asked_to_pause("not now", LONG_PAUSE + Duration::from_secs(1));
        // It ends before that one.
        status.asked_to_pause("nor now", LONG_PAUSE);
        assert_eq!(told(&status), paused());
        status.fails("timed out");
        assert_eq!(told(&status), paused());
        status.needs_a_person("wrong key");
        assert_eq!(told(&status), (HealthState::Unhealthy, "wrong key".to_owned()));
        status.succeeded();
        assert_eq!(told(&status), paused());
        tokio::time::sleep(LONG_PAUSE * 2).await;
        status.fails("timed out");
        assert_eq!(told(&status), (HealthState::Degraded, "timed out".to_owned()));
        status.succeeded();
        assert_eq!(status.health().state, HealthState::Ok);
    }
}
