//! Short product records: some 230 bytes each, of which 120 are embedded.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use fastrand::Rng;

const WORDS: &[&str] = &[
    "rain", "boot", "wool", "trail", "lamp", "steel", "cotton", "garden", "camera", "winter", "leather", "travel",
    "coffee", "light", "storm", "kitchen", "linen", "walking", "glass", "mountain", "soft", "river", "canvas",
    "morning", "sturdy", "warm", "pocket", "bicycle", "paper", "window", "copper", "summer",
];

/// The record of this number, one JSON object without its line end.
pub fn record(number: usize) -> String {
    let mut random = Rng::with_seed(number as u64);
    let words = |random: &mut Rng, count: usize| {
        (0..count).map(|_| WORDS[random.usize(..WORDS.len())]).collect::<Vec<_>>().join(" ")
    };
    let (title, description) = (words(&mut random, 4), words(&mut random, 14));
    let price = random.u32(100..100_000) as f64 / 100.0;
    let mut record = String::with_capacity(256);
    write!(
        record,
        r#"{{"id":"P{number:08}","title":"{title} {number}","description":"{description}","category":"c{}","price":{price},"timestamp":{}}}"#,
        number % 30,
        1_700_000_000 + number,
    )
    .expect("a String takes any text");
    record
}

/// Writes so many records to a file.
pub fn write(path: &Path, count: usize) {
    let mut file = BufWriter::new(File::create(path).expect("the catalogue can be written"));
    for number in 0..count {
        writeln!(file, "{}", record(number)).expect("the catalogue can be written");
    }
    file.flush().expect("the catalogue can be written");
}
