//! The durable record of documents, points, vectors, positions, dead letters and the HTTP source's journal.
//!
//! One SQLite file. Every call blocks: call it from a blocking thread (`tokio::task::spawn_blocking`), never on an arbiter.
//! One process at a time holds the ledger for writing; any number may read beside it.

pub mod held;

pub use held::{ChunkWrite, DeadLetter, DocumentWrite, HeldChunk, HeldDocument, NewDeadLetter, Totals, VectorSource};
