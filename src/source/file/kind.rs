//! How a file is read, which its name tells.

use std::path::Path;

use super::decompress::Compression;
use crate::settings::source::FileFormat;

/// How the content of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub format: FileFormat,
    pub compression: Compression,
}

impl Kind {
    /// How a file of this name is read; `fallback` is the format of names that do not tell.
    pub fn of(path: &Path, fallback: Option<FileFormat>) -> Option<Self> {
        let compression = Compression::of(path);
        let inner = if compression == Compression::None { path } else { Path::new(path.file_stem()?) };
        let format = match inner.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref()
        {
            Some("jsonl" | "ndjson") => FileFormat::Jsonl,
            Some("csv") => FileFormat::Csv,
            Some("parquet") => FileFormat::Parquet,
            _ => fallback?,
        };
        Some(Self { format, compression })
    }

    /// Whether a file of this kind can be read while it grows.
    pub fn can_grow(self) -> bool {
        self.format != FileFormat::Parquet && self.compression == Compression::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_that_tells_goes_before_the_format_that_is_set() {
        let kind = |name: &str, format| Kind::of(Path::new(name), format).map(|kind| (kind.format, kind.compression));
        let csv = Some(FileFormat::Csv);
        for (name, expected) in [
            ("a.jsonl", Some((FileFormat::Jsonl, Compression::None))),
            ("b/a.NDJSON.GZ", Some((FileFormat::Jsonl, Compression::Gzip))),
            ("*.csv", Some((FileFormat::Csv, Compression::None))),
            ("a.parquet", Some((FileFormat::Parquet, Compression::None))),
        ] {
            assert_eq!(kind(name, None), expected, "{name}");
            assert_eq!(kind(name, csv), expected, "{name}");
        }
        for (name, compression) in
            [("a", Compression::None), ("a.json*", Compression::None), ("a.zst", Compression::Zstandard)]
        {
            assert_eq!(kind(name, None), None, "{name}");
            assert_eq!(kind(name, csv), Some((FileFormat::Csv, compression)), "{name}");
        }
    }
}
