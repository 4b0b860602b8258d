//! Embedding: from texts to checked vectors.

pub mod call;
pub mod estimate;
pub mod limiter;
pub mod provider;
pub mod space;
pub mod status;

pub use provider::{Embeddings, InputType, Judgement, Provider};
pub use space::Space;
