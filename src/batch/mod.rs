//! Grouping texts into calls. [`plan`] decides, purely; [`actor`] waits and sends.

pub mod actor;
pub mod plan;

pub use actor::{Batch, Batcher, Drain};
pub use plan::{Lanes, Limits, SealReason};
