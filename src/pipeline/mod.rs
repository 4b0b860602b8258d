//! The graph of actors, what it rests on, and what keeps it alive.
//!
//! [`Resources`] outlive everything. A [`generation`] is one set of actors on an arbiter of its own, wired in [`build`]; the
//! [`supervisor`] rebuilds it from committed positions when it fails, and ends it when there is nothing left to do.

pub mod build;
mod files_first;
pub mod generation;
mod monitor;
pub mod news;
pub mod resources;
mod sources;
mod stages;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod totals;

pub use resources::Resources;
pub use sources::{NamedSource, sources};
pub use supervisor::{Ending, RunOptions, supervise, supervise_sources};
