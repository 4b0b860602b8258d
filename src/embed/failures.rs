//! What the failures of one call in a row tell: whether the provider seems to be down.

use super::provider::ProviderError;

/// The failures of one call in a row.
#[derive(Debug)]
pub struct Failures {
    pub count: u32,
    /// How many of them were its own: not told to hold for all.
    pub own: u32,
    /// How many of them in a row, up to the last, asked for a pause of all. What needs a person has pauses of its own.
    of_all: u32,
    /// How many calls of all had succeeded when it failed last, or when it began.
    pub successes: u64,
    /// Whether others succeeded between its last two failures; else the provider seems to be down. What fails among successes has its
    /// reason in itself: it must not be tried again after each of them, and nobody else is to wait for it.
    pub among_successes: bool,
}

impl Failures {
    /// None yet, of a call that begins when so many calls of all have succeeded.
    pub fn since(successes: u64) -> Self {
        Self { count: 0, own: 0, of_all: 0, successes, among_successes: false }
    }

    /// It failed once more, when so many calls of all had succeeded.
    pub fn one_more(&mut self, failure: &ProviderError, successes: u64) {
        self.count += 1;
        match failure {
            ProviderError::Retry { pause: true, .. } => self.of_all += 1,
            ProviderError::Fatal(_) => {}
            _ => (self.own, self.of_all) = (self.own + 1, 0),
        }
        self.among_successes = self.successes != successes;
        self.successes = successes;
    }

    /// How many in a row, up to the last, were told to hold for all, as far as that concerns others.
    pub fn that_concern_others(&self) -> u32 {
        if self.among_successes { 1 } else { self.of_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_among_successes_when_others_succeeded_since_the_one_before() {
        let mut failures = Failures::since(7);
        let told = [(7, false), (8, true), (8, false), (8, false), (9, true), (11, true)];
        for (number, (successes, among)) in (1..).zip(told) {
            failures.one_more(&ProviderError::retry("not now"), successes);
            assert_eq!((failures.among_successes, failures.count), (among, number));
        }
    }
}
