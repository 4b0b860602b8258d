//! Rounds of a test with seeds. CI runs a few of them; two environment variables run more, or one alone.

use std::env;

/// Runs a round for each seed: the usual number of them, `<VARIABLE>_ROUNDS` instead, or the one of `<VARIABLE>_SEED` alone. A
/// round that fails says how to run it again.
pub fn rounds(test: &str, variable: &str, usual: u64, mut round: impl FnMut(u64)) {
    let number = |end: &str| {
        let name = format!("{variable}_{end}");
        env::var(&name).ok().map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value} is no number")))
    };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROUNDS").unwrap_or(usual),
    };
    for seed in seeds {
        let alone = HowToRunAlone(format!("{variable}_SEED={seed} cargo test --all-features --test faults {test}"));
        round(seed);
        drop(alone);
    }
}

struct HowToRunAlone(String);

impl Drop for HowToRunAlone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this round alone: {}", self.0);
        }
    }
}
