//! What a run counts and shows of itself: metrics, health, the state of its actors and sources. All of it is kept in atomics and small
//! locks; no actor is asked by message. `report` makes statistics and progress of it.

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
