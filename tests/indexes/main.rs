//! The indexes: one contract for all, those in other systems against real ones, and what is particular to each.
//!
//! Each system is started by its script in `tests/servers`. Where it is not installed, its tests say so and pass.

#![cfg_attr(
    not(all(feature = "milvus", feature = "pgvector", feature = "qdrant", feature = "weaviate")),
    allow(dead_code, reason = "some of what they share serves only some systems")
)]

mod certificates;
mod contracts;
mod embedded;
mod http;
mod killed;
#[cfg(feature = "milvus")]
mod milvus;
#[cfg(feature = "pgvector")]
mod pgvector;
mod pinecone;
#[path = "../faults/pipeline.rs"]
#[allow(dead_code, reason = "it serves the tests of faults first")]
mod pipeline;
mod points;
#[path = "../servers/ports.rs"]
mod ports;
#[cfg(feature = "qdrant")]
mod qdrant;
mod server;
#[path = "../acceptance/shop.rs"]
#[allow(dead_code, reason = "it serves the acceptance tests first")]
mod shop;
mod sifted;
mod tls;
#[cfg(feature = "weaviate")]
mod weaviate;
