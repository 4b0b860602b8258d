//! Numbers as people read them.

use std::time::Duration;

/// A count with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 document`, `2 documents`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// How many per second: `1,235/s`, and below ten `0.3/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0/s".to_owned(),
        0.0..9.95 => format!("{per_second:.1}/s"),
        _ => format!("{}/s", count(per_second.round() as u64)),
    }
}

/// US dollars: to the cent from a dollar on, else with two digits that say something.
pub fn money(dollars: f64) -> String {
    if dollars == 0.0 || dollars >= 1.0 {
        let cents = (dollars * 100.0).round() as u64;
        return format!("${}.{:02}", count(cents / 100), cents % 100);
    }
    if dollars < 0.000_001 {
        return "less than $0.000001".to_owned();
    }
    let decimals = (1 - dollars.log10().floor() as i32).clamp(2, 6);
    format!("${dollars:.*}", decimals as usize)
}

/// A span of time in its two largest units: `850 ms`, `4.2 s`, `3 min 5 s`, `2 h 7 min`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", count(seconds / 3_600), seconds / 60 % 60),
    }
}

/// Bytes in decimal units: `950 B`, `1.2 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1e3;
    let mut unit = 0;
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1e3;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((counted(1, "text"), counted(2_000, "text")), ("1 text".into(), "2,000 texts".into()));
        for (dollars, text) in [
            (0.0, "$0.00"),
            (0.000_000_1, "less than $0.000001"),
            (0.000_012_3, "$0.000012"),
            (0.012_3, "$0.012"),
            (0.5, "$0.50"),
            (1.0, "$1.00"),
            (1_234.567, "$1,234.57"),
        ] {
            assert_eq!(money(dollars), text);
        }
        for (pace, text) in [(0.0, "0/s"), (0.3, "0.3/s"), (9.96, "10/s"), (1_234.5, "1,235/s")] {
            assert_eq!(rate(pace), text);
        }
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_230, "4.2 s"),
            (59_999, "59 s"),
            (185_000, "3 min 5 s"),
            (7_620_000, "2 h 7 min"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (1_230_000, "1.2 MB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
