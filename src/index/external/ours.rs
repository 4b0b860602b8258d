//! Whether a collection is the one that the ledger wrote to, and has what was written: the one at its place, with its mark and its points.

use std::time::Duration;

use tokio::time::Instant;

use crate::index::IndexError;
use crate::index::collection::Established;
use crate::ledger::settings::COLLECTION_MARK;
use crate::ledger::{Ledger, LedgerError};

use super::ExternalIndex;

/// How long a count that comes after the writes is given to grow. Systems that count so are behind by seconds.
const COUNTED_AFTER: Duration = Duration::from_secs(120);

/// Whether so many points may be what is left of those that were written, when somebody took away a few.
pub(super) fn has_most(points: u64, written: u64) -> bool {
    points.saturating_mul(2) >= written
}

/// Whether the ledger wrote to the collection at this place with this mark. In a ledger of before there is no mark, and the place must do.
pub fn is_ours(ledger: &Ledger, place: &str, mark: Option<&str>) -> Result<bool, LedgerError> {
    let known = ledger.setting(COLLECTION_MARK)?;
    let same_mark = known.is_none_or(|known| mark == Some(known.as_str()));
    Ok(same_mark && ledger.collection()?.as_deref() == Some(place))
}

impl ExternalIndex {
    /// A count that is too small for what was written, and may still grow, is not believed yet: it is to be asked for again.
    pub(super) fn counted(&self, found: &Established, written: u64) -> Result<(), IndexError> {
        let Established::Delayed { points } = *found else { return Ok(()) };
        if has_most(points, written) {
            return Ok(());
        }
        let mut last = self.counted.lock();
        match *last {
            Some((before, since)) if points <= before && since.elapsed() >= COUNTED_AFTER => return Ok(()),
            Some((before, _)) if points <= before => {}
            _ => *last = Some((points, Instant::now())),
        }
        Err(IndexError::Unavailable(format!(
            "it has counted {points} points so far, and {written} were written to it: asking again until the count grows no more"
        )))
    }

    /// After the place: a crash in between leaves the mark of another place, which is none of this one's.
    pub(super) async fn remember(&self, mark: Option<String>) -> Result<(), IndexError> {
        self.ledger(move |ledger| match (mark, ledger.setting(COLLECTION_MARK)?) {
            (mark, known) if mark == known => Ok(()),
            (Some(mark), _) => ledger.set_setting(COLLECTION_MARK, &mark),
            (None, _) => ledger.forget_setting(COLLECTION_MARK),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use parking_lot::Mutex;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::index::VectorIndex;
    use crate::index::collection::{Bulk, Collection, CollectionError, Nearest, Neighbour, Point};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{Ledger, LedgerOptions};
    use crate::testkit::fakes::{FakeCollection, write_all};

    /// One of several at the same place. It counts as it is told, and then as it is.
    struct Marked(Arc<FakeCollection>, Option<&'static str>, Arc<Mutex<VecDeque<u64>>>);

    impl Collection for Marked {
        fn place(&self) -> &str {
            self.0.place()
        }

        fn mark(&self) -> BoxFuture<'_, Result<Option<String>, CollectionError>> {
            async { Ok(self.1.map(str::to_owned)) }.boxed()
        }

        fn bulk(&self) -> Bulk {
            self.0.bulk()
        }

        fn establish(&self) -> BoxFuture<'_, Result<Established, CollectionError>> {
            match self.2.lock().pop_front() {
                Some(points) => async move { Ok(Established::Delayed { points }) }.boxed(),
                None => self.0.establish(),
            }
        }

        fn look(&self) -> BoxFuture<'_, Result<Option<Established>, CollectionError>> {
            self.0.look()
        }

        fn upsert<'a>(&'a self, points: &'a [Point]) -> BoxFuture<'a, Result<(), CollectionError>> {
            self.0.upsert(points)
        }

        fn delete<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<(), CollectionError>> {
            self.0.delete(ids)
        }

        fn nearest<'a>(&'a self, nearest: Nearest<'a>) -> BoxFuture<'a, Result<Vec<Neighbour>, CollectionError>> {
            self.0.nearest(nearest)
        }

        fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
            self.0.fetch(ids)
        }
    }

    struct Stage {
        ledger: Arc<Ledger>,
        collection: Arc<FakeCollection>,
        counts: Arc<Mutex<VecDeque<u64>>>,
        _folder: TempDir,
    }

    impl Stage {
        /// A ledger that wrote a document to a collection with this mark.
        async fn new(mark: Option<&'static str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Arc::new(open_with(&folder, LedgerOptions { external: true, ..options() }));
            let stage = Self { ledger, collection: Arc::default(), counts: Arc::default(), _folder: folder };
            let index = stage.index(mark);
            index.prepare().await.unwrap();
            write_all(&index, [write("a", vec![here("one")])].into()).await.unwrap();
            stage
        }

        fn index(&self, mark: Option<&'static str>) -> ExternalIndex {
            let collection = Arc::new(Marked(self.collection.clone(), mark, self.counts.clone()));
            ExternalIndex::open(self.ledger.clone(), collection, "test", DIMENSIONS, false).unwrap()
        }

        async fn prepare(&self, mark: Option<&'static str>) -> Result<(), IndexError> {
            self.index(mark).prepare().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_collection_with_another_mark_is_not_ours_though_it_has_the_same_place() {
        for own in [Some("first"), None] {
            let stage = Stage::new(own).await;
            stage.prepare(own).await.unwrap();
            assert!(!stage.ledger.any_unwritten().unwrap());
        }
        let stage = Stage::new(Some("first")).await;
        for other in [Some("second"), None] {
            let told = stage.prepare(other).await;
            assert!(matches!(&told, Err(IndexError::Unfit(text)) if text.contains("index.adopt")), "{told:?}");
        }
        stage.collection.remove();
        stage.prepare(Some("second")).await.unwrap();
        assert!(stage.ledger.any_unwritten().unwrap(), "an empty one becomes ours, and is filled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_comes_late_is_believed_when_it_grows_no_more() {
        for (counts, filled_anew) in
            [(&[9][..], false), (&[4, 5], false), (&[2, 3, 6], false), (&[1, 1], true), (&[1, 3, 3], true)]
        {
            let stage = Stage::new(None).await;
            let more = (1..10).map(|number| write(&format!("d{number}"), vec![here(&number.to_string())]));
            write_all(&stage.index(None), more.collect()).await.unwrap();
            stage.counts.lock().extend(counts);
            let index = stage.index(None);
            while let Err(error) = index.prepare().await {
                assert!(matches!(error, IndexError::Unavailable(_)), "{error}");
                tokio::time::sleep(COUNTED_AFTER).await;
            }
            assert_eq!(stage.ledger.any_unwritten().unwrap(), filled_anew, "{counts:?}");
            assert!(stage.counts.lock().is_empty(), "{counts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_knows_no_mark_goes_by_the_place_and_learns_it() {
        let stage = Stage::new(None).await;
        stage.prepare(Some("first")).await.unwrap();
        assert!(!stage.ledger.any_unwritten().unwrap(), "nothing is written again");
        assert!(stage.prepare(Some("second")).await.is_err());
    }
}
