//! The settings of the index `weaviate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field_kind::FieldKind;
use super::index::Metric;
use super::secret::Secret;
use super::units::Span;

/// A class of Weaviate 1.33 or later. It is created if it does not exist. Needs a build with `--features weaviate`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeaviateSettings {
    /// The address of the server's REST API.
    pub url: String,
    /// The address of the server's gRPC port. With `https` the connection is encrypted and the server's certificate verified. Default:
    /// port 50051 of the host in `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_url: Option<String>,
    /// The key, if the server asks for one; best written as `${WEAVIATE_API_KEY}`: its value comes from the environment and not
    /// from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the key and nothing else, instead of `api_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The certificates of the authorities to trust, as PEM, instead of the system's: for a server with a private authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The class: letters, digits and `_`, starting with a letter, which Weaviate makes a capital. Default: the pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// How nearness is measured.
    pub metric: Metric,
    /// The fields of `document.metadata` that searches filter by, each with what it holds: `text`, `number`, `boolean`, or a list of
    /// those, such as `text[]`. They become properties of the class. A document in which such a field holds something else is refused.
    /// All other metadata are kept too, and cannot be filtered by.
    pub metadata: BTreeMap<String, FieldKind>,
    /// The most points per call: 1 to 10,000.
    pub batch: usize,
    /// The most simultaneous calls: 1 to 64.
    pub concurrency: usize,
    /// How long a call may take.
    pub timeout: Span,
    /// Whether the class may already hold objects that this pipeline did not write. They stay, unless they have the same ids.
    pub adopt: bool,
}

impl Default for WeaviateSettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080".into(),
            grpc_url: None,
            api_key: None,
            api_key_file: None,
            ca_file: None,
            collection: None,
            metric: Metric::default(),
            metadata: BTreeMap::new(),
            batch: 100,
            concurrency: 4,
            timeout: Span::new(Duration::from_secs(30)),
            adopt: false,
        }
    }
}
