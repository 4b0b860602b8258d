//! Vectide keeps a vector index in step with the data it was made from, and pays for an embedding only when the embedded
//! text changed.

#![forbid(unsafe_code)]

pub mod cli;
pub mod document;
pub mod embed;
pub mod index;
pub mod ledger;
pub mod settings;
pub mod source;
pub mod telemetry;
