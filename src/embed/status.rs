//! How the provider is doing, for the health page and the log.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Failed calls in a row, over all calls, from which on the provider counts as degraded. Single failures among
/// successes are everyday life on a network; the metrics count them.
const DEGRADED_AFTER: u32 = 3;

/// How the provider is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Calls succeed.
    Healthy,
    /// Calls fail for now and are repeated; the reason of the newest failure.
    Degraded(String),
    /// No call will succeed until a person acts; what to do.
    Unhealthy(String),
}

/// The provider's health as the calls see it. Writes a line to the log when it changes, not when a call fails.
#[derive(Debug)]
pub struct ProviderStatus {
    failures: AtomicU32,
    /// Spares every successful call the lock.
    healthy: AtomicBool,
    health: Mutex<Health>,
}

impl Default for ProviderStatus {
    fn default() -> Self {
        Self { failures: AtomicU32::new(0), healthy: AtomicBool::new(true), health: Mutex::new(Health::Healthy) }
    }
}

impl ProviderStatus {
    /// The health now.
    pub fn health(&self) -> Health {
        if self.healthy.load(Ordering::Acquire) {
            return Health::Healthy;
        }
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A call gave vectors.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
        if !self.healthy.load(Ordering::Acquire) {
            self.change(Health::Healthy);
        }
    }

    /// A call failed and will be repeated.
    pub fn failed(&self, reason: &str) {
        let before = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_add(1)));
        if before.unwrap_or_else(|n| n).saturating_add(1) >= DEGRADED_AFTER {
            self.change(Health::Degraded(reason.to_owned()));
        }
    }

    /// A call failed, and so will every other until a person acts.
    pub fn needs_a_person(&self, reason: &str) {
        self.change(Health::Unhealthy(reason.to_owned()));
    }

    fn change(&self, to: Health) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*health, &to) {
            // A time-out does not repair a wrong key: only a success does.
            (Health::Unhealthy(_), Health::Degraded(_)) => return,
            (Health::Healthy | Health::Degraded(_), Health::Unhealthy(reason)) => {
                tracing::error!(reason, "the embedding provider refuses every call; trying again slowly");
            }
            (Health::Healthy, Health::Degraded(reason)) => {
                tracing::warn!(reason, "the embedding provider fails; waiting and trying again");
            }
            (Health::Degraded(_) | Health::Unhealthy(_), Health::Healthy) => {
                tracing::info!("the embedding provider works again");
            }
            _ => {}
        }
        self.healthy.store(to == Health::Healthy, Ordering::Release);
        *health = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_failures_among_successes_are_no_news() {
        let status = ProviderStatus::default();
        for _ in 0..10 {
            status.failed("timed out");
            status.failed("timed out");
            status.succeeded();
            assert_eq!(status.health(), Health::Healthy);
        }
    }

    #[test]
    fn failures_in_a_row_degrade_and_one_success_repairs() {
        let status = ProviderStatus::default();
        (0..DEGRADED_AFTER).for_each(|n| status.failed(&format!("failure {n}")));
        assert_eq!(status.health(), Health::Degraded("failure 2".into()));
        status.failed("failure 3");
        assert_eq!(status.health(), Health::Degraded("failure 3".into()), "the newest reason is shown");
        status.succeeded();
        assert_eq!(status.health(), Health::Healthy);
    }

    #[test]
    fn what_needs_a_person_stays_until_a_success() {
        let status = ProviderStatus::default();
        status.needs_a_person("wrong key");
        (0..10).for_each(|_| status.failed("timed out"));
        assert_eq!(status.health(), Health::Unhealthy("wrong key".into()));
        status.succeeded();
        assert_eq!(status.health(), Health::Healthy);
    }
}
