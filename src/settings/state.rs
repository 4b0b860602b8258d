//! The `state` section: where the ledger lives.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where Vectide keeps what it must not forget.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateSettings {
    /// The folder of the ledger and the index. Only one process at a time writes to it.
    pub path: PathBuf,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { path: PathBuf::from("data") }
    }
}
