//! What the failures of one call in a row tell: whether the provider seems to be down.

/// The failures of one call in a row.
#[derive(Debug)]
pub struct Failures {
    pub count: u32,
    /// How many of them in a row, up to the last, were told to hold for all.
    pauses: u32,
    /// How many calls of all had succeeded when it failed last, or when it began.
    pub successes: u64,
    /// Whether others succeeded between its last two failures; else the provider seems to be down. What fails among successes has its
    /// reason in itself: it must not be tried again after each of them, and nobody else is to wait for it.
    pub among_successes: bool,
}

impl Failures {
    /// None yet, of a call that begins when so many calls of all have succeeded.
    pub fn since(successes: u64) -> Self {
        Self { count: 0, pauses: 0, successes, among_successes: false }
    }

    /// Whether the last one was told to hold for all; answers how many were in a row, as far as that concerns others.
    pub fn asked_to_pause(&mut self, pause: bool) -> u32 {
        self.pauses = if pause { self.pauses + 1 } else { 0 };
        if self.among_successes { 1 } else { self.pauses }
    }

    /// It failed once more, when so many calls of all had succeeded.
    pub fn one_more(&mut self, successes: u64) {
        self.count += 1;
        self.among_successes = self.successes != successes;
        self.successes = successes;
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
            failures.one_more(successes);
            assert_eq!((failures.among_successes, failures.count), (among, number));
        }
    }
}
