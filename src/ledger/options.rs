//! What a ledger keeps, and whether that is what it was opened for before.

use rusqlite::Connection;

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::key_value::setting;
use crate::telemetry::figures::counted;

/// What a ledger keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOptions {
    /// The pipeline's name: a folder belongs to one pipeline.
    pub pipeline: String,
    /// Whether vectors are kept that no point refers to.
    pub persist_vectors: bool,
    /// Where points are kept: what an index searches is made from them.
    pub points: Points,
}

/// Where the points of a pipeline are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// Nothing is searched.
    Nowhere,
    /// In the ledger.
    Here,
    /// In the ledger, and by another system as well: see `src/ledger/unwritten.rs`.
    Elsewhere,
}

impl LedgerOptions {
    pub(super) fn keeps_points(&self) -> bool {
        self.points != Points::Nowhere
    }

    /// Whether another system holds the points as well.
    pub(super) fn is_external(&self) -> bool {
        self.points == Points::Elsewhere
    }

    /// Whether vectors are kept at all.
    pub(super) fn keeps_vectors(&self) -> bool {
        self.keeps_points() || self.persist_vectors
    }
}

impl Ledger {
    /// Refuses a ledger of another pipeline, as [`Ledger::open`] does.
    pub fn check_pipeline(&self, pipeline: &str) -> Result<(), LedgerError> {
        self.read("open the ledger", |connection| check_pipeline(connection, pipeline))
    }

    /// Refuses what [`Ledger::open`] would refuse to write to with these options.
    pub fn check_options(&self, options: &LedgerOptions) -> Result<(), LedgerError> {
        self.read("open the ledger", |connection| check_options(connection, options))
    }
}

pub(super) const PIPELINE: &str = "ledger.pipeline";

fn check_pipeline(connection: &Connection, pipeline: &str) -> Result<(), Trouble> {
    let held = setting(connection, PIPELINE)?.unwrap_or_default();
    if held == pipeline {
        return Ok(());
    }
    let message = format!(
        "it belongs to the pipeline `{held}`, and this one is `{pipeline}`: set `state.path` to another folder, or name the pipeline as \
         before"
    );
    Err(Trouble::Known(LedgerErrorKind::Schema, message))
}

pub(super) fn check_options(connection: &Connection, options: &LedgerOptions) -> Result<(), Trouble> {
    check_pipeline(connection, &options.pipeline)?;
    if options.keeps_points() || !recorded_options(connection)?.keeps_points() {
        return Ok(());
    }
    let indexed: u64 =
        connection.query_row("SELECT indexed FROM counts", [], |row| row.get(0).map(i64::cast_unsigned))?;
    if indexed == 0 {
        return Ok(());
    }
    let message = format!(
        "it holds an index of {}, and `index.type: discard` would empty it: set `state.path` to another folder",
        counted(indexed, "document")
    );
    Err(Trouble::Known(LedgerErrorKind::Schema, message))
}

pub(super) const STORES: &str = "ledger.stores";

pub(super) fn stores(options: &LedgerOptions) -> String {
    let named = [
        (options.persist_vectors, "unused-vectors"),
        (options.keeps_points(), "points"),
        (options.is_external(), "external"),
    ];
    named.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

pub(super) fn recorded_options(connection: &Connection) -> Result<LedgerOptions, Trouble> {
    let stores = setting(connection, STORES)?.unwrap_or_default();
    let has = |name| stores.split(' ').any(|stored| stored == name);
    let points = if has("external") {
        Points::Elsewhere
    } else if has("points") {
        Points::Here
    } else {
        Points::Nowhere
    };
    let pipeline = setting(connection, PIPELINE)?.unwrap_or_default();
    Ok(LedgerOptions { pipeline, persist_vectors: has("unused-vectors"), points })
}
