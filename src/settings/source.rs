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
use super::units::{ByteSize, Span};

/// One source, chosen by `type`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a process has few")]
pub enum SourceSettings {
    /// Files: JSON lines, CSV (values separated by commas) or Parquet; a path, a folder or a glob.
    File(FileSettings),
    /// JSON lines on standard input.
    Stdin(StdinSettings),
    /// `POST /v1/events` on `server.listen`.
    Http(HttpSettings),
    /// Topics of Apache Kafka, or of a server that speaks its protocol; see [kafka.md](kafka.md).
    Kafka(KafkaSettings),
}

/// Files.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// A file, a folder (every file in it with a known ending) or a glob (`data/**/*.jsonl.gz`). Endings: `.jsonl`, `.ndjson`,
    /// `.csv`, `.parquet`; `.gz` and `.zst` behind the first three (of `zstd --long`, windows of at most 128 MiB). Where `format` is
    /// set, any ending will do. Hidden files are left out unless a glob spells the dot. A folder is not searched below its first level.
    /// `**` does not go through links to folders. Without `follow`, files are looked at once, when the process starts, and must be complete
    /// then: write one under a hidden name and rename it.
    pub path: String,
    /// The format, for files whose ending does not tell; one that tells goes before it. When it is corrected, the files that
    /// were read as something else are read anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Go on when the end is reached: lines appended later and files that appear are read too. JSON lines and CSV without compression.
    /// A file that is rotated away is read to its end, and after a restart only where `path` matches its new name too (`app.log*`).
    /// Compressed files in a folder or of a glob are passed over, because what rotation compresses was read before; older ones
    /// need a source of their own.
    /// What stands behind the last line feed is read when its own comes, or when the file is gone.
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
    /// A header line, then rows, their values separated by commas; every value is a text, which filters compare as one unless
    /// `document.numbers` lists it, and an empty one is a field that is not there.
    Csv,
    /// Parquet, compressed inside with Snappy, gzip, Zstandard or not at all. Bytes that the file does not call a text are written in
    /// hexadecimal, the keys of a map as texts, and an instant whose time zone has no known name in UTC. Columns of intervals are not
    /// read. Needs a Vectide that was built with `--features parquet`.
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

/// Topics of Apache Kafka.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// The brokers to ask first, like `["localhost:9092"]`; they name the others.
    pub brokers: Vec<String>,
    /// The topics to read. One that starts with `^` is a regular expression, like `^shop-.*`.
    pub topics: Vec<String>,
    /// The consumer group. Each pipeline needs one of its own.
    pub group: String,
    /// Where a partition is read from that the ledger holds no position of: `earliest`, `latest`, or a time like
    /// `2026-02-03T04:05:06Z`. With `latest` the group's offset takes precedence, and a partition that comes later is read from its
    /// beginning. With a time that is not reached yet, reading begins at the end that a partition has at the start, and so with records
    /// that are older than that time.
    #[serde(default)]
    pub start: Start,
    /// Encrypted connections; absent: they are not encrypted. Needs a Vectide that was built with `--features kafka-tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTlsSettings>,
    /// How to log in; absent: without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSaslSettings>,
    /// How often the group's offsets are committed at the broker. They are for other programs to see; Vectide goes by its ledger.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: Span,
    /// A topic that gets a copy of every dead letter of this source. Its headers name reason, topic, partition and offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// The longest value that is read; a longer one is dead-lettered.
    #[serde(default = "default_max_record")]
    pub max_record: ByteSize,
    /// Settings of librdkafka by their names, with values as texts: `{ fetch.min.bytes: "100000" }`.
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
    /// A file that holds the password and nothing else, in place of `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// It is sent as it is: use it with `tls`.
    #[default]
    Plain,
    /// SCRAM-SHA-256. Needs a Vectide that was built with `--features kafka-tls`.
    ScramSha256,
    /// SCRAM-SHA-512. Needs a Vectide that was built with `--features kafka-tls`.
    ScramSha512,
}

/// Where a partition is read from for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// From its oldest record.
    #[default]
    Earliest,
    /// From what comes from now on.
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
