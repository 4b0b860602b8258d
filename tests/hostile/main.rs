//! Input that nobody should have sent, against everything that reads some: a file a target, its seeds under `corpus/<target>`. What
//! holds for any bytes at all is asserted, not only that nothing panics. How it works, and how to run many more cases:
//! `vectide::testkit::hostile`. Targets that are private to the crate lie beside their code: `src/server/hostile.rs`,
//! `src/embed/openai/hostile.rs`.
//!
//! ```text
//! VECTIDE_HOSTILE_CASES=100000 cargo test --release --all-features hostile
//! ```

#[cfg(feature = "parquet")]
mod bombs;
mod configuration;
mod files;
mod filters;
mod records;
