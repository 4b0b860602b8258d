//! The settings of the index `pinecone`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field_kind::FieldKind;
use super::index::Metric;
use super::secret::Secret;
use super::units::Span;

/// A serverless index of Pinecone. It is created if it does not exist.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PineconeSettings {
    /// Where indexes are created and found; the address of the index itself is looked up there.
    pub url: String,
    /// The key, best written as `${PINECONE_API_KEY}`: its value comes from the environment and not from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the key and nothing else, instead of `api_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The certificates of the authorities to trust, as PEM, instead of the system's: for a server with a private authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The index: 1 to 45 lower-case letters, digits and `-`. Default: the pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The part of the index that is written to and searched.
    pub namespace: String,
    /// Where an index is created if it does not exist: `aws`, `gcp` or `azure`.
    pub cloud: String,
    /// The region of the cloud in which it is created.
    pub region: String,
    /// How nearness is measured.
    pub metric: Metric,
    /// The fields of `document.metadata` that searches filter by, each with what it holds: `text`, `number`, `boolean` or `text[]`. A
    /// document in which such a field holds something else is refused. All other metadata are kept too, and cannot be filtered by.
    pub metadata: BTreeMap<String, FieldKind>,
    /// The most points per call: 1 to 1,000.
    pub batch: usize,
    /// The most simultaneous calls: 1 to 64.
    pub concurrency: usize,
    /// How long a call may take.
    pub timeout: Span,
    /// Whether the namespace may already hold records that this pipeline did not write. They stay, unless they have the same ids.
    pub adopt: bool,
}

impl Default for PineconeSettings {
    fn default() -> Self {
        Self {
            url: "https://api.pinecone.io".into(),
            api_key: None,
            api_key_file: None,
            ca_file: None,
            collection: None,
            namespace: "__default__".into(),
            cloud: "aws".into(),
            region: "us-east-1".into(),
            metric: Metric::default(),
            metadata: BTreeMap::new(),
            batch: 100,
            concurrency: 4,
            timeout: Span::new(Duration::from_secs(30)),
            adopt: false,
        }
    }
}
