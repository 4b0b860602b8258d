//! The `sources` section: where records come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::secret::Secret;
use super::separator::Separator;
use super::units::{ByteSize, Span};
use crate::document::Operation;

/// One source, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a process has few")]
pub enum SourceSettings {
    /// Files: JSON lines, CSV or Parquet; a path, a folder or a glob.
    File(FileSettings),
    /// JSON lines on standard input.
    Stdin(StdinSettings),
    /// `POST /v1/events` on `server.listen`.
    Http(HttpSettings),
    /// Topics of Apache Kafka, or of a server that speaks its protocol; see [kafka.md](kafka.md).
    Kafka(KafkaSettings),
}

impl SourceSettings {
    /// What every record does, where that is configured.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::File(FileSettings { operation, .. })
            | Self::Stdin(StdinSettings { operation, .. })
            | Self::Http(HttpSettings { operation, .. })
            | Self::Kafka(KafkaSettings { operation, .. }) => *operation,
        }
    }
}

/// Files.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// A file, a folder (every file in it with a known ending) or a glob (`data/**/*.jsonl.gz`). Known endings are `.jsonl`, `.ndjson`,
    /// `.csv`, `.tsv` (CSV with tabs) and `.parquet`, and `.gz` or `.zst` after the first four. Without `follow`, files are read once per
    /// start and must be complete then. More under [Files](#files).
    pub path: String,
    /// The format of files whose ending does not tell; an ending that does takes precedence. When this is corrected, the files that were
    /// read as something else are read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// What stands between the values of CSV files: one ASCII character such as `";"`, or `tab`. Absent: a tab in files that end in `.tsv`,
    /// a comma in all others. When this is changed, the CSV files are read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// Go on at the end: lines that are appended later and files that appear are read too. For JSON lines and CSV without compression. More
    /// under [Files](#files).
    #[serde(default)]
    pub follow: bool,
    /// What every record of this source does, whatever `document.events` says, whose renames do not apply then: `upsert` (it is the whole
    /// document), `patch` (it holds some fields; the others stay: a list of prices, say) or `delete`. Absent: as `document.events`
    /// says, and an upsert where there is none. A newer upsert takes away what another source patched in and it does not name; where that
    /// is not meant, let both be `patch`. Concerns what is read from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The longest line or row that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// One JSON object per line.
    Jsonl,
    /// A header line, then rows, with values between commas or what `separator` says. Every value is text, which filters compare as text
    /// unless `document.numbers` lists the field; an empty value is a field that is missing, and a column without a name is left out.
    Csv,
    /// Parquet, compressed inside with Snappy, gzip, Zstandard or not at all. Bytes that the file does not declare as text become
    /// hexadecimal, the keys of a map become text, and a timestamp whose time zone has no known name is in UTC. Columns of intervals are
    /// not read. Needs a build with `--features parquet`.
    Parquet,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jsonl => "JSON lines",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        })
    }
}

/// Standard input.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StdinSettings {
    /// What every record of this source does, whatever `document.events` says, whose renames do not apply then: `upsert` (it is the whole
    /// document), `patch` (it holds some fields; the others stay: a list of prices, say) or `delete`. Absent: as `document.events`
    /// says, and an upsert where there is none. A newer upsert takes away what another source patched in and it does not name; where that
    /// is not meant, let both be `patch`. Concerns what is read from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The longest line that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
}

/// Events over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// What every record of this source does, whatever `document.events` says, whose renames do not apply then: `upsert` (it is the whole
    /// document), `patch` (it holds some fields; the others stay: a list of prices, say) or `delete`.
    /// `DELETE /v1/documents/{id}` deletes all the same. Absent: as `document.events` says, and an upsert where there is none.
    /// A newer upsert takes away what another source patched in and it does not name; where that is not meant, let both be `patch`.
    /// Concerns what is read from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The most events that may be accepted and not yet settled; further ones are answered 429.
    #[serde(default = "default_max_pending")]
    pub max_pending: usize,
}

/// Topics of Apache Kafka.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// The brokers to ask first, such as `["localhost:9092"]`; they name the others.
    pub brokers: Vec<String>,
    /// The topics to read. One that starts with `^` is a regular expression, such as `^shop-.*`.
    pub topics: Vec<String>,
    /// The consumer group. Each pipeline needs its own.
    pub group: String,
    /// What every record of this source does, whatever `document.events` says, whose renames do not apply then: `upsert` (it is the whole
    /// document), `patch` (it holds some fields; the others stay: a list of prices, say) or `delete`.
    /// A message without a value deletes all the same. Absent: as `document.events` says, and an upsert where there is none.
    /// A newer upsert takes away what another source patched in and it does not name; where that is not meant, let both be `patch`.
    /// Concerns what is read from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Where to start reading a partition of which the ledger holds no position: `earliest`, `latest`, or a time such as
    /// `2026-02-03T04:05:06Z`. With `latest` the group's offset takes precedence, and a partition that is added later is read from its
    /// beginning. With a time in the future, reading begins at the present end of the partition, so with records older than that time.
    #[serde(default)]
    pub start: Start,
    /// Encrypted connections. Absent: they are not encrypted. Needs a build with `--features kafka-tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTlsSettings>,
    /// How to log in. Absent: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSaslSettings>,
    /// How often the group's offsets are committed to the broker. They are for other programs to see; Vectide resumes from its ledger.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: Span,
    /// A topic that gets a copy of every dead letter of this source, with headers that name the reason, topic, partition and offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// The longest value that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
    /// Settings of librdkafka by their names, with values as text: `{ fetch.min.bytes: "100000" }`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// Encrypted connections to Kafka.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaTlsSettings {
    /// The certificates of the authorities to trust, as PEM. Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The certificate's private key, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// How to log in to Kafka.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSaslSettings {
    /// How the password is proved.
    #[serde(default)]
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password, best written as `${KAFKA_PASSWORD}`: its value comes from the environment and not from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password and nothing else, instead of `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// It is sent in the clear: use it with `tls`.
    #[default]
    Plain,
    /// SCRAM-SHA-256. Needs a build with `--features kafka-tls`.
    ScramSha256,
    /// SCRAM-SHA-512. Needs a build with `--features kafka-tls`.
    ScramSha512,
}

/// Where a partition is read from for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// From its oldest record.
    #[default]
    Earliest,
    /// From what arrives from now on.
    Latest,
    /// From the first record of this time or later.
    At(OffsetDateTime),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Start;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`earliest`, `latest` or a time like `2026-02-03T04:05:06Z`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Start, E> {
                match text {
                    "earliest" => Ok(Start::Earliest),
                    "latest" => Ok(Start::Latest),
                    time => OffsetDateTime::parse(time, &Rfc3339)
                        .map(Start::At)
                        .map_err(|_| E::invalid_value(Unexpected::Str(time), &self)),
                }
            }
        }
        deserializer.deserialize_str(Word)
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Earliest => serializer.serialize_str("earliest"),
            Self::Latest => serializer.serialize_str("latest"),
            Self::At(time) => serializer.collect_str(&time.format(&Rfc3339).unwrap_or_default()),
        }
    }
}

fn default_commit_interval() -> Span {
    Span::new(Duration::from_secs(1))
}

fn default_max_record() -> ByteSize {
    ByteSize::mebibytes(16)
}

fn default_max_pending() -> usize {
    100_000
}
