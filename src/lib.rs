//! Vectide keeps a vector index in step with the data it was made from, and pays for an embedding only when the embedded
//! text changed.
//!
//! # The promise
//!
//! - **Convergence.** Whatever the order, the repetition and the grouping of events, the index ends as the newest version of every
//!   document says.
//! - **Nothing lost.** Delivery is at least once and every write is idempotent. A position in a source is committed only when
//!   everything up to it is settled: in the index, found to change nothing, filtered out, or kept in the dead letters.
//! - **No needless spending.** A text is embedded when no vector of it is at hand, and for no other reason.
//! - **Bounded.** Configuration sets how much is in memory, not the length of the stream. What is slow slows the sources down.
//! - **No mixed spaces.** Vectors of two models never meet in one index.
//!
//! `docs/guarantees.md` says how each is kept, `docs/failures.md` what happens when something fails, `docs/tests.md` which tests show it.
//!
//! # The graph
//!
//! ```text
//!      verdicts: how each delivery ended, told by its receipt
//!   +---------------------------------------------------------------------------------------------+
//!   v                                                                                             |
//! Ingestor --Changes--> Deduplicator --Texts--> Batcher --Batch--> Embedder --Works--> IndexWriter
//! one per source        what changed?           lanes, limits     one task per call    index + ledger
//!   |                      |                                                              ^
//!   |                      +------------ Works: nothing to embed -------------------------+
//!   +--> the ledger: committed positions, dead letters
//! ```
//!
//! Stages are actors of [actix]. Data moves through an [`Outlet`](actor::Outlet), which has a credit for every message that may be on the
//! edge; it never moves against the arrows, so waiting for room cannot become a circle. Each change carries a
//! [`Receipt`](delivery::Receipt): dropped unsettled, by a panic or by a forgotten branch, it reports its delivery as lost, and the
//! ingestor delivers it again.
//!
//! # Where to start reading
//!
//! `vectide run` goes through [`cli::run()`] to `src/cli/run.rs`, which opens the [`Resources`](pipeline::Resources) that outlive all
//! actors and [supervises](pipeline::supervise) one [`Generation`](pipeline::generation::Generation) of them, then another if it fails.
//!
//! 1. [`pipeline::build`]: the graph of a generation, wired in one function; [`pipeline::sources()`]: what it reads.
//! 2. [`document::merge`]: how changes in any order become one document; `dedup::diff`: what such a document needs done.
//! 3. [`delivery`] and [`source::actor`]: what "nothing lost" rests on.
//! 4. [`actor`]: the pieces that actix lacks.
//! 5. [`ledger`]: what is kept, and where. `src/ledger/schema.sql` has the tables; `src/ledger/vectors/mod.rs` says how the vectors lie
//!    in a file of their own.
//!
//! Every stage is a folder, in which `actor.rs` sends and waits ([`source::actor`] for the ingestor). The harder decisions are kept apart
//! from that and are pure, with the time as an argument where it matters: the [`Window`](delivery::Window) and `source/actor/trial.rs`
//! of the ingestor, `dedup/diff.rs`, [`batch::plan`], `embed/doubt.rs`. Only the index writer decides as it goes.
//!
//! An extension implements one of four traits: [`Source`](source::Source), [`Provider`](embed::Provider),
//! [`Collection`](index::Collection) or [`VectorIndex`](index::VectorIndex). `docs/extending.md` names the files to touch, and what your
//! own crate can bring: see [`Resources::open_with`](pipeline::Resources::open_with) and
//! [`supervise_sources`](pipeline::supervise_sources).

#![forbid(unsafe_code)]

#[macro_use]
mod fault_point;

pub mod actor;
pub mod batch;
pub mod cli;
pub mod dedup;
pub mod delivery;
pub mod document;
pub mod embed;
mod http_client;
pub mod index;
pub mod ledger;
mod memory;
mod open_files;
pub mod pipeline;
pub mod report;
mod same_file;
pub mod search;
pub mod server;
pub mod settings;
pub mod source;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod view;
