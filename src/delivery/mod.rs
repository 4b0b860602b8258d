//! What "nothing lost" rests on: every delivery carries a [`Receipt`], and a source commits only up to the first that is open.

pub mod receipt;
pub mod window;

pub use receipt::{Receipt, Verdict, Verdicts};
pub use window::{Delivery, Limits, Window};
