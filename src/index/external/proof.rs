//! What a refusal is worth. A system that has a new rule, no room, or vectors of another length refuses every document, one after another:
//! believed, it would empty the index. So it is believed only of a system that takes a point with nothing in it to be refused.

use std::slice;

use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::document::DocumentId;

use super::ExternalIndex;
use super::collection::{CollectionError, Point};

/// The document of the harmless point: as short as can be, since a collection that somebody else made may have room for short ids only. If
/// this ledger has a document of that name, its points have other ids.
const HARMLESS: &str = "-";

/// Whether a harmless point was taken since the writing began.
pub(super) type Proof = OnceCell<()>;

impl ExternalIndex {
    /// Passes on what came of a call, and a refusal by the system only when the system takes a harmless point.
    pub(super) async fn proven<T>(
        &self,
        done: Result<T, CollectionError>,
        proof: &Proof,
    ) -> Result<T, CollectionError> {
        let doubtful = match &done {
            Err(CollectionError::OneRefused(_)) => true,
            Err(CollectionError::Refused(points)) => points.iter().any(|point| point.by_system),
            _ => false,
        };
        if doubtful {
            proof.get_or_try_init(|| self.try_harmless()).await?;
        }
        done
    }

    /// Never refused itself: that would be taken for the refusal of a document.
    async fn try_harmless(&self) -> Result<(), CollectionError> {
        let id = self.ids.harmless();
        let tried = async {
            if self.collection.look().await?.is_none() {
                return Err(CollectionError::Missing("it is not there any more".to_owned()));
            }
            self.collection.upsert(slice::from_ref(&self.harmless(id))).await?;
            // After a crash before this one, the same documents are written again, refused again, and it goes then.
            self.collection.delete(&[id]).await
        };
        let reason = match tried.await {
            Err(CollectionError::OneRefused(reason)) => reason,
            Err(CollectionError::Refused(points)) => {
                points.into_iter().map(|point| point.reason).next().unwrap_or_default()
            }
            done => return done,
        };
        Err(CollectionError::Fatal(format!(
            "it refuses even a point without metadata, so the fault is not in the documents, and they wait: look for a limit that is \
             reached, and for what was changed in the collection, such as a column that must be set. It said: {reason}"
        )))
    }

    fn harmless(&self, id: Uuid) -> Point {
        let document = DocumentId::new(HARMLESS).expect("it is neither empty nor too long");
        // Of length 1: with cosine, some systems take no other one.
        let vector = (0..self.dimensions).map(|number| if number == 0 { 1.0 } else { 0.0 }).collect();
        Point { id, document, chunk: 0, metadata: "{}".into(), vector }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use tempfile::TempDir;

    use super::*;
    use crate::index::{IndexError, RefusedWrite, VectorIndex};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, Points};
    use crate::testkit::fakes::{FakeCollection, Fault, write_all};

    struct Stage {
        index: ExternalIndex,
        collection: Arc<FakeCollection>,
        _folder: TempDir,
    }

    impl Stage {
        /// With documents `a` and `b` of two chunks each, written before the rule holds.
        async fn new(names_them: bool, rule: fn(&Point) -> bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
            let mut collection = FakeCollection::default();
            (collection.names_refused, collection.bulk.points) = (names_them, 8);
            let collection = Arc::new(collection);
            let index = ExternalIndex::new(ledger, collection.clone(), "test", DIMENSIONS, false);
            index.prepare().await.unwrap();
            let stage = Self { index, collection, _folder: folder };
            assert_eq!(stage.write("one", "two").await.unwrap(), []);
            *stage.collection.rule.lock() = rule;
            stage
        }

        fn documents(first: &str, second: &str) -> [DocumentWrite; 2] {
            ["a", "b"].map(|name| {
                let of = |text: &str| here(&format!("{name} {text}"));
                DocumentWrite { metadata: Some("{}".to_owned()), ..write(name, vec![of(first), of(second)]) }
            })
        }

