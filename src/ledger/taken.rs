//! Which records the documents in the index have taken in already.
//!
//! A document keeps the digest of the record that made it what it is. What it has once taken in changes it never again, so whoever holds
//! the same record needs neither to decode it nor to compare it.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};

use super::Ledger;
use super::error::LedgerError;
use super::packed::damaged;
use crate::document::{Operation, RecordDigest};

/// A record that a document has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenRecord {
    /// Its name.
    pub digest: RecordDigest,
    /// What it did to its document.
    pub operation: Operation,
}

/// `documents.record`: the digest, then a byte for the operation.
impl ToSql for TakenRecord {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let operation: u8 = match self.operation {
            Operation::Upsert => 0,
            Operation::Patch => 1,
            Operation::Delete => 2,
        };
        Ok(ToSqlOutput::from([&self.digest.as_bytes()[..], &[operation]].concat()))
    }
}

impl FromSql for TakenRecord {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let Some((digest, [operation])) = value.as_blob()?.split_first_chunk::<{ RecordDigest::BYTES }>() else {
            return Err(damaged("a digest of a broken length"));
        };
        let operation = match operation {
            0 => Operation::Upsert,
            1 => Operation::Patch,
            2 => Operation::Delete,
            _ => return Err(damaged("an unknown operation")),
        };
        Ok(Self { digest: RecordDigest::from_bytes(*digest), operation })
    }
}

impl Ledger {
    /// For each record, by the document that it seems to be about: what it did, if it made the document what it is, and the document is in
    /// the index and not [unwritten](super::HeldDocument::unwritten). `None`, asked or answered, says nothing.
    pub fn taken(&self, records: &[Option<(String, RecordDigest)>]) -> Result<Vec<Option<Operation>>, LedgerError> {
        let written = if self.options.is_external() {
            "SELECT record FROM documents
             WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM unwritten WHERE document = documents.id)"
        } else {
            "SELECT record FROM documents WHERE name = ?1"
        };
        self.read("look up records", |connection| {
            let mut statement = connection.prepare_cached(written)?;
            let mut look_up = |record: &Option<(String, RecordDigest)>| {
                let Some((name, digest)) = record else { return Ok(None) };
                let mut rows = statement.query([name])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let taken: Option<TakenRecord> = row.get(0)?;
                Ok(taken.filter(|taken| taken.digest == *digest).map(|taken| taken.operation))
            };
            records.iter().map(&mut look_up).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentId;
    use crate::ledger::testing::{here, open, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, Points};

    fn digest(number: u8) -> RecordDigest {
        RecordDigest::from_bytes([number; RecordDigest::BYTES])
    }

    fn taken(number: u8, operation: Operation) -> Option<TakenRecord> {
        Some(TakenRecord { digest: digest(number), operation })
    }

    fn said(name: &str, number: u8) -> Option<(String, RecordDigest)> {
        Some((name.to_owned(), digest(number)))
    }

    #[test]
    fn tells_what_each_record_did_that_a_document_has_taken_in() {
        let (_folder, ledger) = open();
        let first = DocumentWrite { record: taken(1, Operation::Upsert), ..write("a", vec![here("one")]) };
        let second = DocumentWrite { record: taken(2, Operation::Patch), ..write("b", vec![here("two")]) };
        ledger.write(&[first, second, write("c", vec![here("three")])]).unwrap();
        let asked = [said("a", 1), said("b", 2), said("a", 2), said("c", 1), said("none", 1), None];
        let known = [Some(Operation::Upsert), Some(Operation::Patch), None, None, None, None];
        assert_eq!(ledger.taken(&asked).unwrap(), known);
        ledger.write(&[write("a", vec![here("one")])]).unwrap();
        assert_eq!(ledger.taken(&asked[..1]).unwrap(), [None], "something else has made it what it is");
    }

    #[test]
    fn a_record_is_not_known_when_its_document_is_not_in_the_index_or_not_in_the_other_system() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() });
        let of = |id, chunks| DocumentWrite { record: taken(1, Operation::Upsert), ..write(id, chunks) };
        ledger.write(&[of("unwritten", vec![here("one")]), of("rejected", vec![])]).unwrap();
        let asked = [said("unwritten", 1), said("rejected", 1)];
        assert_eq!(ledger.taken(&asked).unwrap(), [None, None]);
        ledger.finish_writes(&["unwritten", "rejected"].map(|id| DocumentId::new(id).unwrap())).unwrap();
        assert_eq!(ledger.taken(&asked).unwrap(), [Some(Operation::Upsert), None]);
    }
}
