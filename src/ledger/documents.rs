//! What the ledger holds of documents.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::document::{Document, DocumentId};

use super::Ledger;
use super::error::{LedgerError, LedgerErrorKind, Trouble};
use super::packed::{Chunks, HeldChunk};
use super::page::{self, limit};

/// What the ledger holds of one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeldDocument {
    /// The merged state of all changes so far.
    pub document: Document,
    /// The metadata in the index, as canonical JSON text; `None` when the document is not in the index.
    pub metadata: Option<String>,
    /// What the index holds, by chunk number. Empty when the document is not in the index.
    pub chunks: Vec<HeldChunk>,
    /// Whether another system may not have got this yet. It is to be written again, changed or not.
    pub unwritten: bool,
    /// Whether it is out of the index with a change of it among the dead letters.
    pub buried: bool,
}

/// What the index holds of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPoints {
    /// As [`HeldDocument::metadata`].
    pub metadata: Option<String>,
    /// As [`HeldDocument::chunks`].
    pub chunks: Vec<HeldChunk>,
}

/// The statement for the rows of these documents.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT document, metadata, chunks, name, EXISTS (SELECT 1 FROM unwritten WHERE document = documents.id),
             metadata IS NULL AND EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.document = name AND taken_in)
             FROM documents ",
            $which
        )
    };
}

const BY_NAME: &str = select!("WHERE name = ?1");

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a str>, Trouble> {
    Ok(row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?)
}

fn held(id: &DocumentId, row: &Row<'_>) -> Result<HeldDocument, Trouble> {
    let broken = |error| {
        let message = format!("what is kept of document `{id}` cannot be read: {error}");
        Trouble::Known(LedgerErrorKind::Corrupt, message)
    };
    Ok(HeldDocument {
        document: Document::from_json(text(row, 0)?.unwrap_or_default()).map_err(broken)?,
        metadata: text(row, 1)?.map(str::to_owned),
        chunks: row.get::<_, Chunks>(2)?.0,
        unwritten: row.get(4)?,
        buried: row.get(5)?,
    })
}

/// What is held of one document, inside a change of the ledger.
pub(super) fn look_up(connection: &Connection, id: &DocumentId) -> Result<Option<HeldDocument>, Trouble> {
    connection.prepare_cached(BY_NAME)?.query([id.as_str()])?.next()?.map(|row| held(id, row)).transpose()
}

impl Ledger {
    /// What is held of these documents, in their order; `None` for one that no change ever named.
    pub fn documents(&self, ids: &[DocumentId]) -> Result<Vec<Option<HeldDocument>>, LedgerError> {
        self.documents_within(ids, usize::MAX)
    }

    /// As [`Ledger::documents`], but only what the index holds of them: nothing of what was said of them is read.
    pub fn points_of(&self, ids: &[DocumentId]) -> Result<Vec<Option<HeldPoints>>, LedgerError> {
        self.read("look up points", |connection| {
            let mut select = connection.prepare_cached("SELECT metadata, chunks FROM documents WHERE name = ?1")?;
            let held = |row: &Row<'_>| Ok(HeldPoints { metadata: row.get(0)?, chunks: row.get::<_, Chunks>(1)?.0 });
            let look_up = |id: &DocumentId| Ok(select.query_row([id.as_str()], held).optional()?);
            ids.iter().map(look_up).collect()
        })
    }

    /// As [`Ledger::documents`], but stops before the document with which what was said of them would be more than `max_bytes` together.
    /// The first is given in any case.
    pub fn documents_within(
        &self,
        ids: &[DocumentId],
        max_bytes: usize,
    ) -> Result<Vec<Option<HeldDocument>>, LedgerError> {
        self.read("look up documents", |connection| {
            let mut by_name = connection.prepare_cached(BY_NAME)?;
            let look_up = |id: &DocumentId| match by_name.query([id.as_str()])?.next()? {
                Some(row) => Ok((Some(held(id, row)?), text(row, 0)?.map_or(0, str::len))),
                None => Ok((None, 0)),
            };
            let found = page::within(max_bytes, ids.iter().map(look_up), |(_, bytes)| *bytes)?;
            Ok(found.into_iter().map(|(held, _)| held).collect())
        })
    }