        async fn write(&self, first: &str, second: &str) -> Result<Vec<RefusedWrite>, IndexError> {
            write_all(&self.index, Self::documents(first, second).into()).await
        }

        /// The chunks that the collection holds.
        fn held(&self) -> Vec<String> {
            let points = self.collection.points();
            let mut held: Vec<String> =
                points.iter().map(|point| format!("{}/{}", point.document, point.chunk)).collect();
            held.sort();
            held
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_hits_a_harmless_point_too_takes_nothing_out_and_waits() {
        for names_them in [false, true] {
            let stage = Stage::new(names_them, |_| true).await;
            let before = stage.collection.calls().len();
            for _ in 0..3 {
                let told = stage.write("three", "four").await;
                assert!(
                    matches!(&told, Err(IndexError::Fatal(text)) if text.contains("column must be set") && text.contains("they wait")),
                    "{told:?}"
                );
            }
            assert_eq!(stage.held(), ["a/0", "a/1", "b/0", "b/1"], "what was there still is");
            assert_eq!(stage.index.ledger.point_count().unwrap(), 4);
            let calls = stage.collection.calls().split_off(before);
            let upserts = calls.iter().filter(|call| call.starts_with("upsert")).count();
            assert_eq!(upserts, 6, "nobody asks for each point of them: {calls:?}");
            *stage.collection.rule.lock() = |_| false;
            assert_eq!(stage.write("three", "four").await.unwrap(), []);
            assert_eq!(stage.held(), ["a/0", "a/1", "b/0", "b/1"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_by_what_became_of_the_collection_is_told_as_that() {
        let stage = Stage::new(false, |_| true).await;
        stage.collection.unfit.store(true, Ordering::SeqCst);
        let told = stage.write("three", "four").await;
        assert!(matches!(&told, Err(IndexError::Unfit(text)) if text.contains("7 numbers")), "{told:?}");
        stage.collection.remove();
        stage.collection.unfit.store(false, Ordering::SeqCst);
        let told = stage.write("three", "four").await;
        assert!(matches!(&told, Err(IndexError::Lost(_))), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_is_refused_by_a_system_that_takes_a_harmless_point_goes_and_no_probe_stays() {
        for names_them in [false, true] {
            let stage = Stage::new(names_them, |point| point.document.as_str() == "b").await;
            let refused = stage.write("three", "four").await.unwrap();
            assert_eq!(refused.iter().map(|refused| refused.write).collect::<Vec<_>>(), [1]);
            assert_eq!(stage.held(), ["a/0", "a/1"]);
            let calls = stage.collection.calls();
            let probes = calls.iter().filter(|call| **call == format!("upsert {HARMLESS}/0")).count();
            assert_eq!(probes, 1, "once for all of them: {calls:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_whose_withdrawal_fails_is_forgotten_and_the_document_may_be_taken_at_the_next_attempt() {
        let stage = Stage::new(false, |point| point.document.as_str() == "b").await;
        let writes: Arc<[DocumentWrite]> = Stage::documents("three", "four").into();
        // The probe comes and goes, and `a` is taken.
        stage.collection.faults.order([Fault::None, Fault::None, Fault::None, Fault::Unavailable]);
        let told = stage.index.write(writes.clone()).await;
        assert!(matches!(told, Err(IndexError::Unavailable(_))), "{told:?}");
        assert_eq!(stage.index.ledger.point_count().unwrap(), 2, "`b` is withdrawn");
        *stage.collection.rule.lock() = |_| false;
        assert_eq!(write_all(&stage.index, writes).await.unwrap(), []);
        assert_eq!(stage.held(), ["a/0", "a/1", "b/0", "b/1"]);
        assert_eq!(stage.index.ledger.point_count().unwrap(), 4);
        assert_eq!(stage.index.ledger.last_unwritten().unwrap(), None);
    }
}
