//! Embedding: from texts to checked vectors.

pub mod provider;
pub mod space;

pub use provider::{Embeddings, InputType, Judgement, Provider};
pub use space::Space;
