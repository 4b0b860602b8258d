//! What every index must do, as tests: [`index`] what is asked of any, the embedded one too, and [`collection`] what is asked of one in
//! another system beside that. [`index_contract!`](crate::index_contract) and [`collection_contract!`](crate::collection_contract) make
//! them the tests of one, here and in a crate that brings its own:
//!
//! ```ignore
//! fn mine() -> Option<&'static Mine> {
//!     Some(&Mine)
//! }
//!
//! vectide::index_contract!(mine);
//! ```
//!
//! `Mine` is a [`Subject`], or a [`Backend`] for the contract of collections.

pub mod collection;
pub mod index;
pub mod points;
pub mod relay;
mod sample;
pub mod shop;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use self::shop::Place;
use crate::index::external::collection::Point;
use crate::index::external::inspect::Inspect;
use crate::settings::index::Metric;

/// An index that is tested.
pub trait Subject: Sync {
    /// Where the points of this name are, of [`DIMENSIONS`](points::DIMENSIONS). Two of one name are the same.
    fn place(&self, name: &str, metric: Metric) -> Place;
    /// Whether it holds any JSON as metadata, such as fields of different types in different documents.
    fn any_metadata(&self) -> bool {
        true
    }
    /// Filters that it takes in another sense than [`Filter::matches`](crate::index::Filter::matches), as its documentation says.
    fn exceptions(&self) -> Vec<Value> {
        Vec::new()
    }
    /// Filters that it refuses, as its documentation says, each with a part of what it says about it. Every other must be answered rightly.
    fn refused_filters(&self) -> Vec<(Value, &'static str)>;
    /// Metadata that it can never take, and a part of what it says about it; none, when it must take every metadata.
    fn poison(&self) -> Option<(Value, &'static str)>;
}

/// What no server takes.
pub const WRONG_KEY: &str = "wr0ng";

/// A collection that is asked for with the key [`WRONG_KEY`].
pub enum WrongKey {
    /// Its server refuses the key, which this setting holds.
    Refused(Arc<dyn Inspect>, &'static str),
    /// Its server asks for none, and must serve it as without one.
    NotAsked(Arc<dyn Inspect>),
}

/// One in another system.
pub trait Backend: Subject {
    /// A collection of this name, of the pipeline [`PIPELINE`](points::PIPELINE). Two of one name are the same.
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect>;
    /// A collection of this name whose server is sought at other ports, and must answer within `timeout`.
    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect>;
    /// What becomes of a wrong key.
    fn with_wrong_key(&self) -> WrongKey;
    /// Whether it changes metadata and leaves the vector; else it says of every point that it must be written whole, and asks nobody.
    fn changes_metadata_alone(&self) -> bool;
    /// Writes points as others would: with these ids, metadata and vectors, and nothing that says of which document they are.
    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()>;
    /// Removes a collection behind Vectide's back.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;
}

/// Makes the contract of all indexes the tests of one: `subject()` answers it, or `None` where it cannot be had.
///
/// See [`testkit::index_contract`](crate::testkit::index_contract).
#[macro_export]
macro_rules! index_contract {
    ($subject:path) => {
        $crate::index_contract!(
            $subject, index:
            a_document_grows_shrinks_and_goes,
            writes_beside_each_other_all_arrive,
            ten_thousand_points_go_in_at_once,
            what_was_answered_is_there_after_a_crash,
            awkward_ids_and_metadata_come_back_as_they_were,
            filters_find_what_brute_force_finds,
            filters_on_values_of_any_kind_find_what_brute_force_finds,
            a_filter_that_it_cannot_be_told_is_a_wrong_question_and_no_failure,
            searches_find_what_an_exact_search_finds,
            a_refused_document_is_named_and_its_mates_go_in,
            a_vector_of_another_length_is_refused,
        );
    };
    ($subject:path, $part:ident: $($test:ident,)*) => {
        $(#[test]
        fn $test() {
            let Some(subject) = $subject() else { return };
            $crate::testkit::index_contract::block_on($crate::testkit::index_contract::$part::$test(subject));
        })*
    };
}

/// As [`index_contract`], and that of a collection in another system: `backend()` answers it.
#[macro_export]
macro_rules! collection_contract {
    ($backend:path) => {
        $crate::index_contract!($backend);
        $crate::index_contract!(
            $backend, collection:
            it_is_made_once_and_what_does_not_fit_is_refused,
            a_point_is_replaced_whole_and_a_repeated_write_changes_nothing,
            metadata_changes_without_the_vector_and_what_is_absent_is_named,
            what_is_deleted_is_gone_and_what_is_absent_is_no_error,
            a_crash_between_any_two_steps_leaves_no_orphan_and_loses_nothing,
            a_collection_that_was_dropped_is_filled_again_without_embedding,
            points_of_others_are_not_written_over,
            points_of_others_hide_none_of_ours,
            a_point_of_another_pipeline_is_not_taken_for_one_of_ours,
            nobody_there_is_waited_for,
            a_server_that_never_answers_is_waited_for,
            a_server_that_answers_too_late_is_waited_for,
            a_wrong_key_is_for_a_person_to_mend_and_not_shown,
        );
    };
}

/// Runs a test that awaits.
pub fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A name that no other test uses.
pub fn fresh(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn parsed(metadata: &str) -> Value {
    serde_json::from_str(metadata).unwrap()
}

/// As they were put in, but for the order of keys and the last digit of a vector.
#[track_caller]
pub fn assert_same(mut found: Vec<Point>, expected: &[&Point]) {
    found.sort_unstable_by_key(|point| point.id);
    let mut expected = expected.to_vec();
    expected.sort_unstable_by_key(|point| point.id);
    let names = |points: &[&Point]| {
        points.iter().map(|point| format!("{}/{}", point.document, point.chunk)).collect::<Vec<_>>()
    };
    assert_eq!(names(&found.iter().collect::<Vec<_>>()), names(&expected));
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(parsed(&found.metadata), parsed(&expected.metadata), "{}", found.document);
        let near = found.vector.iter().zip(&*expected.vector).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near && found.vector.len() == expected.vector.len(), "{}: another vector", found.document);
    }
}
