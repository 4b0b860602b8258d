//! Times as people and scripts read them: RFC 3339 in UTC, always with milliseconds, so that texts sort as times do.

use std::num::NonZeroU8;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

const MILLISECONDS: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

/// A time of the system's clock.
pub fn of(at: SystemTime) -> String {
    write(OffsetDateTime::from(at)).unwrap_or_default()
}

/// A time of Unix milliseconds; one that no calendar has stays a number.
pub fn of_unix_ms(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok();
    time.and_then(write).unwrap_or_else(|| unix_ms.to_string())
}

/// Nothing for a year beyond 9999, which RFC 3339 has not.
fn write(time: OffsetDateTime) -> Option<String> {
    (0..=9999).contains(&time.year()).then(|| time.format(&Iso8601::<MILLISECONDS>).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn every_time_has_milliseconds() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.120Z"),
            (253_402_300_800_000, "253402300800000"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(of_unix_ms(unix_ms), text);
        }
        assert_eq!(of(UNIX_EPOCH + Duration::from_micros(1_999_999)), "1970-01-01T00:00:01.999Z");
    }
}
