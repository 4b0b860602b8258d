//! The embedded index, which no system of others stands behind.

use serde_json::Value;
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

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // It compares metadata itself, as a filter is defined.
        Vec::new()
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        // The ledger keeps metadata as text, whatever it says.
        None
    }
}

index_contract!(embedded);
