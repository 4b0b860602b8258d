//! How the value of a version field is read as a [`Version`].

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Version;
use super::field::{described, is_rounded, quoted};
use crate::settings::document::VersionUnit;

const BILLION: i128 = 1_000_000_000;
/// April 2262, where nanoseconds since 1970 fill 64 bits: no version is that late but by mistake.
const LATEST: i128 = i64::MAX as i128;
/// From here on billionths no longer fit 128 bits.
const LARGEST: f64 = i128::MAX as f64 / BILLION as f64;
/// The start of 1900.
const EARLIEST: i128 = -2_208_988_800 * BILLION;

/// The units of Unix time: the setting's name, the unit, and how many of it make a second.
const CLOCKS: [(VersionUnit, &str, i128); 4] = [
    (VersionUnit::Seconds, "seconds", 1),
    (VersionUnit::Milliseconds, "milliseconds", 1_000),
    (VersionUnit::Microseconds, "microseconds", 1_000_000),
    (VersionUnit::Nanoseconds, "nanoseconds", 1_000_000_000),
];

/// Reads a version: a number, a text that is one (CSV knows no other values), or an RFC 3339 time.
///
/// Integers are exact, and so are decimal fractions of up to 15 digits in all; digits beyond a billionth (of the number, for times
/// of a second) are cut. A number in a unit that it does not seem to be in is refused: versions of two units in one pipeline
/// would let old changes win for ever.
pub(crate) fn read(value: &Value, unit: VersionUnit) -> Result<Version, String> {
    let billionths = match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => i128::from(integer) * BILLION,
            (_, Some(integer)) => i128::from(integer) * BILLION,
            _ if is_rounded(number) => {
                return Err(format!("version {number} is too large for a number; write it as a text"));
            }
            _ => decimal(&number.to_string()).ok_or_else(|| format!("version {number} is too large"))?,
        },
        Value::String(text) => match decimal(text.trim()) {
            Some(number) => number,
            None if is_large(text.trim()) => return Err(format!("version {} is too large", quoted(text))),
            None => return time(text.trim(), unit),
        },
        other => return Err(format!("a version must be a number or an RFC 3339 time, and it is {}", described(other))),
    };
    number(billionths, unit).map(Version::from_nanos)
}

/// A version as the decimal number that [`read`] takes for it in this unit: Unix times in the configured unit, with `auto` in seconds.
pub(crate) fn shown(version: Version, unit: VersionUnit) -> String {
    let clock = CLOCKS.into_iter().find(|(clock, ..)| *clock == unit);
    let per_second = clock.map_or(1, |(_, _, per_second)| per_second);
    match version.as_nanos().checked_mul(per_second) {
        Some(billionths) => Version::from_nanos(billionths).to_string(),
        // No time is that far from 1970: only a version of a counter, under a configuration that was changed since.
        None => version.to_string(),
    }
}

fn time(text: &str, unit: VersionUnit) -> Result<Version, String> {
    if unit == VersionUnit::Counter {
        return Err(format!("version {} is no number, and document.version.unit is counter", quoted(text)));
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        let shown = quoted(text);
        if lacks_offset(text) {
            return format!(
                "version {shown} lacks an offset from UTC; export it as 2026-02-03T04:05:06Z or 2026-02-03T04:05:06+01:00, or leave \
                 document.version out: the order of files decides then"
            );
        }
        format!("version {shown} is neither a number nor an RFC 3339 time such as 2026-02-03T04:05:06.789Z")
    })?;
    let nanos = time.unix_timestamp_nanos();
    // What is beyond them stands for no time at all in most programs: a change with `9999-12-31` would win for ever.
    if !(EARLIEST..=LATEST).contains(&nanos) {
        return Err(format!("version {} is no time between the years 1900 and 2262", quoted(text)));
    }
    Ok(Version::from_nanos(nanos))
}

/// Whether this would be a time if it said how far its clock is from UTC. Which clock that is, nobody can tell from it.
fn lacks_offset(text: &str) -> bool {
    let text = text.replacen(' ', "T", 1);
    ["Z", "T00:00:00Z"].iter().any(|rest| OffsetDateTime::parse(&format!("{text}{rest}"), &Rfc3339).is_ok())
}

fn number(billionths: i128, unit: VersionUnit) -> Result<i128, String> {
    let nanos = |per_second: i128| billionths / per_second;
    let shown = Version::from_nanos(billionths);
    let clock = match unit {
        VersionUnit::Counter => return Ok(billionths),
        VersionUnit::Auto => return guess(billionths).map(|(_, _, per_second)| nanos(per_second)).ok_or_else(|| {
            format!(
                "version {shown} is no Unix time in seconds, milliseconds, microseconds or nanoseconds; if it is a counter, \
                 set document.version.unit: counter"
            )
        }),
        clock => clock,
    };
    let (_, name, per_second) =
        CLOCKS.into_iter().find(|(unit, ..)| *unit == clock).expect("every unit but auto and counter is in the table");
    match guess(billionths) {
        // A time between 2001 and 2128 in another unit is a far better reading than one within weeks of 1970, or tens of thousands of years
        // from it.
        Some((looks, like, other)) if looks != clock && (BILLION..5 * BILLION).contains(&(nanos(other) / BILLION)) => {
            Err(format!("version {shown} looks like {like}, and document.version.unit is {name}"))
        }
        _ if !(EARLIEST..=LATEST).contains(&nanos(per_second)) => {
            Err(format!("version {shown} is no Unix time in {name} between the years 1900 and 2262"))
        }
        _ => Ok(nanos(per_second)),
    }
}

