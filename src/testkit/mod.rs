//! For tests of actors: a [`World`] runs a whole actor system on paused time and fails when something leaks, a [`Probe`] stands in
//! for a neighbour, and [`fakes`] stand in for what lies outside. [`faults`] strike inside the product, [`hostile`] makes input that nobody
//! should have sent, and [`metrics`] shows every family. [`index_contract`] is asked of every index.
//!
//! In test builds but for the contract, and behind the feature `testkit` for whoever extends Vectide.

pub mod fakes;
pub mod faults;
pub mod hostile;
#[cfg(feature = "testkit")]
pub mod index_contract;
pub mod metrics;
pub mod probe;
pub mod world;

pub use probe::Probe;
pub use world::World;
