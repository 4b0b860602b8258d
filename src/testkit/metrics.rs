//! Metrics as they are when every family shows itself.

use crate::telemetry::Metrics;
use crate::telemetry::actors::ActorState;

/// Families with labels of a run show themselves once a label has a value: here each has one.
pub fn shown() -> Metrics {
    let metrics = Metrics::new();
    metrics.window("catalogue").documents.set(1);
    metrics.lag("events", "events[0]").set(1);
    metrics.backpressure("batcher").inc();
    metrics.restarts("batcher").inc();
    metrics.set_actor_state("batcher", ActorState::Restarting);
    metrics.requests("a-model");
    metrics
}