/// The unit that a number is most likely in: the one that makes it a time before 2128; small numbers are seconds, or a counter.
fn guess(billionths: i128) -> Option<(VersionUnit, &'static str, i128)> {
    let magnitude = billionths.abs() / BILLION;
    CLOCKS.into_iter().find(|(unit, _, per_second)| {
        let from = if *unit == VersionUnit::Seconds { 0 } else { BILLION * per_second };
        (from..5 * BILLION * per_second).contains(&magnitude)
    })
}

/// The billionths of a decimal number: `-12.5`, `1e9`. `None` when the text is no such number or out of range.
fn decimal(text: &str) -> Option<i128> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.len() > whole.len() && fraction.is_empty()) {
        return None;
    }
    // One digit after the other, up to the billionth's place; places beyond the written digits are zeros.
    let places = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 9;
    let mut billionths: i128 = 0;
    let mut place = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        if place < places {
            billionths = billionths.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        place += 1;
    }
    if billionths != 0 && place < places {
        billionths = billionths.checked_mul(10_i128.checked_pow(u32::try_from(places - place).ok()?)?)?;
    }
    Some(if negative { -billionths } else { billionths })
}

/// Whether it is a number that is too large for [`decimal`].
fn is_large(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok_and(|number| number.abs() >= LARGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i128 = 1_732_351_234;

    #[test]
    fn numbers_and_times_of_one_instant_are_one_version() {
        let instant = Version::from_nanos(NOW * BILLION + 500_000_000);
        for value in [
            json!(1_732_351_234.5),
            json!(1_732_351_234_500_u64),
            json!(1_732_351_234_500_000_u64),
            json!(1_732_351_234_500_000_000_u64),
            json!("1732351234.5"),
            json!(" 1732351234500 "),
            json!("1.7323512345e9"),
            json!("2024-11-23T08:40:34.5Z"),
            json!("2024-11-23T09:40:34.500000000+01:00"),
        ] {
            assert_eq!(read(&value, VersionUnit::Auto), Ok(instant), "{value}");
        }
    }

    #[test]
    fn units_are_read_as_named() {
        use VersionUnit::*;
        for (value, unit, nanos) in [
            (json!(7), Auto, 7 * BILLION),
            (json!(-7), Auto, -7 * BILLION),
            (json!(0), Auto, 0),
            (json!(4_999_999_999_u64), Auto, 4_999_999_999 * BILLION),
            (json!(u64::MAX), Counter, i128::from(u64::MAX) * BILLION),
            (json!(i64::MIN), Counter, i128::from(i64::MIN) * BILLION),
            (json!("123456789012345678901234567890"), Counter, 123_456_789_012_345_678_901_234_567_890 * BILLION),
            (json!(0.1), Counter, 100_000_000),
            (json!(1e12), Counter, 1_000_000_000_000 * BILLION),
            (json!(1732351234.123456), Seconds, NOW * BILLION + 123_456_000),
            (json!(-1_000_000_000), Seconds, -BILLION * BILLION),
            (json!(631_152_000_000_u64), Milliseconds, 631_152_000 * BILLION),
            (json!(1_732_351_234_500_u64), Milliseconds, NOW * BILLION + 500_000_000),
            (json!(1_732_351_234_000_001_u64), Microseconds, NOW * BILLION + 1_000),
            (json!(1_732_351_234_000_000_001_u64), Nanoseconds, NOW * BILLION + 1),
            (json!(12), Nanoseconds, 12),
            (json!("2024-11-23T08:40:34Z"), Milliseconds, NOW * BILLION),
            (json!("1900-01-01T00:00:00Z"), Auto, EARLIEST),
            (json!("2016-12-31T23:59:60Z"), Auto, 1_483_228_799 * BILLION + 999_999_999),
        ] {
            assert_eq!(read(&value, unit), Ok(Version::from_nanos(nanos)), "{value} {unit:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_what_to_do() {
        use VersionUnit::*;
        for (value, unit, reason) in [
            (
                json!(12_345_678_901_234_u64),
                Auto,
                "version 12345678901234 is no Unix time in seconds, milliseconds, microseconds or \
                nanoseconds; if it is a counter, set document.version.unit: counter",
            ),
            (json!(5_000_000_000_u64), Auto, "set document.version.unit: counter"),
            (json!(NOW as u64), Milliseconds, "looks like seconds, and document.version.unit is milliseconds"),
            (json!(1_732_351_234_123_u64), Seconds, "looks like milliseconds, and document.version.unit is seconds"),
            (json!(1_732_351_234_123_u64), Nanoseconds, "looks like milliseconds"),
            (json!(1_732_351_234_123_456_789_u64), Microseconds, "looks like nanoseconds"),
            (json!(10_000_000_000_u64), Seconds, "between the years 1900 and 2262"),
            (json!(-3_000_000_000_i64), Seconds, "between the years 1900 and 2262"),
            (json!(1e300), Counter, "version 1e+300 is too large"),
            (json!(18_446_744_073_709_551_616.0), Counter, "write it as a text"),
            (json!(-9_223_372_036_854_775_809.0), Counter, "write it as a text"),
            (json!("340282366920938463463374607431768211455"), Counter, "211455` is too large"),
            (json!("-1e400"), Seconds, "version `-1e400` is too large"),
            (json!("infinity"), Auto, "neither a number"),
            (json!("99999999999999999999."), Counter, "is no number, and"),
            (
                json!("2026-11-25T14:03:11"),
                Auto,
                "version `2026-11-25T14:03:11` lacks an offset from UTC; export it as",
            ),
            (json!("2026-11-25 14:03:11.5"), Seconds, "lacks an offset from UTC"),
            (json!(" 2026-11-25"), Auto, "or leave document.version out: the order of files decides then"),
            (json!("25.11.2026 14:03"), Auto, "neither a number nor an RFC 3339 time"),
            (json!("2026-11-25T14:03:11+0000"), Auto, "neither a number nor an RFC 3339 time"),
            (json!("9999-12-31T23:59:59Z"), Auto, "`9999-12-31T23:59:59Z` is no time between the years 1900 and 2262"),
            (json!("0001-01-01T00:00:00Z"), Seconds, "is no time between the years 1900 and 2262"),
            (json!("x".repeat(1_000_000)), Auto, "(1000000 bytes) is neither"),
            (json!(""), Auto, "neither a number"),
            (json!("2024-11-23T08:40:34Z"), Counter, "is no number"),
            (json!(true), Auto, "and it is true"),
            (json!([1]), Auto, "and it is a list of 1"),
        ] {
            let error = read(&value, unit).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
            assert!(error.len() < 300);
        }
    }

    #[test]
    fn versions_are_shown_in_the_configured_unit() {
        use VersionUnit::*;
        let instant = NOW * BILLION + 500_000_000;
        for (nanos, unit, text) in [
            (instant, Auto, "1732351234.5"),
            (instant, Seconds, "1732351234.5"),
            (instant, Milliseconds, "1732351234500"),
            (instant + 1, Milliseconds, "1732351234500.000001"),
            (instant, Nanoseconds, "1732351234500000000"),
            (7 * BILLION, Counter, "7"),
            (i128::MAX, Nanoseconds, "170141183460469231731687303715.884105727"),
        ] {
            assert_eq!(shown(Version::from_nanos(nanos), unit), text);
        }
    }

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        for (text, billionths) in [
            ("1", Some(BILLION)),
            ("+1.5", Some(1_500_000_000)),
            ("-0.25", Some(-250_000_000)),
            ("007", Some(7 * BILLION)),
            ("1e-9", Some(1)),
            ("1e-10", Some(0)),
            ("1.0000000019", Some(1_000_000_001)),
            ("12.5E2", Some(1250 * BILLION)),
            ("0e999999999", Some(0)),
            ("1e29", Some(10_i128.pow(38))),
            ("1e30", None),
            ("1e999999999", None),
            ("1e99999999999", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1x", None),
            ("0x10", None),
            ("1_000", None),
            ("--1", None),
            ("inf", None),
            ("1.-5", None),
            ("٣", None),
        ] {
            assert_eq!(decimal(text), billionths, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_fractions_is_the_order_of_versions(a in 0.0..4e9_f64, b in 0.0..4e9_f64) {
            let version = |number: f64| read(&json!(number), VersionUnit::Auto).unwrap();
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(version(low) <= version(high));
            // A version has billionths.
            prop_assert!(high - low < 1e-8 || version(low) < version(high));
        }

        #[test]
        fn what_is_shown_reads_as_the_same_version(nanos in BILLION * BILLION..5 * BILLION * BILLION - 1) {
            for unit in [VersionUnit::Auto].into_iter().chain(CLOCKS.map(|(unit, ..)| unit)) {
                let shown = shown(Version::from_nanos(nanos), unit);
                prop_assert_eq!(read(&json!(shown), unit), Ok(Version::from_nanos(nanos)));
            }
        }

        #[test]
        fn what_a_version_shows_reads_as_that_version(nanos in any::<i64>()) {
            let version = Version::from_nanos(nanos.into());
            prop_assert_eq!(decimal(&version.to_string()), Some(nanos.into()));
        }
    }
}
