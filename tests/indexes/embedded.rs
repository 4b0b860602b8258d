//! The embedded index, which no system of others stands behind.

use vectide::settings::index::Metric;

use crate::contract::shop::Place;
use crate::contract::{Subject, index_contract};

struct Embedded;

fn embedded() -> Option<&'static Embedded> {
    Some(&Embedded)
}

impl Subject for Embedded {
    /// In a folder of its own, whatever its name.
    fn place(&self, _: &str, metric: Metric) -> Place {
        Place::Embedded(metric)
    }
}

index_contract!(embedded);
