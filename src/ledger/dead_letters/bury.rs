//! Keeping a record that could not be processed.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::moot::{Moot, clear};
use super::{Letter, is_refused};
use crate::document::{Document, DocumentId, Version};
use crate::ledger::error::{LedgerError, Trouble};
use crate::ledger::{Ledger, documents};

impl Ledger {
    /// Puts records among the dead letters.
    ///
    /// - The same bytes at the same place of a source are kept once: burying them again adds to the attempts, renews the reason and the
    ///   time, and takes back a replay that was asked for.
    /// - Of two orders the later is kept, and so is of two versions for one document: a file that was written anew gives the record again,
    ///   behind all that came in between.
    /// - A change that is part of its document stays so when its record is refused now, and its letter goes on standing for that document,
    ///   whatever id is read in the record.
    /// - A letter that its document makes moot as it is held is not kept: whether the letter or the document was written first makes no
    ///   difference.
    /// - A letter without a record, of a document that was only looked at again, is kept only while no letter with a record stands for the
    ///   document. Otherwise that letter gets its reason and its attempts.
    pub fn bury(&self, letters: &[Letter], at_ms: i64) -> Result<(), LedgerError> {
        if letters.is_empty() {
            return Ok(());
        }
        self.change("keep dead letters", |transaction| {
            for letter in letters {
                if !renew_its_own(transaction, letter, at_ms)? {
                    keep(transaction, letter, at_ms)?;
                }
                if let Some(id) = letter.document.as_ref().filter(|_| letter.taken_in && letter.has_record()) {
                    drop_those_without_record(transaction, id)?;
                }
            }
            // Once each: a document may be large, and the letters that name it many.
            let documents: BTreeSet<_> = letters.iter().filter_map(|letter| letter.document.as_ref()).collect();
            for id in documents {
                if let Some(document) = at_rest(transaction, id)? {
                    clear(transaction, id, Moot::by(&document))?;
                }
            }
            Ok(())
        })
    }
}

/// For a letter without a record: renews the letter with a record that stands for its document. Answers whether there is one.
fn renew_its_own(connection: &Connection, letter: &Letter, at_ms: i64) -> rusqlite::Result<bool> {
    let Some(document) = letter.document.as_ref().filter(|_| !letter.has_record()) else { return Ok(false) };
    let mut renew = connection.prepare_cached(
        "UPDATE dead_letters SET at = ?2, reason = ?3, attempts = attempts + ?4, replay = 0 WHERE id =
             (SELECT max(id) FROM dead_letters WHERE document = ?1 AND taken_in = 1 AND octet_length(payload) > 0)",
    )?;
    Ok(renew.execute(params![document.as_str(), at_ms, letter.reason, letter.attempts])? > 0)
}

/// Drops the letters without a record: one with a record stands for the document from now on.
fn drop_those_without_record(connection: &Connection, document: &DocumentId) -> rusqlite::Result<()> {
    let mut drop =
        connection.prepare_cached("DELETE FROM dead_letters WHERE document = ?1 AND octet_length(payload) = 0")?;
    drop.execute([document.as_str()])?;
    Ok(())
}

/// Keeps a letter, or renews the one of the same bytes at the same place.
fn keep(connection: &Connection, letter: &Letter, at_ms: i64) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached(
        r#"SELECT "order", version FROM dead_letters WHERE source = ?1 AND position = ?2 AND hash = ?3"#,
    )?;
    let mut statement = connection.prepare_cached(
        r#"INSERT INTO dead_letters
               (at, source, position, document, version, reason, attempts, "order", hash, payload, taken_in)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
           ON CONFLICT (source, position, hash) DO UPDATE SET
               at = excluded.at, reason = excluded.reason, attempts = attempts + excluded.attempts, replay = 0,
               "order" = excluded."order", taken_in = max(taken_in, excluded.taken_in),
               document = iif(excluded.taken_in < taken_in, document, excluded.document),
               version = iif(excluded.taken_in < taken_in AND excluded.document IS NOT document, version, excluded.version)"#,
    )?;
    let hash = Sha256::digest(&letter.payload);
    let place = params![letter.source, letter.position, hash.as_slice()];
    let versions = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let before: Option<(Version, Option<Version>)> = known.query_row(place, versions).optional()?;
    let (order, version) = before.unwrap_or((letter.order, None));
    statement.execute(params![
        at_ms,
        letter.source,
        letter.position,
        letter.document.as_ref().map(DocumentId::as_str),
        letter.version.max(version),
        letter.reason,
        letter.attempts,
        order.max(letter.order),
        hash.as_slice(),
        letter.payload,
        letter.taken_in,
    ])?;
    Ok(())
}

/// A document that is in the index as it is, or has nothing to be there.
fn at_rest(connection: &Connection, id: &DocumentId) -> Result<Option<Document>, Trouble> {
    let held = documents::look_up(connection, id)?.filter(|held| !held.unwritten && !is_refused(held));
    Ok(held.map(|held| held.document))
}
