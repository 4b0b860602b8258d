//! The `sources` section: where records come from.

use serde::{Deserialize, Serialize};

use super::units::ByteSize;

/// One source, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceSettings {
    /// Files: JSON lines, CSV or Parquet; a path, a folder or a glob.
    File(FileSettings),
    /// JSON lines on standard input.
    Stdin(StdinSettings),
    /// `POST /v1/events` on `server.listen`.
    Http(HttpSettings),
}

/// Files.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// A file, a folder (every file in it with a known ending) or a glob (`data/**/*.jsonl.gz`). Endings: `.jsonl`, `.ndjson`,
    /// `.csv`, `.parquet`; `.gz` and `.zst` behind any of them. Of a folder, hidden files and folders below it are left out.
    pub path: String,
    /// The format, for files whose ending does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Go on when the end is reached: lines appended later and files that appear are read too. JSON lines and CSV without compression.
    #[serde(default)]
    pub follow: bool,
    /// The longest line or row that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// One JSON object a line.
    Jsonl,
    /// A header line, then rows; every value is a text, an empty one is a field that is not there.
    Csv,
    /// Parquet. Needs a Vectide that was built with `--features parquet`.
    Parquet,
}

/// Standard input.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StdinSettings {
    /// The longest line that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
}

/// Events over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The most events that are accepted and not yet settled; more are answered 429.
    #[serde(default = "default_max_pending")]
    pub max_pending: usize,
}

fn default_max_record() -> ByteSize {
    ByteSize::mebibytes(16)
}

fn default_max_pending() -> usize {
    100_000
}
