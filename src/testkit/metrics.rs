//! Metrics as they are when every family shows itself.

use crate::telemetry::{ActorBoard, Metrics, SourceBoard};

/// The page of metrics. Families with labels of a run show themselves once a label has a value: here each has one.
pub fn shown() -> String {
    let metrics = Metrics::new();
    metrics.lag("events", "events[0]").set(1);
    metrics.backpressure("batcher").inc();
    metrics.restarts("batcher").inc();
    metrics.requests("a-model");
    let (actors, sources) = (ActorBoard::default(), SourceBoard::default());
    actors.register("batcher");
    sources.register("catalogue");
    metrics.render(&actors, &sources)
}
