//! Sizes and times as people write them: `256MiB`, `50ms`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes: `1048576`, `1MiB`, `64KiB`, `2GiB`, or with powers of ten `1MB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// A length of time in whole milliseconds: `50ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

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

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const NEEDS: &str = "a size like `256MiB`";
        let (number, unit) = split(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kib" | "k" => 1024.0,
            "mib" | "m" => 1024.0 * 1024.0,
            "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => return Err(NEEDS),
        };
        if let (1.0, Ok(bytes)) = (factor, number.parse()) {
            return Ok(Self(bytes));
        }
        number.parse::<f64>().map(|count| Self((count * factor) as u64)).map_err(|_| NEEDS)
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const NEEDS: &str = "a time like `50ms`, `30s` or `1h`";
        let (number, unit) = split(text);
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3600e3,
            "d" => 86400e3,
            _ => return Err(NEEDS),
        };
        let millis = number.parse::<f64>().map_err(|_| NEEDS)? * factor;
        if (millis - millis.round()).abs() > 1e-6 {
            return Err("a time in whole milliseconds");
        }
        // Times are added to clocks: a century is as good as for ever and cannot overflow one.
        if millis > 100.0 * 366.0 * 86400e3 {
            return Err("a time of at most a hundred years");
        }
        Ok(Self(Duration::from_millis(millis.round() as u64)))
    }
}

/// Reads a text, or a bare number as its digits.
fn deserialize_written<'de, T, D>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err = &'static str>,
    D: Deserializer<'de>,
{
    struct Written<T>(&'static str, PhantomData<T>);
    impl<T: FromStr<Err = &'static str>> Visitor<'_> for Written<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|needs| E::invalid_value(Unexpected::Str(text), &needs))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            number.to_string().parse().map_err(|needs| E::invalid_value(Unexpected::Unsigned(number), &needs))
        }
    }
    deserializer.deserialize_any(Written(expecting, PhantomData))
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_written(deserializer, "a size like `256MiB`")
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_written(deserializer, "a time like `50ms`, `30s` or `1h`")
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
        assert!(size("-1").is_err());
        let span = |text: &str| serde_yaml::from_str::<Span>(text).map(|span| span.as_duration().as_millis());
        assert_eq!(span("50ms").unwrap(), 50);
        assert_eq!(span("1h").unwrap(), 3_600_000);
        assert_eq!(span("0.5s").unwrap(), 500);
        assert_eq!(span("1.001s").unwrap(), 1001);
        assert!(span("0.5ms").is_err(), "what cannot be kept is refused");
        assert!(span("999999999999h").is_err());
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
