//! The `index` section with `type: pgvector`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::index::Metric;
use super::secret::Secret;
use super::units::Span;

/// A table of PostgreSQL with pgvector. It is made when it is not there: columns `id`, `document`, `chunk`, `embedding`, `metadata`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PgvectorSettings {
    /// The database, as `postgres://user@host:5432/database`, without the password. `?sslmode=require` insists on TLS and `disable` forbids
    /// it; by default it is used if the server offers it. Certificates are always verified.
    pub url: String,
    /// The user's password, best written as `${PGPASSWORD}`: its value comes from the environment and not from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password and nothing else, instead of `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The certificates of the authorities to trust, as PEM, instead of the system's: for a server with a private authority. Insists
    /// on TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The table; as `schema.table` where the user's search path does not lead to it. Default: the pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// How nearness is measured.
    pub metric: Metric,
    /// The most points per statement: 1 to 10,000.
    pub batch: usize,
    /// The most simultaneous connections for writing, and as many again for searching: 1 to 64.
    pub concurrency: usize,
    /// How long a statement may take, and how long a connection may take to open.
    pub timeout: Span,
    /// Whether the table may already hold rows that this pipeline did not write. They stay, unless they have the same ids.
    pub adopt: bool,
}

impl Default for PgvectorSettings {
    fn default() -> Self {
        Self {
            url: "postgres://postgres@localhost:5432/postgres".to_owned(),
            password: None,
            password_file: None,
            ca_file: None,
            collection: None,
            metric: Metric::default(),
            batch: 100,
            concurrency: 4,
            timeout: Span::new(Duration::from_secs(30)),
            adopt: false,
        }
    }
}
