//! What the failures of one call in a row tell: that the provider is down, or that the cause is in the texts.

use super::provider::Judgement;

/// So many failures of one call in a row (about a minute), none of them a pause for all, cast doubt on its texts: some servers
/// answer 500 to one certain text for ever, or time out on a batch that is too large for them.
const DOUBT_AFTER: u32 = 10;

/// So many do where each time others succeeded since the failure before: 403 as well, which is also how firewalls answer to a text that
/// looks like an attack.
const DOUBT_AMONG_SUCCESSES: u32 = 3;

/// The failures of one call in a row.
#[derive(Debug)]
pub struct Failures {
    pub count: u32,
    /// How many calls of all had succeeded when it failed last, or when it began.
    pub successes: u64,
    /// Whether others succeeded between its last two failures; else the provider seems to be down. What fails among successes has its
    /// reason in itself: it must not be tried again after each of them, and nobody else is to wait for it.
    pub among_successes: bool,
    /// How many of them cast doubt on its texts, and how many were among successes.
    doubts: u32,
    alone: u32,
}

impl Failures {
    /// None yet, of a call that begins when so many calls of all have succeeded.
    pub fn since(successes: u64) -> Self {
        Self { count: 0, successes, among_successes: false, doubts: 0, alone: 0 }
    }

    /// It failed once more, when so many calls of all had succeeded.
    pub fn one_more(&mut self, successes: u64) {
        self.count += 1;
        self.among_successes = self.successes != successes;
        self.successes = successes;
    }

    /// Whether what was said last is enough to look at each half of its texts alone.
    pub fn casts_doubt(&mut self, failure: &Judgement) -> bool {
        if !may_be_the_texts(failure) {
            return false;
        }
        // What is forbidden may be so for all: only the success of others tells.
        self.doubts += u32::from(!matches!(failure, Judgement::Forbidden { .. }));
        self.alone += u32::from(self.among_successes);
        self.doubts == DOUBT_AFTER || self.alone == DOUBT_AMONG_SUCCESSES
    }
}

/// Whether the texts of a call may be the cause of its failure.
pub fn may_be_the_texts(failure: &Judgement) -> bool {
    matches!(failure, Judgement::Retry { pause: false, .. } | Judgement::Forbidden { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(pause: bool) -> Judgement {
        Judgement::Retry { reason: "not now".into(), after: None, pause }
    }

    fn forbidden() -> Judgement {
        Judgement::Forbidden { reason: "no".into() }
    }

    /// After which failure the texts are in doubt, when so many others succeed before each.
    fn in_doubt_after(failure: &Judgement, others: u64) -> Option<u32> {
        let mut failures = Failures::since(7);
        (1..=20).find(|failed| {
            failures.one_more(7 + u64::from(*failed) * others);
            failures.casts_doubt(failure)
        })
    }

    #[test]
    fn texts_are_in_doubt_soon_among_successes_late_without_and_never_for_what_is_asked_of_all() {
        assert_eq!((in_doubt_after(&retry(false), 0), in_doubt_after(&retry(false), 1)), (Some(10), Some(3)));
        assert_eq!((in_doubt_after(&forbidden(), 0), in_doubt_after(&forbidden(), 1)), (None, Some(3)));
        assert_eq!((in_doubt_after(&retry(true), 0), in_doubt_after(&retry(true), 1)), (None, None));
    }

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
