//! The embedded index, which no system of others stands behind.

use std::sync::Arc;

use serde_json::Value;
use vectide::index::embedded::EmbeddedIndex;
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::Subject;
use vectide::testkit::index_contract::points::DIMENSIONS;
use vectide::testkit::index_contract::shop::Place;

struct Embedded;

fn embedded() -> Option<&'static Embedded> {
    Some(&Embedded)
}

impl Subject for Embedded {
    /// In a folder of its own, whatever its name.
    fn place(&self, _: &str, metric: Metric) -> Place {
        Place::Ledger(Arc::new(move |ledger, folder| {
            Arc::new(EmbeddedIndex::open(ledger, folder, metric, DIMENSIONS).unwrap())
        }))
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // It compares metadata itself, as a filter is defined.
        Vec::new()
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        // The ledger keeps metadata as text, whatever it says.
        None
    }
}

vectide::index_contract!(embedded);
