//! What a run tells about itself: metrics, statistics, health, the state of its actors. All of it is read from atomics and
//! small locks; no actor is asked by message.

pub mod actors;
pub mod board;
pub mod calendar;
pub mod counters;
pub mod figures;
pub mod health;
pub mod labels;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod sources;
pub mod status_line;
pub mod terminal;

pub use actors::ActorBoard;
pub use health::Health;
pub use labels::{CacheTier, Outcome, Reason, RequestStatus, SearchOutcome};
pub use metrics::Metrics;
pub use sources::{SourceBoard, SourceHandle};
