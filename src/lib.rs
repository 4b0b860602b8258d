//! Vectide keeps a vector index in step with the data it was made from, and pays for an embedding only when the embedded
//! text changed.

#![forbid(unsafe_code)]

pub mod actor;
pub mod batch;
pub mod cli;
pub mod dedup;
pub mod delivery;
pub mod document;
pub mod embed;
pub mod index;
pub mod ledger;
pub mod pipeline;
pub mod search;
pub mod server;
pub mod settings;
pub mod source;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod view;
