//! Deciding what changed, and what must be paid for.
//!
//! The `actor` claims the documents of what is `incoming` so that at most one plan per document is in flight, `diff` finds the
//! difference between what the index should hold and what it holds, `plan` acts on it. A document that lacks vectors is a `draft` until
//! its texts, which are `pending`, have landed; then it is `work` for the index writer. `cache` and `flight` keep a text from being
//! embedded twice, `budget` bounds what large documents take meanwhile, and `departures` tells of documents that leave the index for want
//! of a text.
//!
//! So a document goes from `Group` to `Need`, `Draft` and `Work`, all under one `Claim`, and each text that it lacks takes a `Flight`.

mod actor;
mod budget;
mod cache;
mod claim;
mod departures;
mod diff;
mod draft;
mod flight;
mod incoming;
mod pending;
mod plan;
#[cfg(test)]
mod tests;
mod work;

pub use actor::Deduplicator;
pub use budget::Budget;
pub use cache::VectorCache;
pub use claim::{Claim, Claims, Group};
pub use departures::{Departed, Departures};
pub use diff::Renderer;
#[cfg(test)]
pub(crate) use draft::Draft;
pub use flight::{Flight, Flights};
pub use incoming::{Changes, Incoming};
pub use pending::{PendingText, Texts};
pub use plan::Planner;
pub use work::{Settlement, Work, Works};
