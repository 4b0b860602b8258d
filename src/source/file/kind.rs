//! How a file is read, which its name and the settings tell.

use std::path::Path;

use super::decompress::Compression;
use crate::settings::separator::Separator;
use crate::settings::source::{FileFormat, FileSettings};

/// How the content of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub format: FileFormat,
    /// Between the values of CSV; of another format always a comma, so that none is read again for a setting that is not about it.
    pub separator: Separator,
    /// Whether a person has set it.
    pub is_separator_set: bool,
    pub compression: Compression,
}

impl Kind {
    /// How a file of this name is read, unless neither its ending nor the settings tell.
    pub fn of(path: &Path, settings: &FileSettings) -> Option<Self> {
        let (format, separator) = match told(path) {
            Some(told) => told,
            None => (settings.format?, Separator::COMMA),
        };
        let set = settings.separator.filter(|_| format == FileFormat::Csv);
        let (separator, is_separator_set) = (set.unwrap_or(separator), set.is_some());
        Some(Self { format, separator, is_separator_set, compression: Compression::of(path) })
    }

    /// The format that the ending of this name tells.
    pub fn format_told_by(path: &Path) -> Option<FileFormat> {
        told(path).map(|(format, _)| format)
    }

    /// Whether a file of this kind can be read while it grows.
    pub fn can_grow(self) -> bool {
        self.format != FileFormat::Parquet && self.compression == Compression::None
    }
}

fn told(path: &Path) -> Option<(FileFormat, Separator)> {
    let inner = if Compression::of(path) == Compression::None { path } else { Path::new(path.file_stem()?) };
    match &*inner.extension()?.to_str()?.to_ascii_lowercase() {
        "jsonl" | "ndjson" => Some((FileFormat::Jsonl, Separator::COMMA)),
        "csv" => Some((FileFormat::Csv, Separator::COMMA)),
        "tsv" => Some((FileFormat::Csv, Separator::TAB)),
        "parquet" => Some((FileFormat::Parquet, Separator::COMMA)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, settings: serde_json::Value) -> Option<(FileFormat, u8, Compression)> {
        let settings: FileSettings = serde_json::from_value(settings).unwrap();
        Kind::of(Path::new(name), &settings).map(|kind| (kind.format, kind.separator.as_byte(), kind.compression))
    }

    #[test]
    fn an_ending_that_tells_goes_before_the_format_that_is_set() {
        for (name, expected) in [
            ("a.jsonl", (FileFormat::Jsonl, b',', Compression::None)),
            ("b/a.NDJSON.GZ", (FileFormat::Jsonl, b',', Compression::Gzip)),
            ("*.csv", (FileFormat::Csv, b',', Compression::None)),
            ("*.tsv", (FileFormat::Csv, b'\t', Compression::None)),
            ("a.TSV.zst", (FileFormat::Csv, b'\t', Compression::Zstandard)),
            ("a.parquet", (FileFormat::Parquet, b',', Compression::None)),
        ] {
            assert_eq!(kind(name, serde_json::json!({"path": ""})), Some(expected), "{name}");
            assert_eq!(kind(name, serde_json::json!({"path": "", "format": "parquet"})), Some(expected), "{name}");
        }
        for (name, compression) in
            [("a", Compression::None), ("a.json*", Compression::None), ("a.zst", Compression::Zstandard)]
        {
            assert_eq!(kind(name, serde_json::json!({"path": ""})), None, "{name}");
            let csv = serde_json::json!({"path": "", "format": "csv"});
            assert_eq!(kind(name, csv), Some((FileFormat::Csv, b',', compression)), "{name}");
        }
    }

    #[test]
    fn a_separator_that_is_set_goes_before_the_ending_and_is_about_csv_alone() {
        for (name, expected) in
            [("a.csv", b';'), ("a.tsv.gz", b';'), ("a.txt", b';'), ("a.jsonl", b','), ("a.parquet", b',')]
        {
            let settings = serde_json::json!({"path": "", "format": "csv", "separator": ";"});
            assert_eq!(kind(name, settings).map(|(_, separator, _)| separator), Some(expected), "{name}");
        }
    }
}
