//! How long a provider asks to wait, from the headers of its answer.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest wait that is believed; a provider that means more says it again.
const MOST: Duration = Duration::from_secs(600);

/// The wait that the headers ask for, if they do: `retry-after-ms`, else `Retry-After` (seconds, or a date, which is reckoned from the
/// answer's own). Never more than ten minutes.
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
        let date = |name: &str| httpdate::parse_http_date(text(name)?).ok();
        // The two clocks may differ.
        let now = date(DATE.as_str()).unwrap_or(now);
        Some(date(RETRY_AFTER.as_str())?.duration_since(now).unwrap_or_default())
    };
    in_milliseconds.or_else(in_seconds).or_else(at_date).map(|wait| wait.min(MOST))
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
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), ("date", "Sun, 06 Nov 1994 07:59:58 GMT")],
                Some(2_000),
            ),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e30")], None),
            (&[("retry-after", "86400")], Some(600_000)),
            (&[("retry-after-ms", "x"), ("retry-after", "2")], Some(2_000)),
        ];
        for (pairs, expected) in table {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_millis), "{pairs:?}");
        }
    }
}
