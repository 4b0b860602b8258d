//! How long a provider asks to wait, from the headers of its answer.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest wait that is believed; a provider that means more says it again.
const MOST: Duration = Duration::from_secs(600);

/// The wait that the headers ask for, if they do: `retry-after-ms`, else `Retry-After` (seconds or a date), else the time until
/// an OpenAI quota that is used up is whole again. Never more than ten minutes.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |number: &str, unit: f64| {
        let number: f64 = number.parse().ok()?;
        // A number that no duration can hold is a slip, not a wish.
        Duration::try_from_secs_f64(number * unit).ok()
    };
    let in_milliseconds = text("retry-after-ms").and_then(|number| seconds(number, 1e-3));
    let in_seconds = || text(RETRY_AFTER.as_str()).and_then(|number| seconds(number, 1.0));
    let at_date = || {
        let date = httpdate::parse_http_date(text(RETRY_AFTER.as_str())?).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    };
    // The reset headers are on every answer; only a quota with nothing left says how long to wait.
    let of_quota = |quota: &str| {
        let left = text(&format!("x-ratelimit-remaining-{quota}"))?;
        (left == "0").then(|| text(&format!("x-ratelimit-reset-{quota}")).and_then(go_duration)).flatten()
    };
    let wait = in_milliseconds.or_else(in_seconds).or_else(at_date);
    wait.or_else(|| of_quota("requests").max(of_quota("tokens"))).map(|wait| wait.min(MOST))
}

/// A length of time as Go writes it: `6m0s`, `12ms`, `1h2m3.5s`; seconds without a unit.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| number + end);
        let factor = match &rest[number..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" | "" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return None,
        };
        total += rest[..number].parse::<f64>().ok()? * factor;
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn every_form_is_understood_and_none_is_believed_for_too_long() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        type Headers = &'static [(&'static str, &'static str)];
        let table: &[(Headers, Option<u64>)] = &[
            (&[], None),
            (&[("retry-after", "20")], Some(20_000)),
            (&[("retry-after", " 0.5 ")], Some(500)),
            (&[("retry-after-ms", "1500"), ("retry-after", "20")], Some(1_500)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], Some(30_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e30")], None),
            (&[("retry-after", "86400")], Some(600_000)),
            (&[("retry-after-ms", "x"), ("retry-after", "2")], Some(2_000)),
            (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "12ms")], Some(12)),
            (&[("x-ratelimit-remaining-requests", "17"), ("x-ratelimit-reset-requests", "6m0s")], None),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(360_000),
            ),
            (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "later")], None),
            (
                &[("retry-after", "3"), ("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "9s")],
                Some(3_000),
            ),
        ];
        for (pairs, expected) in table {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_millis), "{pairs:?}");
        }
    }

    #[test]
    fn go_durations_are_read() {
        for (text, millis) in
            [("6m0s", 360_000), ("1h2m3.5s", 3_723_500), ("250ms", 250), ("7", 7_000), ("59.706s", 59_706)]
        {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["s", "1x", "1..2s", "m1"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
