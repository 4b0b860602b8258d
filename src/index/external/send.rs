//! What the collection lacks, sent to it: new points and metadata first, and only then what must go, so that a document is never missing
//! while it changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::document::{DocumentId, Vector};
use crate::index::collection::{CollectionError, Point, PointMetadata};
use crate::index::{IndexError, RefusedWrite};
use crate::ledger::{DocumentWrite, Outstanding, VectorSource};

use super::ExternalIndex;
use super::bulk::{cut, send_in_halves};

/// One chunk that is to be sent.
struct Parcel {
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
        let (written, points) = self.ledger(move |ledger| Ok((ledger.write(&writes)?, ledger.point_count()?))).await?;
        self.points.store(points, Ordering::Relaxed);
        Ok(written.outstanding)
    }

    /// Sends what is outstanding. Answers which documents were refused: some of their points may be there.
    pub(super) async fn send(
        &self,
        writes: &[DocumentWrite],
        outstanding: &[Outstanding],
    ) -> Result<Vec<RefusedWrite>, IndexError> {
        let (mut points, mut labels, mut surplus) = (Vec::new(), Vec::new(), Vec::new());
        for Outstanding { write, points: held, metadata, has } in outstanding {
            let DocumentWrite { id, metadata: text, chunks, .. } = &writes[*write];
            let text: Arc<str> = text.as_deref().unwrap_or("{}").into();
            for ((chunk, has), written) in has.iter().enumerate().zip(chunks) {
                let parcels = match (has, metadata) {
                    (false, _) => &mut points,
                    (true, true) => &mut labels,
                    (true, false) => continue,
                };
                let (document, metadata, vector) = (id.clone(), text.clone(), written.vector.clone());
                parcels.push(Parcel { write: *write, chunk, document, metadata, vector });
            }
            surplus.extend((has.len()..*held).map(|chunk| self.ids.of(id, chunk)));
        }
        let mut refused = Refused::new();
        points.extend(self.send_labels(labels, &mut refused).await?);
        self.send_points(points, &mut refused).await?;
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
            DocumentWrite {
                id: id.clone(),
                document: document.clone(),
                record: None,
                clears: None,
                metadata: None,
                chunks: Vec::new(),
            }
        });
        let out: Arc<[DocumentWrite]> = out.collect();
        let outstanding = self.note(out.clone()).await?;
        self.send(&out, &outstanding).await?;
        Ok(())
    }

    /// Answers those that must be sent with their vectors instead.
    async fn send_labels(&self, parcels: Vec<Parcel>, refused: &mut Refused) -> Result<Vec<Parcel>, IndexError> {
        let bulk = self.collection.bulk();
        let calls = stream::iter(cut(parcels, bulk, |parcel| (parcel.metadata.len(), 0)));
        let mut sent = calls.map(|call| self.send_label_call(call)).buffer_unordered(bulk.concurrency);
        let mut lacking = Vec::new();
        while let Some((lacked, no)) = sent.try_next().await? {
            lacking.extend(lacked);
            refused.extend(no);
        }
        Ok(lacking)
    }

    async fn send_label_call(&self, call: Vec<Parcel>) -> Result<(Vec<Parcel>, Refused), IndexError> {
        let label = |parcel: &Parcel| PointMetadata {
            id: self.ids.of(&parcel.document, parcel.chunk),
            document: parcel.document.clone(),
            chunk: parcel.chunk,
            metadata: parcel.metadata.clone(),
        };
        let labels: Vec<PointMetadata> = call.iter().map(label).collect();
        let sent = send_in_halves(&labels, |part| {
            async move {
                match self.collection.set_metadata(part).await {
                    // Which of the others it lacks is not told then. Upserted, the same ones are refused by name.
                    Err(CollectionError::Refused(_)) => Ok((0..part.len()).collect()),
                    done => done,
                }
            }
            .boxed()
        });
        let outcome = self.failing(sent).await?;
        let refused = outcome.refused.into_iter().map(|point| (call[point.index].write, point.reason)).collect();
        let lacking = outcome.answers.iter().flat_map(|(from, lacking)| lacking.iter().map(move |index| from + index));
        let lacking: HashSet<usize> = lacking.collect();
        let call = call.into_iter().enumerate().filter(|(index, _)| lacking.contains(index));
        Ok((call.map(|(_, parcel)| parcel).collect(), refused))
    }

    async fn send_points(&self, parcels: Vec<Parcel>, refused: &mut Refused) -> Result<(), IndexError> {
        let bulk = self.collection.bulk();
        let calls = stream::iter(cut(parcels, bulk, |parcel| (parcel.metadata.len(), self.dimensions)));
        let mut sent = calls.map(|call| self.send_point_call(call)).buffer_unordered(bulk.concurrency);
        while let Some(no) = sent.try_next().await? {
            refused.extend(no);
        }
        Ok(())
    }

    async fn send_point_call(&self, call: Vec<Parcel>) -> Result<Refused, IndexError> {
        let vectors = self.vectors_of(&call).await?;
        let point = |(parcel, vector): (&Parcel, Vector)| Point {
            id: self.ids.of(&parcel.document, parcel.chunk),
            document: parcel.document.clone(),
            chunk: parcel.chunk,
            metadata: parcel.metadata.clone(),
            vector,
        };
        let points: Vec<Point> = call.iter().zip(vectors).map(point).collect();
        let outcome = self.failing(send_in_halves(&points, |part| self.collection.upsert(part))).await?;
        Ok(outcome.refused.into_iter().map(|point| (call[point.index].write, point.reason)).collect())
    }

    /// The vectors of a call, those that are only in the ledger read from there: a call's worth of them at a time.
    async fn vectors_of(&self, call: &[Parcel]) -> Result<Vec<Vector>, IndexError> {
        let held = call.iter().filter_map(|parcel| match parcel.vector {
            VectorSource::Held(key) => Some(key),
            VectorSource::Here(_) => None,
        });
        let keys: Vec<_> = held.collect();
        let mut read = match keys.is_empty() {
            true => Vec::new().into_iter(),
            false => self.ledger(move |ledger| ledger.vectors_of(&keys)).await?.into_iter(),
        };
        let vector = |parcel: &Parcel| match &parcel.vector {
            VectorSource::Here(vector) => Ok(vector.clone()),
            VectorSource::Held(key) => read.next().flatten().ok_or_else(|| {
                IndexError::Stale(format!("document `{}` holds no point {key} any more", parcel.document))
            }),
        };
        call.iter().map(vector).collect()
    }

    async fn delete(&self, ids: Vec<Uuid>) -> Result<(), IndexError> {
        let bulk = self.collection.bulk();
        let calls = stream::iter(cut(ids, bulk, |_| (0, 0)));
        let deleted = calls.map(|call| async move { self.failing(self.collection.delete(&call)).await });
        deleted.buffer_unordered(bulk.concurrency).try_collect().await
    }
}
