//! Each outside index against a server of its own kind on this machine; where one cannot be had, its tests say that they were skipped.

#[cfg(feature = "milvus")]
mod milvus;
mod promises;
#[cfg(feature = "qdrant")]
mod qdrant;
mod server;
