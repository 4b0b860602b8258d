//! Every document of a ledger that has fields, a page at a time.

use anyhow::bail;

use crate::document::DocumentId;
use crate::ledger::{HeldChunk, HeldDocument, Ledger};
use crate::settings::document::VersionUnit;
use crate::view::ExportedDocument;

/// Documents read at once.
const PAGE: usize = 128;
/// Their bytes: each may have a text of megabytes and many vectors.
const PAGE_BYTES: usize = 32 << 20;
/// How often a page is read again because a running process replaced a vector between two looks.
const ATTEMPTS: usize = 10;

/// Pages of documents in the order of their ids. Each document is as the ledger held it at one moment; what a running process writes
/// meanwhile shows in pages that are read later.
pub struct Pages<'a> {
    ledger: &'a Ledger,
    with_vectors: bool,
    unit: VersionUnit,
    /// The last id that was given; `None` at the start.
    after: Option<DocumentId>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// All documents of this ledger, their versions in this unit.
    pub fn new(ledger: &'a Ledger, with_vectors: bool, unit: VersionUnit) -> Self {
        Self { ledger, with_vectors, unit, after: None, ended: false }
    }

    fn read(&mut self) -> anyhow::Result<Option<Vec<ExportedDocument>>> {
        for _ in 0..ATTEMPTS {
            let page = self.ledger.scan_documents(self.after.as_ref(), PAGE, PAGE_BYTES)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            let last = last.clone();
            let held = kept(&page).flat_map(|(_, held)| &held.chunks);
            let chunks: Vec<&HeldChunk> = if self.with_vectors { held.collect() } else { Vec::new() };
            let vectors = self.ledger.vectors_of_chunks(&chunks)?;
            if vectors.iter().any(Option::is_none) {
                continue;
            }
            let mut vectors = vectors.into_iter();
            let mut documents: Vec<ExportedDocument> =
                kept(&page).map(|(id, held)| ExportedDocument::new(id, held, self.unit)).collect();
            documents
                .iter_mut()
                .flat_map(|document| &mut document.chunks)
                .for_each(|chunk| chunk.vector = vectors.next().flatten());
            self.after = Some(last);
            return Ok(Some(documents));
        }
        bail!(
            "the ledger does not keep vectors unless `index.type` is `embedded` or `dedup.persist` is `true`; export without \
             `--vectors`, or change the configuration and rebuild the index"
        )
    }
}

/// The documents that have fields: the others were deleted.
fn kept(page: &[(DocumentId, HeldDocument)]) -> impl Iterator<Item = (&DocumentId, &HeldDocument)> {
    page.iter().filter(|(_, held)| held.document.has_fields()).map(|(id, held)| (id, held))
}

impl Iterator for Pages<'_> {
    type Item = anyhow::Result<Vec<ExportedDocument>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let page = self.read();
        self.ended = !matches!(page, Ok(Some(_)));
        page.transpose()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, Document, Fingerprint, Operation, Version};
    use crate::ledger::{ChunkWrite, DocumentWrite, LedgerOptions, Moot, Points, VectorSource, testing};

    /// A ledger with as many documents as pages and a half take, among them one that was deleted and one that waits for its text.
    pub fn filled(points: Points) -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions { persist_vectors: false, points, ..testing::options() };
        let ledger = testing::open_with(&folder, options);
        let writes: Vec<DocumentWrite> = (0..PAGE * 3 / 2)
            .map(|number| {
                let id = DocumentId::new(&format!("p{number:05}")).unwrap();
                let operation = if number == 7 { Operation::Delete } else { Operation::Upsert };
                let version = Version::from_nanos(1_500_000_000);
                let fields = [("n".to_owned(), json!(number))].into_iter().collect();
                let document = Document::from(Change {
                    id: id.clone(),
                    operation,
                    version,
                    fields,
                    priority: 0,
                    immediate: false,
                });
                let indexed = number != 7 && number != 8;
                let fingerprint = Fingerprint::from_bytes([number as u8; 32]);
                let chunk = ChunkWrite { fingerprint, vector: VectorSource::Here([number as f32, 0.5].into()) };
                DocumentWrite {
                    id,
                    document: document.to_json(),
                    record: None,
                    clears: Some(Moot::up_to(version)),
                    metadata: indexed.then(|| format!(r#"{{"n":{number}}}"#)),
                    chunks: if indexed { vec![chunk] } else { vec![] },
                }
            })
            .collect();
        ledger.write(&writes).unwrap();
        (folder, ledger)
    }

    #[test]
    fn every_document_that_has_fields_comes_once_and_in_order() {
        let (_folder, ledger) = filled(Points::Here);
        let pages: Vec<_> = Pages::new(&ledger, true, VersionUnit::Auto).map(Result::unwrap).collect();
        assert_eq!(pages.len(), 2);
        let documents: Vec<_> = pages.into_iter().flatten().collect();
        let ids: Vec<_> = documents.iter().map(|document| document.id.clone()).collect();
        let expected: Vec<_> = (0..PAGE * 3 / 2).filter(|number| *number != 7).map(|n| format!("p{n:05}")).collect();
        assert_eq!(ids, expected);
        let json = |at: usize| serde_json::to_value(&documents[at]).unwrap();
        assert_eq!(
            json(0),
            json!({
                "id": "p00000", "version": 1.5, "fields": {"n": 0}, "metadata": {"n": 0},
                "chunks": [{"fingerprint": "00".repeat(32), "vector": [0.0, 0.5]}],
            })
        );
        assert_eq!(
            json(7),
            json!({"id": "p00008", "version": 1.5, "fields": {"n": 8}, "metadata": null, "chunks": []}),
            "it waits for its text"
        );
    }

    #[test]
    fn vectors_that_are_not_kept_are_not_left_out_in_silence() {
        let (_folder, ledger) = filled(Points::Nowhere);
        let mut pages = Pages::new(&ledger, true, VersionUnit::Auto);
        let error = pages.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("dedup.persist"), "{error}");
        assert!(pages.next().is_none());
        let without = Pages::new(&ledger, false, VersionUnit::Auto).next().unwrap().unwrap();
        assert!(without.iter().flat_map(|document| &document.chunks).all(|chunk| chunk.vector.is_none()));
    }
}
