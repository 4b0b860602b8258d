//! The index: where vectors are kept and searched.

pub mod actor;
pub mod filter;
pub mod target;

pub use filter::Filter;
pub use target::{Hit, IndexError, Query, VectorIndex};
