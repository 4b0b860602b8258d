//! The settings of `index: { type: milvus }`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Span;
use super::index::Metric;
use super::secret::Secret;

/// A collection of Milvus.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MilvusSettings {
    /// The address of the server's gRPC port. With `https` the connection is encrypted and the server's certificate verified.
    pub url: String,
    /// The database that holds the collection. Default: the server's own, called `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The collection: created if it does not exist. Default: the pipeline's name. Letters, digits and `_`, not starting with a digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// How nearness is measured.
    pub metric: Metric,
    /// `user:password` or a token, best written as `${MILVUS_TOKEN}`: its value comes from the environment and not from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the same and nothing else, instead of `api_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The certificates of the authorities to trust, as PEM, instead of the system's: for a server with a private authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Span,
    /// The most simultaneous calls: 1 to 64.
    pub concurrency: usize,
    /// The most points per call: 1 to 10,000.
    pub batch: usize,
    /// Whether a collection that already holds points may be used; otherwise it is refused if they are not of this pipeline's ledger.
    pub adopt: bool,
}

impl Default for MilvusSettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:19530".into(),
            database: None,
            collection: None,
            metric: Metric::default(),
            api_key: None,
            api_key_file: None,
            ca_file: None,
            timeout: Span::new(Duration::from_secs(30)),
            concurrency: 4,
            batch: 100,
            adopt: false,
        }
    }
}
