//! What "nothing lost" rests on: every [`Record`] that is delivered carries a [`Receipt`], and a source commits only up to the first that
//! is open.

mod receipt;
mod record;
mod window;

pub use receipt::{Receipt, Verdict, Verdicts};
pub use record::{Form, Origin, Partition, Position, Record, Room};
pub use window::{Delivery, Window};
