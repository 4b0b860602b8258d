//! Searching: the collection knows which points are near, and the ledger what they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::document::DocumentId;
use crate::index::target::parse_metadata;
use crate::index::{Hit, IndexError, Query};
use crate::ledger::Ledger;
use crate::ledger::patience::blocking;
use crate::settings::index::Metric;

use super::collection::{CollectionError, Nearest, Neighbour};
use super::{ExternalIndex, PointIds};

/// By how much more points are asked for, when too few documents were among them.
const WIDER: usize = 4;

impl ExternalIndex {
    pub(super) async fn find(&self, query: Query) -> Result<Vec<Hit>, IndexError> {
        let query = Arc::new(query);
        let most = self.collection.most_neighbours();
        // One more for the document that shall not be there.
        let mut limit = (query.k + usize::from(query.except.is_some())).clamp(1, most);
        loop {
            let nearest = Nearest { vector: &query.vector, filter: query.filter.as_ref(), limit };
            let found = match self.collection.nearest(nearest).await {
                Err(CollectionError::OneRefused(reason)) => return Err(IndexError::BadQuery(reason)),
                // Whoever searches is told at once that the collection wants a pause.
                found => found.map_err(|error| self.known(error))?,
            };
            let all = found.len() < limit || limit == most;
            let mut found: Vec<Neighbour> = found.into_iter().flatten().collect();
            if self.collection.metric() == Metric::Cosine {
                // Systems reckon with rounding: a text is as near as 1.0000001 to itself.
                found.iter_mut().for_each(|point| point.score = point.score.clamp(-1.0, 1.0));
            }
            let (asked, ids) = (Arc::clone(&query), self.ids);
            let hits = blocking(&self.ledger, move |ledger| hits(ledger, ids, found, &asked)).await?;
            if hits.len() == query.k || all {
                return Ok(hits);
            }
            limit = limit.saturating_mul(WIDER).min(most);
        }
    }
}

