//! Grouping texts into calls. [`plan`] decides, purely; `actor` waits and sends; [`estimate`] guesses how much goes into a call.

mod actor;
pub mod estimate;
pub mod plan;

pub use actor::{Batch, Batcher, Drain};
pub use estimate::Estimator;
pub use plan::{Lanes, Limits};
