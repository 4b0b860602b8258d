//! What every stage of the pipeline is built on.

pub mod backoff;
