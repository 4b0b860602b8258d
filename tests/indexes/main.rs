//! The indexes in other systems, against real ones: one contract for all, and what is particular to each.
//!
//! Each system is started by its script in `tests/servers`. Where it is not installed, its tests say so and pass.

mod contracts;
mod http;
mod pinecone;
mod points;
mod server;
#[cfg(feature = "weaviate")]
mod weaviate;
