//! Embedding: from texts to checked vectors.

pub mod builtin;
pub mod call;
pub mod estimate;
pub mod hashed;
pub mod limiter;
mod local;
pub mod provider;
pub mod space;
pub mod status;
pub mod wordpiece;

pub use provider::{Embeddings, InputType, Judgement, Provider};
pub use space::Space;
