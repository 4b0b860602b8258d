//! Whether a collection still has what was written to it, by its count of points.

use std::time::Duration;

use tokio::time::Instant;

use crate::index::IndexError;

use super::ExternalIndex;
use super::collection::Established;

/// How long a count that comes after the writes is given to grow. Systems that count so are behind by seconds.
const COUNTED_AFTER: Duration = Duration::from_secs(120);

/// Whether so many points may be what is left of those that were written, when somebody took away a few.
pub(super) fn has_most(points: u64, written: u64) -> bool {
    points.saturating_mul(2) >= written
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
            "{}: it has counted {points} points so far, and {written} were written to it: asking again until the count grows no more",
            self.collection.place()
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::index::{Collection, VectorIndex};
    use crate::ledger::testing::{DIMENSIONS, here, open_with, options, write};
    use crate::ledger::{Ledger, LedgerOptions, Points};
    use crate::testkit::fakes::{FakeCollection, write_all};

    struct Stage {
        ledger: Arc<Ledger>,
        collection: Arc<FakeCollection>,
        _folder: TempDir,
    }

    impl Stage {
        /// A ledger that wrote a document to a collection with this mark.
        async fn new(mark: Option<&'static str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Arc::new(open_with(&folder, LedgerOptions { points: Points::Elsewhere, ..options() }));
            let stage = Self { ledger, collection: Arc::default(), _folder: folder };
            let index = stage.index(mark);
            index.prepare().await.unwrap();
            write_all(&index, [write("a", vec![here("one")])].into()).await.unwrap();
            stage
        }

        /// With a collection that has this mark from now on.
        fn index(&self, mark: Option<&'static str>) -> ExternalIndex {
            *self.collection.mark.lock() = mark;
            ExternalIndex::new(self.ledger.clone(), self.collection.clone(), "test", DIMENSIONS, false)
        }

        async fn prepare(&self, mark: Option<&'static str>) -> Result<(), IndexError> {
            self.index(mark).prepare().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_does_not_note_what_a_collection_lacks_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open_with(&folder, options()));
        let stage = Stage { ledger, collection: Arc::default(), _folder: folder };
        let told = stage.prepare(None).await;
        assert!(matches!(&told, Err(IndexError::Unfit(text)) if text.contains("Points::Elsewhere")), "{told:?}");
        assert_eq!(stage.collection.look().await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_collection_with_another_mark_is_not_ours_though_it_has_the_same_place() {
        for own in [Some("first"), None] {
            let stage = Stage::new(own).await;
            stage.prepare(own).await.unwrap();
            assert_eq!(stage.ledger.last_unwritten().unwrap(), None);
        }
        for (own, other) in [(Some("first"), Some("second")), (Some("first"), None), (None, Some("second"))] {
            let told = Stage::new(own).await.prepare(other).await;
            assert!(matches!(&told, Err(IndexError::Unfit(text)) if text.contains("index.adopt")), "{told:?}");
        }
        let stage = Stage::new(Some("first")).await;
        stage.collection.remove();
        stage.prepare(Some("second")).await.unwrap();
        assert!(stage.ledger.last_unwritten().unwrap().is_some(), "an empty one becomes ours, and is filled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_comes_late_is_believed_when_it_grows_no_more() {
        for (counts, filled_anew) in
            [(&[9][..], false), (&[4, 5], false), (&[0, 3, 6], false), (&[0, 0], true), (&[1, 3, 3], true)]
        {
            let stage = Stage::new(None).await;
            let more = (1..10).map(|number| write(&format!("d{number}"), vec![here(&number.to_string())]));
            write_all(&stage.index(None), more.collect()).await.unwrap();
            stage.collection.counts.lock().extend(counts);
            let index = stage.index(None);
            while let Err(error) = index.prepare().await {
                assert!(
                    matches!(&error, IndexError::Unavailable(text) if text.starts_with("the fake collection: it has counted")),
                    "{error}"
                );
                tokio::time::sleep(COUNTED_AFTER).await;
            }
            assert_eq!(stage.ledger.last_unwritten().unwrap().is_some(), filled_anew, "{counts:?}");
            assert!(stage.collection.counts.lock().is_empty(), "{counts:?}");
        }
    }
}
