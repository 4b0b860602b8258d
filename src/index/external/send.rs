//! What the collection lacks, sent to it: new points and metadata first, and only then what must go, so that a document is never missing
//! while it changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use uuid::Uuid;

use crate::document::{DocumentId, Vector};
use crate::index::target::check_vectors;
use crate::index::{IndexError, RefusedWrite};
use crate::ledger::patience::blocking;
use crate::ledger::{DocumentWrite, Ledger, Outstanding, VectorSource};

use super::ExternalIndex;
use super::bulk::{cut, send_in_halves};
use super::collection::{Point, PointMetadata};
use super::concurrent::concurrently;
use super::proof::Proof;

/// One chunk that is to be sent.
struct Sending {
    /// Index into the writes.
    write: usize,
    chunk: usize,
    document: DocumentId,
    metadata: Arc<str>,
    vector: VectorSource,
}

/// The first reason why each document was refused, by its index in the writes.
type Refused = BTreeMap<usize, String>;

impl ExternalIndex {
    /// Makes the ledger hold what is to be written, and the note of what the collection lacks then.
    pub(super) async fn note(&self, writes: Arc<[DocumentWrite]>) -> Result<Vec<Outstanding>, IndexError> {
        let dimensions = self.dimensions;
        let note = move |ledger: &Ledger| {
            // Some systems store what they report as refused, or take numbers that are none.
            check_vectors(&writes, dimensions)?;
            Ok(ledger.write(&writes)?.outstanding)
        };
        blocking(&self.ledger, note).await
    }

    /// Sends what is outstanding. Answers which documents were refused: some of their points may be there.
    pub(super) async fn send(
        &self,
        writes: &[DocumentWrite],
        outstanding: &[Outstanding],
    ) -> Result<Vec<RefusedWrite>, IndexError> {
        let (mut points, mut updates, mut surplus) = (Vec::new(), Vec::new(), Vec::new());
        for Outstanding { write, points: held, metadata, has } in outstanding {
            let DocumentWrite { id, metadata: text, chunks, .. } = &writes[*write];
            let text: Arc<str> = text.as_deref().unwrap_or("{}").into();
            for ((chunk, has), written) in has.iter().enumerate().zip(chunks) {
                let kind = match (has, metadata) {
                    (false, _) => &mut points,
                    (true, true) => &mut updates,
                    (true, false) => continue,
                };
                let (document, metadata, vector) = (id.clone(), text.clone(), written.vector.clone());
                kind.push(Sending { write: *write, chunk, document, metadata, vector });
            }
            surplus.extend((has.len()..*held).map(|chunk| self.ids.of(id, chunk)));
        }
        let (mut refused, proof) = (Refused::new(), Proof::new());
        points.extend(self.send_metadata(updates, &mut refused, &proof).await?);
        self.send_points(points, &mut refused, &proof).await?;
        self.delete(surplus).await?;
        Ok(refused.into_iter().map(|(write, reason)| RefusedWrite { write, reason }).collect())
    }

    /// Takes documents that were refused out of the ledger's index and out of the collection.
    pub(super) async fn withdraw(&self, writes: &[DocumentWrite], refused: &[RefusedWrite]) -> Result<(), IndexError> {
        if refused.is_empty() {
            return Ok(());
        }
        let out = refused.iter().map(|RefusedWrite { write, .. }| {
            let DocumentWrite { id, document, .. } = &writes[*write];
            DocumentWrite::out_of_index(id.clone(), document.clone(), Vec::new())
        });
        let out: Arc<[DocumentWrite]> = out.collect();
        let outstanding = self.note(out.clone()).await?;
        self.send(&out, &outstanding).await?;
        Ok(())
    }

    /// Answers those that must be sent with their vectors instead.
    async fn send_metadata(
        &self,
        chunks: Vec<Sending>,
        refused: &mut Refused,
        proof: &Proof,
    ) -> Result<Vec<Sending>, IndexError> {
        let bulk = self.collection.bulk();
        let calls = cut(chunks, bulk, |sending| (sending.metadata.len(), 0));
        let calls = calls.into_iter().map(|call| self.send_metadata_call(call, proof));
        let mut lacking = Vec::new();
        for (lacked, no) in concurrently(calls, bulk.concurrency).await? {
            lacking.extend(lacked);
            refused.extend(no);
        }
        Ok(lacking)
    }

