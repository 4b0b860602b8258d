//! The pieces that actix lacks: a bounded edge ([`outlet`]), a supervisor that survives panics ([`guard`]), signs of life
//! ([`pulse`]), a place for what an arbiter must not do itself ([`offload`]), and the pauses between attempts ([`backoff`]). All sending
//! of data goes through here.
//!
//! Why: actix 0.13 enqueues `send().await` without waiting for room, lets `do_send` pass the mailbox's bound, and ends an actor with
//! its mailbox when it panics. `tests/actix_semantics.rs` shows each.

pub mod backoff;
mod cores;
pub mod guard;
pub mod offload;
pub mod outlet;
pub mod panic;
pub mod pulse;

use std::sync::Arc;

pub use guard::{Incident, OnIncident};
pub use outlet::{Closed, Credit, Outlet, Parcel};

/// Told why the actors must be built anew.
pub type GiveUp = Arc<dyn Fn(String) + Send + Sync>;
