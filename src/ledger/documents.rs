//! What the ledger holds of documents.

use rusqlite::{Connection, Row, params};

use crate::document::{Document, DocumentId};

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::held::{HeldChunk, HeldDocument};
use super::journal::limit;
use super::packed::Chunks;

/// What the ledger holds of one document, as texts and not parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDocument<'a> {
    /// What [`Document::to_json`] wrote.
    pub document: &'a str,
    /// The metadata in the index, as canonical JSON text; `None` when the document is not in the index.
    pub metadata: Option<&'a str>,
    /// What the index holds, by chunk number.
    pub chunks: Vec<HeldChunk>,
    /// See [`HeldDocument::unwritten`].
    pub unwritten: bool,
}

impl StoredDocument<'_> {
    /// Parses it.
    pub fn parse(self) -> Result<HeldDocument, serde_json::Error> {
        let document = Document::from_json(self.document)?;
        let Self { metadata, chunks, unwritten, .. } = self;
        Ok(HeldDocument { document, metadata: metadata.map(str::to_owned), chunks, unwritten })
    }
}

const COLUMNS: &str = "SELECT document, metadata, chunks, name, EXISTS (SELECT 1 FROM unwritten WHERE document = documents.id) FROM documents";

fn stored<'a>(row: &'a Row<'_>) -> Result<StoredDocument<'a>, Trouble> {
    let text = |index| row.get_ref(index);
    Ok(StoredDocument {
        document: text(0)?.as_str().map_err(rusqlite::Error::from)?,
        metadata: text(1)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        chunks: row.get::<_, Chunks>(2)?.0,
        unwritten: row.get(4)?,
    })
}

fn held(name: &str, stored: StoredDocument<'_>) -> Result<HeldDocument, Trouble> {
    stored.parse().map_err(|error| {
        Trouble::Known(LedgerErrorKind::Corrupt, format!("what is kept of document `{name}` cannot be read: {error}"))
    })
}

/// Visits each of these documents, in order.
fn visit(
    connection: &Connection,
    ids: &[DocumentId],
    mut each: impl FnMut(usize, Option<StoredDocument<'_>>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
    for (index, id) in ids.iter().enumerate() {
        let mut rows = statement.query([id.as_str()])?;
        each(index, rows.next()?.map(stored).transpose()?)?;
    }
    Ok(())
}

impl Ledger {
    /// What is held of these documents, in their order; `None` for one that no change ever named.
    pub fn documents(&self, ids: &[DocumentId]) -> Result<Vec<Option<HeldDocument>>, LedgerError> {
        self.read("look up documents", |connection| {
            let mut found = Vec::with_capacity(ids.len());
            visit(connection, ids, |index, stored| {
                found.push(stored.map(|stored| held(ids[index].as_str(), stored)).transpose()?);
                Ok(())
            })?;
            Ok(found)
        })
    }

    /// Shows what is held of these documents without parsing or copying it: `each` is called with every index into `ids`, in
    /// order. For callers that can tell by the text that nothing changed.
    pub fn documents_with(
        &self,
        ids: &[DocumentId],
        mut each: impl FnMut(usize, Option<StoredDocument<'_>>),
    ) -> Result<(), LedgerError> {
        self.read("look up documents", |connection| {
            visit(connection, ids, |index, stored| {
                each(index, stored);
                Ok(())
            })
        })
    }

    /// The documents after this one in the order of their ids (bytewise), at most `max`. Deleted ones are among them.
    pub fn scan_documents(
        &self,
        after: Option<&DocumentId>,
        max: usize,
    ) -> Result<Vec<(DocumentId, HeldDocument)>, LedgerError> {
        self.read("read documents", |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} WHERE name > ?1 ORDER BY name LIMIT ?2"))?;
            // Ids are never empty, so the empty text lies before all.
            let mut rows = statement.query(params![after.map_or("", DocumentId::as_str), limit(max)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let id = document_id(row, 3)?;
                let held = held(id.as_str(), stored(row)?)?;
                found.push((id, held));
            }
            Ok(found)
        })
    }
}

pub(super) fn document_id(row: &Row<'_>, column: usize) -> Result<DocumentId, Trouble> {
    let name = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    DocumentId::new(name)
        .map_err(|error| Trouble::Known(LedgerErrorKind::Corrupt, format!("a document has a broken name: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Change, Operation, Version};
    use crate::ledger::DocumentWrite;
    use crate::ledger::testing::{here, open, write};

    fn document(version: i128) -> Document {
        let fields = serde_json::json!({"title": "Boot", "note": "\u{0}☂"}).as_object().unwrap().clone();
        let id = DocumentId::new("a").unwrap();
        let version = Version::from_nanos(version);
        Document::from(Change { id, operation: Operation::Upsert, version, fields, priority: 0, immediate: false })
    }

    #[test]
    fn gives_back_what_was_written_in_the_order_asked() {
        let (_folder, ledger) = open();
        // A version in milliseconds needs more than 64 bits.
        let state = document(1_732_351_234_567 * 1_000_000_000);
        let stored = DocumentWrite { document: state.to_json(), ..write("a", vec![here("one")]) };
        ledger.write(&[stored, write("b", vec![])]).unwrap();
        let ids = ["b", "none", "a"].map(|id| DocumentId::new(id).unwrap());
        let found = ledger.documents(&ids).unwrap();
        assert_eq!(found[0].as_ref().unwrap().metadata, None);
        assert_eq!(found[1], None);
        let a = found[2].as_ref().unwrap();
        assert_eq!((&a.document, a.metadata.as_deref(), a.chunks.len()), (&state, Some(r#"{"id":"a"}"#), 1));

        let mut seen = Vec::new();
        ledger.documents_with(&ids, |index, stored| seen.push((index, stored.map(|s| s.document.to_owned())))).unwrap();
        assert_eq!(seen, [(0, Some(write("b", vec![]).document)), (1, None), (2, Some(state.to_json()))]);
    }

    #[test]
    fn scans_in_the_order_of_ids() {
        let (_folder, ledger) = open();
        ledger.write(&["c", "a", "é", "b"].map(|id| write(id, vec![]))).unwrap();
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let page = ledger.scan_documents(after.as_ref(), 3).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page.iter().map(|(id, _)| id.to_string()));
        }
        assert_eq!(seen, ["a", "b", "c", "é"]);
    }

    #[test]
    fn a_broken_row_is_told_with_its_name() {
        let (_folder, ledger) = open();
        ledger.write(&[DocumentWrite { document: "{".to_owned(), ..write("a", vec![]) }]).unwrap();
        let error = ledger.documents(&[DocumentId::new("a").unwrap()]).unwrap_err();
        assert_eq!(error.kind(), LedgerErrorKind::Corrupt);
        assert!(error.to_string().contains("`a`"), "{error}");
    }
}