    async fn send_metadata_call(
        &self,
        call: Vec<Sending>,
        proof: &Proof,
    ) -> Result<(Vec<Sending>, Refused), IndexError> {
        let new = |sending: &Sending| PointMetadata {
            id: self.ids.of(&sending.document, sending.chunk),
            document: sending.document.clone(),
            chunk: sending.chunk,
            metadata: sending.metadata.clone(),
        };
        let metadata: Vec<PointMetadata> = call.iter().map(new).collect();
        let sent = send_in_halves(&metadata, |part| {
            async move { self.proven(self.collection.set_metadata(part).await, proof).await }.boxed()
        });
        let outcome = self.failing(sent).await?;
        let refused = outcome.refused.into_iter().map(|point| (call[point.index].write, point.reason)).collect();
        let lacking = outcome.answers.iter().flat_map(|(from, lacking)| lacking.iter().map(move |index| from + index));
        let lacking: HashSet<usize> = lacking.collect();
        let call = call.into_iter().enumerate().filter(|(index, _)| lacking.contains(index));
        Ok((call.map(|(_, sending)| sending).collect(), refused))
    }

    async fn send_points(&self, chunks: Vec<Sending>, refused: &mut Refused, proof: &Proof) -> Result<(), IndexError> {
        let bulk = self.collection.bulk();
        let calls = cut(chunks, bulk, |sending| (sending.metadata.len(), self.dimensions));
        let calls = calls.into_iter().map(|call| self.send_point_call(call, proof));
        refused.extend(concurrently(calls, bulk.concurrency).await?.into_iter().flatten());
        Ok(())
    }

    async fn send_point_call(&self, call: Vec<Sending>, proof: &Proof) -> Result<Refused, IndexError> {
        let vectors = self.vectors_of(&call).await?;
        let point = |(sending, vector): (&Sending, Vector)| Point {
            id: self.ids.of(&sending.document, sending.chunk),
            document: sending.document.clone(),
            chunk: sending.chunk,
            metadata: sending.metadata.clone(),
            vector,
        };
        let points: Vec<Point> = call.iter().zip(vectors).map(point).collect();
        let sent = send_in_halves(&points, |part| {
            async move { self.proven(self.collection.upsert(part).await, proof).await }.boxed()
        });
        let outcome = self.failing(sent).await?;
        Ok(outcome.refused.into_iter().map(|point| (call[point.index].write, point.reason)).collect())
    }

    /// The vectors of a call, those that are only in the ledger read from there: a call's worth of them at a time.
    async fn vectors_of(&self, call: &[Sending]) -> Result<Vec<Vector>, IndexError> {
        let held = call.iter().filter_map(|sending| match sending.vector {
            VectorSource::Held(key) => Some(key),
            VectorSource::Here(_) => None,
        });
        let keys: Vec<_> = held.collect();
        let read =
            if keys.is_empty() { Vec::new() } else { self.ledger(move |ledger| ledger.vectors_of(&keys)).await? };
        let mut read = read.into_iter();
        let vector = |sending: &Sending| match &sending.vector {
            VectorSource::Here(vector) => Ok(vector.clone()),
            VectorSource::Held(key) => read.next().flatten().ok_or_else(|| {
                IndexError::Stale(format!("document `{}` holds no point {key} any more", sending.document))
            }),
        };
        call.iter().map(vector).collect()
    }