/// The documents of the points, each by the nearest that the ledger has of it. A point that the ledger does not have (any more) is passed
/// by: what is nearest may be what the collection has still to remove. So is one of another pipeline, whose document may have the name of
/// one of ours, and one whose document is in the ledger already as the filter does not let it through: the collection is a step behind.
fn hits(ledger: &Ledger, ids: PointIds, found: Vec<Neighbour>, query: &Query) -> Result<Vec<Hit>, IndexError> {
    // Each once: most of what was found may be of one document.
    let documents: HashSet<DocumentId> = found.iter().map(|point| point.document.clone()).collect();
    let documents: Vec<DocumentId> = documents.into_iter().collect();
    let held: HashMap<_, _> = documents.iter().zip(ledger.points_of(&documents)?).collect();
    let mut seen: HashSet<DocumentId> = query.except.iter().cloned().collect();
    let (mut hits, mut keys) = (Vec::new(), Vec::new());
    for Neighbour { id, document, chunk, score } in found {
        if hits.len() == query.k {
            break;
        }
        let held = held.get(&document).and_then(Option::as_ref);
        let point = held.and_then(|held| Some((held.metadata.as_ref()?, held.chunks.get(chunk)?.key)));
        let point = point.filter(|_| !seen.contains(&document) && ids.of(&document, chunk) == id);
        let Some((metadata, key)) = point else { continue };
        seen.insert(document.clone());
        let metadata = parse_metadata(metadata, document.as_str())?;
        if query.filter.as_ref().is_some_and(|filter| !filter.matches(&metadata)) {
            continue;
        }
        hits.push(Hit { id: document, score, metadata, chunk, vector: None });
        keys.push(key);
    }
    if query.with_vectors {
        hits.iter_mut().zip(ledger.vectors_of(&keys)?).for_each(|(hit, vector)| hit.vector = vector);
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;
    use tempfile::TempDir;

    use crate::document::{DocumentId, Vector};
    use crate::index::distance::Scorer;
    use crate::index::external::PointIds;
    use crate::index::external::collection::Point;
    use crate::index::{Collection, ExternalIndex, Filter, Hit, IndexError, Query, VectorIndex};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{DocumentWrite, LedgerOptions, Points, VectorSource};
    use crate::settings::index::Metric;
    use crate::testkit::fakes::{FakeCollection, Fault, write_all};

    struct Stage {
        index: ExternalIndex,
        collection: Arc<FakeCollection>,
        _folder: TempDir,
    }

    impl Stage {
        async fn new() -> Self {
            Self::over(FakeCollection::default()).await
        }

        async fn over(collection: FakeCollection) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
            let collection = Arc::new(collection);
            let index = ExternalIndex::new(ledger, collection.clone(), "test", DIMENSIONS, false);
            index.prepare().await.unwrap();
            Self { index, collection, _folder: folder }
        }

        /// The ledger has it, and the collection does not.
        async fn write_to_the_ledger_alone(&self, write: DocumentWrite) {
            self.collection.faults.order([Fault::Unavailable]);
            write_all(&self.index, [write].into()).await.unwrap_err();
        }

        /// The names and chunks of the nearest documents.
        async fn near(&self, text: &str, k: usize, filter: Option<Filter>) -> Vec<String> {
            let query = Query { vector: vector(text), k, filter, except: None, with_vectors: true };
            let hits = self.index.search(query).await.unwrap();
            let points = self.collection.points();
            let own = |hit: &Hit| points.iter().find(|point| (&point.document, point.chunk) == (&hit.id, hit.chunk));
            assert!(hits.iter().all(|hit| hit.vector == own(hit).map(|point| point.vector.clone())));
            hits.iter().map(|hit| format!("{}/{}", hit.id, hit.chunk)).collect()
        }
    }

    fn vector(text: &str) -> Vector {
        let VectorSource::Here(vector) = here(text).vector else { panic!() };
        vector
    }

    #[tokio::test(start_paused = true)]
    async fn a_hit_that_the_ledger_has_otherwise_than_the_filter_wants_is_left_out() {
        let stage = Stage::new().await;
        let priced = |name: &str, price: u32| {
            let metadata = Some(json!({ "price": price }).to_string());
            DocumentWrite { metadata, ..write(name, vec![here(name)]) }
        };
        write_all(&stage.index, [priced("a", 1), priced("b", 1)].into()).await.unwrap();
        let found = async |price: u32| {
            let filter = Filter::from_json(&json!({ "price": price })).unwrap();
            stage.near("a", 2, Some(filter)).await
        };
        assert_eq!(found(1).await.len(), 2);
        stage.write_to_the_ledger_alone(priced("a", 2)).await;
        assert_eq!((found(1).await, found(2).await), (vec!["b/0".to_owned()], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cosine_that_the_system_rounds_beyond_1_is_1_and_no_other_score_is_changed() {
        let own = vector("a");
        let product = Scorer::new(Metric::Dot, &own).score(&own);
        for (metric, rounding, expected) in [
            (Metric::Cosine, 1e-6, 1.0),
            (Metric::Cosine, -2.001, -1.0),
            (Metric::Cosine, -0.5, 0.5),
            (Metric::Dot, 5.0, product + 5.0),
            (Metric::L2, -5.0, -5.0),
        ] {
            let mut collection = FakeCollection::default();
            (collection.metric, collection.rounding) = (metric, rounding);
            let stage = Stage::over(collection).await;
            write_all(&stage.index, [write("a", vec![here("a")])].into()).await.unwrap();
            let query = Query { vector: own.clone(), k: 1, filter: None, except: None, with_vectors: false };
            let hits = stage.index.search(query).await.unwrap();
            assert!((hits[0].score - expected).abs() <= 1e-6, "{metric:?} {rounding}: {}", hits[0].score);
            assert!(metric != Metric::Cosine || hits[0].score.abs() <= 1.0, "{metric:?} {rounding}: {}", hits[0].score);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_given_nothing() {
        let stage = Stage::new().await;
        write_all(&stage.index, [write("a", vec![here("a")]), write("b", vec![here("b")])].into()).await.unwrap();
        assert_eq!(stage.near("a", 0, None).await, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn metadata_that_cannot_be_read_is_told() {
        let stage = Stage::new().await;
        let cut_off = DocumentWrite { metadata: Some("{".to_owned()), ..write("a", vec![here("a")]) };
        write_all(&stage.index, [cut_off].into()).await.unwrap();
        let query = Query { vector: vector("a"), k: 1, filter: None, except: None, with_vectors: false };
        let told = stage.index.search(query).await;
        assert!(matches!(&told, Err(IndexError::Fatal(text)) if text.contains("document `a`")), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn points_of_another_pipeline_are_passed_by_though_their_document_has_the_name_of_one_of_ours() {
        let stage = Stage::new().await;
        write_all(&stage.index, [write("a", vec![here("far")]), write("b", vec![here("b")])].into()).await.unwrap();
        let document = DocumentId::new("a").unwrap();
        let theirs = (0..9).map(|chunk| Point {
            id: PointIds::new("another").of(&document, chunk),
            document: document.clone(),
            chunk: 0,
            metadata: "{}".into(),
            vector: vector("near"),
        });
        stage.collection.upsert(&theirs.collect::<Vec<_>>()).await.unwrap();
        let query = Query { vector: vector("near"), k: 2, filter: None, except: None, with_vectors: false };
        let hits = stage.index.search(query).await.unwrap();
        let scorer = Scorer::new(Metric::Cosine, &vector("near"));
        let found: BTreeMap<_, _> = hits.iter().map(|hit| (hit.id.as_str(), hit.score)).collect();
        let expected = [("a", "far"), ("b", "b")].map(|(name, text)| (name, scorer.score(&vector(text))));
        assert_eq!(found, expected.into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_is_found_by_what_is_left_of_it_while_the_collection_has_what_is_gone() {
        let stage = Stage::new().await;
        let chunks = ["far", "near", "nearer", "nearest"];
        let documents = [write("a", chunks.map(here).into()), write("b", vec![here("b")])];
        write_all(&stage.index, documents.into()).await.unwrap();
        assert_eq!(stage.near("nearest", 1, None).await, ["a/3"]);
        stage.write_to_the_ledger_alone(write("a", vec![here("far")])).await;
        assert_eq!(stage.collection.points().len(), 5, "the points that are to go are still there");
        for (k, found) in [(1, &["a/0"][..]), (2, &["a/0", "b/0"]), (3, &["a/0", "b/0"])] {
            assert_eq!(stage.near("nearest", k, None).await, found, "{k}");
        }
    }
}
