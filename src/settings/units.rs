//! Sizes and times as people write them: `256MiB`, `50ms`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A number of bytes: `1048576`, `1MiB`, `64KiB`, `2GiB`, or with powers of ten `1MB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct ByteSize(u64);

/// A length of time: `50ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct Span(Duration);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1,048,576 bytes.
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes * 1024 * 1024)
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes, as far as this machine can count.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    /// A span of this length.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// The length.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Number(bytes) => return Ok(Self(bytes)),
            Written::Text(text) => text,
        };
        let (number, unit) = split(&text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kib" | "k" => 1024.0,
            "mib" | "m" => 1024.0 * 1024.0,
            "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => return Err(format!("`{text}` is not a size; write it like `256MiB`")),
        };
        match number.parse::<f64>() {
            Ok(count) if count >= 0.0 => Ok(Self((count * factor) as u64)),
            _ => Err(format!("`{text}` is not a size; write it like `256MiB`")),
        }
    }
}

impl TryFrom<Written> for Span {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        let (number, unit) = split(&text);
        let seconds = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(format!("`{text}` is not a time; write it like `50ms`, `30s` or `1h`")),
        };
        let length = number.parse::<f64>().ok().and_then(|count| Duration::try_from_secs_f64(count * seconds).ok());
        length.map(Self).ok_or_else(|| format!("`{text}` is not a time; write it like `50ms`, `30s` or `1h`"))
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis >= size && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        let size = |text: &str| serde_yaml::from_str::<ByteSize>(text).map(|size| size.as_u64());
        assert_eq!(size("256MiB").unwrap(), 256 << 20);
        assert_eq!(size("1.5 KiB").unwrap(), 1536);
        assert_eq!(size("1MB").unwrap(), 1_000_000);
        assert_eq!(size("17").unwrap(), 17);
        assert!(size("many").is_err());
        let span = |text: &str| serde_yaml::from_str::<Span>(text).map(|span| span.as_duration().as_millis());
        assert_eq!(span("50ms").unwrap(), 50);
        assert_eq!(span("1h").unwrap(), 3_600_000);
        assert_eq!(span("0.5s").unwrap(), 500);
        assert!(span("50").is_err(), "a time without a unit is a mistake waiting to be read both ways");
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same() {
        for size in [0, 17, 1024, 256 << 20, 3 << 30] {
            let shown = ByteSize::bytes(size).to_string();
            assert_eq!(serde_yaml::from_str::<ByteSize>(&shown).unwrap(), ByteSize::bytes(size));
        }
        for millis in [1, 50, 1_000, 90_000, 3_600_000] {
            let span = Span::new(Duration::from_millis(millis));
            assert_eq!(serde_yaml::from_str::<Span>(&span.to_string()).unwrap(), span);
        }
    }
}
