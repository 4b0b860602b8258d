//! Records that could not be processed, kept until a person replays or drops them or a newer version makes them moot.

mod bury;
mod moot;
mod replays;
#[cfg(test)]
mod tests;

use rusqlite::{Row, Statement, params};

use crate::document::{DocumentId, Version};

use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::page::{self, limit};
use super::{HeldDocument, Ledger};

pub use moot::Moot;
pub(super) use moot::{any_of_a_document, clear};

const COLUMNS: &str = r#"SELECT id, at, source, position, document, version, reason, attempts, "order", payload, replay, taken_in FROM dead_letters"#;

/// Payload read at once: a page of large records must fit into memory.
const PAGE_BYTES: usize = 32 << 20;

/// What a dead letter says: a record that could not be processed, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The source's name in the configuration.
    pub source: String,
    /// Where in the source, as a person would look it up.
    pub position: String,
    /// The document, where the record told it.
    pub document: Option<DocumentId>,
    /// The change's version, where the record told it.
    pub version: Option<Version>,
    /// Why, in one sentence.
    pub reason: String,
    /// The record's bytes as the source gave them.
    pub payload: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// The version that the source's own order gives it; used again when it is replayed.
    pub order: Version,
    /// Whether its change is part of the document, which is kept though it is not in the index.
    pub taken_in: bool,
}

impl Letter {
    /// Whether there is a record in it. There is none of a document that was only looked at again.
    fn has_record(&self) -> bool {
        !self.payload.is_empty()
    }
}

/// A record in the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// When it last failed, Unix milliseconds.
    pub at: i64,
    /// Whether it waits to go through the pipeline again.
    pub replay: bool,
    /// What it says.
    pub letter: Letter,
}

impl Ledger {
    /// The dead letters with numbers above `after`, in ascending order: at most `max`, and no more than 32 MiB of payload. The first is
    /// given in any case.
    pub fn dead_letters(&self, after: i64, max: usize) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read("read the dead letters", |connection| {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            collect(&mut statement, after, max, PAGE_BYTES)
        })
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, LedgerError> {
        self.read("read a dead letter", |connection| {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
            let mut rows = statement.query([id])?;
            rows.next()?.map(dead_letter).transpose()
        })
    }

    /// Drops dead letters for good; answers how many there were.
    pub fn drop_dead_letters(&self, ids: &[i64]) -> Result<usize, LedgerError> {
        self.change("drop dead letters", |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
            let mut dropped = 0;
            for id in ids {
                dropped += statement.execute([id])?;
            }
            Ok(dropped)
        })
    }
}

/// Whether a document that has fields is out of the index because a change of it was refused.
fn is_refused(held: &HeldDocument) -> bool {
    held.buried && held.document.has_fields()
}

fn collect(
    statement: &mut Statement<'_>,
    after: i64,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<DeadLetter>, Trouble> {
    let rows = statement.query(params![after, limit(max)])?;
    page::within(max_bytes, rows.and_then(dead_letter), |dead| dead.letter.payload.len())
}

fn dead_letter(row: &Row<'_>) -> Result<DeadLetter, Trouble> {
    let id = row.get(0)?;
    let document: Option<String> = row.get(4)?;
    let document = document.map(|name| DocumentId::new(&name)).transpose().map_err(|error| {
        Trouble::Known(LedgerErrorKind::Corrupt, format!("dead letter {id} names a broken document: {error}"))
    })?;
    let letter = Letter {
        source: row.get(2)?,
        position: row.get(3)?,
        document,
        version: row.get(5)?,
        reason: row.get(6)?,
        attempts: row.get(7)?,
        order: row.get(8)?,
        payload: row.get(9)?,
        taken_in: row.get(11)?,
    };
    Ok(DeadLetter { id, at: row.get(1)?, replay: row.get(10)?, letter })
}
