//! Whether the process lives and whether it is ready, with reasons.

use std::collections::BTreeMap;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::calendar;
use super::labels::labels;

/// Something whose state decides whether the process is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The actors, from the sources to the index writer.
    Pipeline,
    /// What embeds.
    Provider,
    /// What holds vectors.
    Index,
    /// What holds everything else.
    Ledger,
    /// Where events that come over HTTP are written down.
    Journal,
}

/// How a component is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// In one word.
    pub state: HealthState,
    /// What is wrong and what to do, in a sentence. Holds no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it has not been well: an RFC 3339 time in UTC. Absent while it is well, and where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A component that nobody reported on.
const WELL: ComponentHealth = ComponentHealth { state: HealthState::Ok, reason: None, since: None };

labels! {
    /// How a component is doing, in one word. The order is from best to worst.
    #[derive(Default, PartialOrd, Ord)]
    pub enum HealthState {
        /// At work.
        Ok = "ok",
        /// Not at work yet.
        #[default]
        Starting = "starting",
        /// It does not work now and is tried again by itself.
        Degraded = "degraded",
        /// It will not work until a person acts.
        Unhealthy = "unhealthy",
        /// The process was told to end.
        Stopping = "stopping",
    }
}

/// The health of the process. Share it as `Arc<Health>`. Starts with the pipeline starting and all else well.
#[derive(Debug)]
pub struct Health(Mutex<BTreeMap<Component, ComponentHealth>>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::from([(Component::Pipeline, ComponentHealth::default())])))
    }
}

impl Health {
    /// The component works. Returns whether that is news, so that the caller writes one log line per change.
    pub fn ok(&self, component: Component) -> bool {
        self.set(component, HealthState::Ok, None)
    }

    /// The component is not at work yet, or is being rebuilt.
    pub fn starting(&self, component: Component, reason: impl Into<String>) -> bool {
        self.set(component, HealthState::Starting, Some(reason.into()))
    }

    /// The component does not work now and is tried again by itself.
    pub fn degraded(&self, component: Component, reason: impl Into<String>) -> bool {
        self.set(component, HealthState::Degraded, Some(reason.into()))
    }

    /// As [`Health::degraded`], unless the component waits for a person, who would else not learn what to do.
    pub fn at_least_degraded(&self, component: Component, reason: impl Into<String>) -> bool {
        let mut components = self.0.lock();
        let waits = components.get(&component).is_some_and(|health| health.state == HealthState::Unhealthy);
        !waits && set(&mut components, SystemTime::now(), component, HealthState::Degraded, Some(reason.into()))
    }

    /// The component will not work until a person acts.
    pub fn unhealthy(&self, component: Component, reason: impl Into<String>) -> bool {
        self.set(component, HealthState::Unhealthy, Some(reason.into()))
    }

    /// How one component is doing. One that nobody reported on is well.
    pub fn of(&self, component: Component) -> ComponentHealth {
        self.0.lock().get(&component).cloned().unwrap_or(WELL)
    }

    /// Every component that was reported on.
    pub fn snapshot(&self) -> BTreeMap<Component, ComponentHealth> {
        self.0.lock().clone()
    }

    /// The state of the component that is worst off.
    pub fn worst(&self) -> HealthState {
        self.0.lock().values().map(|health| health.state).max().unwrap_or(HealthState::Ok)
    }

    fn set(&self, component: Component, state: HealthState, reason: Option<String>) -> bool {
        set(&mut self.0.lock(), SystemTime::now(), component, state, reason)
    }
}

fn set(
    components: &mut BTreeMap<Component, ComponentHealth>,
    now: SystemTime,
    component: Component,
    state: HealthState,
    reason: Option<String>,
) -> bool {
    let before = components.get(&component).cloned().unwrap_or(WELL);
    let since = match (state, before.state) {
        (HealthState::Ok, _) => None,
        (_, HealthState::Ok) => Some(calendar::of(now)),
        _ => before.since,
    };
    components.insert(component, ComponentHealth { state, reason, since });
    before.state != state
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_fails_does_so_since_it_was_last_well() {
        use HealthState::{Degraded, Ok, Unhealthy};
        let health = Health::default();
        for (second, state, since) in [
            (1, Degraded, Some("1970-01-01T00:00:01.000Z")),
            (2, Degraded, Some("1970-01-01T00:00:01.000Z")),
            (3, Unhealthy, Some("1970-01-01T00:00:01.000Z")),
            (4, Ok, None),
            (5, Unhealthy, Some("1970-01-01T00:00:05.000Z")),
        ] {
            let now = UNIX_EPOCH + Duration::from_secs(second);
            set(&mut health.0.lock(), now, Component::Index, state, None);
            assert_eq!(health.of(Component::Index).since.as_deref(), since, "in second {second}");
        }
    }

    #[test]
    fn what_waits_for_a_person_goes_on_doing_so_when_it_fails_otherwise() {
        let health = Health::default();
        assert!(health.at_least_degraded(Component::Provider, "503"));
        assert!(!health.at_least_degraded(Component::Provider, "502"));
        assert_eq!(health.of(Component::Provider).reason.as_deref(), Some("502"));
        health.unhealthy(Component::Provider, "wrong key");
        assert!(!health.at_least_degraded(Component::Provider, "503"));
        let ComponentHealth { state, reason, .. } = health.of(Component::Provider);
        assert_eq!((state, reason.as_deref()), (HealthState::Unhealthy, Some("wrong key")));
        assert!(health.ok(Component::Provider) && health.at_least_degraded(Component::Provider, "503"));
    }

    #[test]
    fn ready_once_every_component_works_and_only_changes_are_news() {
        let health = Health::default();
        assert_eq!(health.worst(), HealthState::Starting);
        assert!(health.ok(Component::Pipeline));
        assert!(!health.ok(Component::Pipeline));
        assert!(!health.ok(Component::Provider), "nobody had said otherwise");
        assert_eq!(health.worst(), HealthState::Ok);
        assert!(health.degraded(Component::Provider, "503"));
        assert!(!health.degraded(Component::Provider, "502"), "the reason may change without being news");
        assert!(health.unhealthy(Component::Index, "the disk is full"));
        assert_eq!(health.worst(), HealthState::Unhealthy);
        assert_eq!(health.of(Component::Provider).reason.as_deref(), Some("502"));
        assert_eq!(health.of(Component::Ledger).state, HealthState::Ok);
    }
}