    /// The documents after this one in the order of their ids (bytewise): at most `max`, and no more than `max_bytes` of them and the
    /// vectors of their chunks. The first is given in any case. Deleted ones are among them.
    pub fn scan_documents(
        &self,
        after: Option<&DocumentId>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(DocumentId, HeldDocument)>, LedgerError> {
        self.read("read documents", |connection| {
            let vector_bytes = self.vectors.dimensions().unwrap_or_default() * size_of::<f32>();
            let mut statement = connection.prepare_cached(select!("WHERE name > ?1 ORDER BY name LIMIT ?2"))?;
            // Ids are never empty, so the empty text lies before all.
            let rows = statement.query(params![after.map_or("", DocumentId::as_str), limit(max)])?;
            let weighed = |row: &Row<'_>| {
                let id = document_id(row, 3)?;
                let held = held(&id, row)?;
                let texts = text(row, 0)?.map_or(0, str::len) + text(row, 1)?.map_or(0, str::len);
                Ok((texts + held.chunks.len() * vector_bytes, (id, held)))
            };
            let page = page::within(max_bytes, rows.and_then(weighed), |(bytes, _)| *bytes)?;
            Ok(page.into_iter().map(|(_, document)| document).collect())
        })
    }

    /// The documents that are in the index or have any field, as [`Ledger::scan_documents`], but of each only its id and how many bytes are
    /// kept of what was said of it (JSON): at most `max`, and no more than `max_bytes` of these. The first is given in any case.
    pub fn list_documents(
        &self,
        after: Option<&DocumentId>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(DocumentId, usize)>, LedgerError> {
        self.read("list documents", |connection| {
            let mut statement = connection.prepare_cached(
                r#"SELECT name, octet_length(document) FROM documents
                   WHERE name > ?1 AND (metadata IS NOT NULL OR document NOT LIKE '%"fields":[]}') ORDER BY name LIMIT ?2"#,
            )?;
            let rows = statement.query(params![after.map_or("", DocumentId::as_str), limit(max)])?;
            let listed = rows.and_then(|row| Ok((document_id(row, 0)?, size(row, 1)?)));
            page::within(max_bytes, listed, |(_, bytes)| *bytes)
        })
    }
}

/// How many bytes a column holds, where the statement asked for its `octet_length`.
pub(super) fn size(row: &Row<'_>, column: usize) -> Result<usize, Trouble> {
    // SQLite keeps no value of 2 GiB or more.
    Ok(row.get::<_, u32>(column)? as usize)
}

pub(super) fn document_id(row: &Row<'_>, column: usize) -> Result<DocumentId, Trouble> {
    let name = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    DocumentId::new(name)
        .map_err(|error| Trouble::Known(LedgerErrorKind::Corrupt, format!("a document has a broken name: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, Operation, Version};
    use crate::ledger::DocumentWrite;
    use crate::ledger::testing::{DIMENSIONS, here, open, open_with, options, write};
    use crate::ledger::{LedgerOptions, Points};

    fn document(version: i128) -> Document {
        let fields = json!({"title": "Boot", "note": "\u{0}☂"}).as_object().unwrap().clone();
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

        let points = |held: &Option<HeldDocument>| {
            held.clone().map(|HeldDocument { metadata, chunks, .. }| HeldPoints { metadata, chunks })
        };
        assert_eq!(ledger.points_of(&ids).unwrap(), found.iter().map(points).collect::<Vec<_>>());

        let bytes = |held: &Option<HeldDocument>| held.as_ref().map_or(0, |held| held.document.to_json().len());
        let all = found.iter().map(bytes).sum();
        assert_eq!(ledger.documents_within(&ids, all).unwrap(), found);
        assert_eq!(ledger.documents_within(&ids, all - 1).unwrap(), found[..2]);
        assert_eq!(ledger.documents_within(&ids[2..], 0).unwrap(), found[2..], "the first alone is larger");
    }

    #[test]
    fn what_is_not_in_the_index_or_not_in_the_other_system_is_told_with_what_was_said_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() });
        let state = document(1);
        let stored = |id| DocumentWrite { document: state.to_json(), ..write(id, vec![here("one")]) };
        ledger.write(&[stored("unwritten"), DocumentWrite { metadata: None, ..stored("rejected") }]).unwrap();
        let ids = ["unwritten", "rejected"].map(|id| DocumentId::new(id).unwrap());
        let held: Vec<_> = ledger.documents(&ids).unwrap().into_iter().flatten().collect();
        assert!(held.iter().all(|held| held.document == state));
        let told: Vec<_> = held.iter().map(|held| (held.unwritten, held.metadata.is_some())).collect();
        assert_eq!(told, [(true, true), (false, false)]);
    }

    #[test]
    fn scans_in_the_order_of_ids() {
        let (_folder, ledger) = open();
        ledger.write(&["c", "a", "é", "b"].map(|id| write(id, vec![]))).unwrap();
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let page = ledger.scan_documents(after.as_ref(), 3, usize::MAX).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page.iter().map(|(id, _)| id.to_string()));
        }
        assert_eq!(seen, ["a", "b", "c", "é"]);
    }

    #[test]
    fn scans_no_more_than_the_bytes_of_texts_and_vectors() {
        let (_folder, ledger) = open();
        let text = DocumentWrite { document: document(1).to_json(), ..write("a", vec![]) };
        let text_bytes = text.document.len();
        let vectors = write("b", vec![here("one"), here("two")]);
        let vectors_bytes = vectors.document.len() + vectors.metadata.as_ref().unwrap().len() + 2 * 4 * DIMENSIONS;
        ledger.write(&[text, vectors]).unwrap();
        for (max_bytes, expected) in
            [(text_bytes + vectors_bytes, &["a", "b"][..]), (text_bytes + vectors_bytes - 1, &["a"]), (0, &["a"])]
        {
            let page = ledger.scan_documents(None, 3, max_bytes).unwrap();
            assert_eq!(page.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), expected, "{max_bytes} bytes");
        }
    }

    #[test]
    fn lists_names_and_bytes_within_the_limits() {
        let (_folder, ledger) = open();
        let text = |id, document: &str| DocumentWrite { document: document.to_owned(), ..write(id, vec![]) };
        // What is listed is not read: none of these is a document.
        ledger.write(&[text("a", "☂☂"), text("b", "1234567"), text("c", "12")]).unwrap();
        for (after, max, max_bytes, expected) in [
            (None, 10, 100, &[("a", 6), ("b", 7), ("c", 2)][..]),
            (None, 2, 100, &[("a", 6), ("b", 7)]),
            (None, 10, 13, &[("a", 6), ("b", 7)]),
            (None, 10, 12, &[("a", 6)]),
            (Some("a"), 10, 1, &[("b", 7)]),
            (Some("c"), 10, 100, &[]),
        ] {
            let after = after.map(|id| DocumentId::new(id).unwrap());
            let listed = ledger.list_documents(after.as_ref(), max, max_bytes).unwrap();
            let listed: Vec<_> = listed.iter().map(|(id, bytes)| (id.as_str(), *bytes)).collect();
            assert_eq!(listed, expected, "{max} documents of {max_bytes} bytes after {after:?}");
        }
    }

    #[test]
    fn a_document_that_is_deleted_is_not_listed() {
        let (_folder, ledger) = open();
        let said = |id: &str, operation, fields: serde_json::Value| {
            let (version, fields) = (Version::from_nanos(1), fields.as_object().unwrap().clone());
            let id = DocumentId::new(id).unwrap();
            Document::from(Change { id, operation, version, fields, priority: 0, immediate: false }).to_json()
        };
        let (deleted, nothing) = (said("a", Operation::Delete, json!({})), said("a", Operation::Patch, json!({})));
        let patched = said("a", Operation::Patch, json!({ "price": { "fields": [] } }));
        for (document, chunks, is_listed) in [
            (&deleted, vec![], false),
            (&nothing, vec![], false),
            (&patched, vec![], true),
            (&deleted, vec![here("left")], true),
        ] {
            let write = DocumentWrite { document: document.clone(), ..write("a", chunks) };
            ledger.write(&[write]).unwrap();
            let listed = ledger.list_documents(None, 10, 100).unwrap();
            assert_eq!(!listed.is_empty(), is_listed, "{document}");
        }
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
