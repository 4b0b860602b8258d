//! The order of changes to one document.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in the order of changes: the greater one is newer.
///
/// Stored as billionths of the number that the event carried, so that integers, fractions and times share one order:
/// a Unix time in seconds with a fraction and an RFC 3339 time of the same instant are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(i128);

impl Version {
    /// The oldest there can be: it wins over nothing.
    pub const OLDEST: Self = Self(i128::MIN);

    /// A version from billionths: for a time, nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// The version in billionths: for a time, nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i128 {
        self.0
    }

    /// The time that it stands for; `None` for a small number, which is a counter or older than any event of interest.
    pub fn time(self) -> Option<SystemTime> {
        const YEAR_2001: u64 = 1_000_000_000_000_000_000;
        let nanos = u64::try_from(self.0).ok().filter(|nanos| *nanos >= YEAR_2001)?;
        UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
    }
}

/// As the number that the event carried: `1732351234.5`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BILLION: u128 = 1_000_000_000;
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / BILLION, magnitude % BILLION);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_that_is_a_time_of_2001_or_later_stands_for_one() {
        const BORDER: i128 = 1_000_000_000_000_000_000;
        let at = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        for (nanos, time) in [
            (BORDER - 1, None),
            (BORDER, Some(at(1_000_000_000_000_000_000))),
            (BORDER + 1, Some(at(1_000_000_000_000_000_001))),
            (-BORDER, None),
            (i128::from(u64::MAX) + 1, None),
        ] {
            assert_eq!(Version::from_nanos(nanos).time(), time, "{nanos}");
        }
    }

    #[test]
    fn is_shown_as_the_number_that_the_event_carried() {
        for (nanos, shown) in [(7_000_000_000, "7"), (1_500_000_000, "1.5"), (-250_000_000, "-0.25"), (0, "0")] {
            assert_eq!(Version::from_nanos(nanos).to_string(), shown);
        }
    }
}