    async fn delete(&self, ids: Vec<Uuid>) -> Result<(), IndexError> {
        let bulk = self.collection.bulk();
        let calls = cut(ids, bulk, |_| (0, 0)).into_iter();
        let calls = calls.map(|call| async move { self.failing(self.collection.delete(&call)).await });
        concurrently(calls, bulk.concurrency).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::actor::pulse;
    use crate::index::external::collection::Bulk;
    use crate::index::{Collection, Progress, VectorIndex};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{ChunkWrite, LedgerOptions, Points};
    use crate::testkit::fakes::{FakeCollection, Fault, SLOW, write_all};

    /// An index of one point a call, two calls at once.
    struct Stage {
        index: ExternalIndex,
        collection: Arc<FakeCollection>,
        _folder: TempDir,
    }

    impl Stage {
        async fn new() -> Self {
            Self::of(1).await
        }

        /// Of so many points a call.
        async fn of(points: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
            let mut collection = FakeCollection::default();
            collection.bulk = Bulk { points, concurrency: 2, ..collection.bulk };
            let collection = Arc::new(collection);
            let index = ExternalIndex::new(ledger, collection.clone(), "test", DIMENSIONS, false);
            index.prepare().await.unwrap();
            Self { index, collection, _folder: folder }
        }

        /// Writes it while one call fails and the one beside it is slow, then again. Answers the calls that each attempt did.
        async fn write_twice(&self, document: DocumentWrite) -> [Vec<String>; 2] {
            let writes: Arc<[DocumentWrite]> = [document].into();
            let before = self.collection.calls().len();
            self.collection.faults.order([Fault::Unavailable, Fault::Slow]);
            let failed = write_all(&self.index, writes.clone()).await;
            assert!(matches!(failed, Err(IndexError::Unavailable(_))), "{failed:?}");
            let first = self.collection.calls().split_off(before);
            tokio::time::sleep(2 * SLOW).await;
            assert_eq!(self.collection.calls().split_off(before), first, "nothing comes after the write");
            assert_eq!(write_all(&self.index, writes).await.unwrap(), []);
            let mut second = self.collection.calls().split_off(before + first.len());
            // Which of two calls gets its vectors from the ledger first is up to the threads.
            second.sort();
            [first, second]
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_done_in_parts_of_the_calls_that_may_be_on_their_way_at_once() {
        let stage = Stage::new().await;
        let documents = ["a", "b", "c", "d", "e"].map(|name| write(name, vec![here(name)]));
        let writes: Arc<[DocumentWrite]> = documents.into();
        for (held, progress) in [(2, Progress::More), (4, Progress::More), (5, Progress::Done(vec![]))] {
            assert_eq!(stage.index.write(writes.clone()).await.unwrap(), progress);
            assert_eq!(stage.collection.points().len(), held);
        }
        assert_eq!(stage.index.may_take(), stage.collection.timeout() + pulse::CALL_MAY_TAKE);

        let long = ["a", "b"].map(|name| write(name, ["one", "two", "three"].map(here).into()));
        write_all(&stage.index, long.into()).await.unwrap();
        let gone: Arc<[DocumentWrite]> = ["a", "b"].map(|name| write(name, vec![])).into();
        for (held, progress) in [(6, Progress::More), (3, Progress::Done(vec![]))] {
            assert_eq!(stage.index.write(gone.clone()).await.unwrap(), progress);
            assert_eq!(stage.collection.points().len(), held);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_system_may_be_given_is_kept_nowhere() {
        let stage = Stage::new().await;
        for (vector, said) in [([1.0; 3].into(), "has 3 dimensions"), ([f32::NAN; DIMENSIONS].into(), "not finite")] {
            let chunk = ChunkWrite { vector: VectorSource::Here(vector), ..here("one") };
            let told = stage.index.write([write("a", vec![chunk])].into()).await;
            assert!(matches!(&told, Err(IndexError::Fatal(text)) if text.contains(said)), "{told:?}");
        }
        assert_eq!((stage.index.ledger.counts().unwrap().documents, stage.collection.calls().len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_may_take_as_long_as_finding_each_of_its_points_refused() {
        // With their vectors no more than 16,384 fit into a call of this collection, and two such calls into a part.
        for (points, times) in [(1, 1), (100, 1), (101, 2), (1_000, 10), (1_000_000, 328)] {
            let stage = Stage::of(points).await;
            let may_take = stage.collection.timeout() + pulse::CALL_MAY_TAKE * times;
            assert_eq!(stage.index.may_take(), may_take, "{points}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_waits_for_the_one_beside_it_and_none_is_begun_after_it() {
        let stage = Stage::new().await;
        let calls = |call: &str, chunks: &[usize]| -> Vec<String> {
            chunks.iter().map(|chunk| format!("{call} a/{chunk}")).collect()
        };
        let texts = ["one", "two", "three"];
        let points = stage.write_twice(write("a", texts.map(here).into())).await;
        assert_eq!(points, [calls("upsert", &[1]), calls("upsert", &[0, 1, 2])]);

        let held = stage.index.ledger.documents(&[DocumentId::new("a").unwrap()]).unwrap().remove(0).unwrap();
        let held = texts.iter().zip(held.chunks);
        let chunks =
            held.map(|(text, held)| ChunkWrite { vector: VectorSource::Held(held.key), ..here(text) }).collect();
        let metadata = DocumentWrite { metadata: Some(r#"{"price":1}"#.to_owned()), ..write("a", chunks) };
        let metadata = stage.write_twice(metadata).await;
        assert_eq!(metadata, [calls("set_metadata", &[1]), calls("set_metadata", &[0, 1, 2])]);

        let deletes = stage.write_twice(write("a", vec![])).await;
        assert_eq!(deletes, [vec!["delete 1"], vec!["delete 1"; 3]]);
        assert_eq!(stage.collection.points(), []);
    }
}
