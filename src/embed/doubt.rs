//! A part of a batch whose calls fail: whether its texts are the cause. The module [`call`](super::call) says by which rules; here they are
//! without a clock and without a call.

use std::time::Duration;

use super::failures::Failures;
use super::provider::ProviderError;
use crate::actor::backoff::Backoff;

/// So many failures of one call cast doubt on its texts: some servers answer 500 to one certain text for ever, or time out on a batch that
/// is too large for them. What all are asked to wait for does not count. What is refused or forbidden does so at once: no repetition tells
/// whether it is so for all.
const DOUBT_AFTER: u32 = 3;

/// So many failures of a lone text in a row, each right after a harmless one passed, prove that the text is the cause.
const STRIKES: u32 = 5;

/// Between them, where it fails without a word of the text. These waits are kept in full, so that the last strike comes nearly four minutes
/// after the first: three minutes in which the provider does only small work are no proof.
const FAILURES_APART: Backoff = Backoff::new(Duration::from_secs(15), Duration::from_secs(120));

/// Between them, where it is said to be forbidden: whatever looks at texts does so however busy the provider is.
const FORBIDDEN_APART: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// What follows from a failed call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Its texts are not in doubt: wait as the failure demands, and make the same call again.
    Again,
    /// After this time, see whether a harmless text passes, so many times in a row, and make the same call again.
    TryHarmless { after: Duration, times: u32 },
    /// The cause is in its texts, and there are several.
    Halve,
    /// The lone text seems to be the cause, and it takes minutes to be certain: others go first. It is not to be sent again before so much
    /// time has passed.
    SetAside(Duration),
    /// The lone text is the cause. Why it is rejected.
    Reject(String),
}

/// What the failures in a row of one part's calls told so far.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Those of the harmless text count as well.
    pub(super) failures: Failures,
    /// Whether the part has one text.
    lone: bool,
    /// Whether nothing but suspects would wait for it.
    last: bool,
    /// Whether the harmless text passed right before the call that is made now.
    proven: bool,
    /// How many failures in a row came right after it did.
    strikes: u32,
}

impl Doubt {
    /// None yet, when so many calls of all have succeeded.
    pub(super) fn of(texts: usize, last: bool, successes: u64) -> Self {
        Self { failures: Failures::since(successes), lone: texts == 1, last, proven: false, strikes: 0 }
    }

    /// The call failed, when so many calls of all had succeeded.
    pub(super) fn failed(&mut self, failure: &ProviderError, successes: u64) -> Next {
        self.failures.one_more(failure, successes);
        let proven = std::mem::take(&mut self.proven);
        let (reason, asked_for, apart) = match failure {
            ProviderError::Refused(_) if !self.lone => return Next::Halve,
            ProviderError::Refused(reason) if proven => return Next::Reject(reason.clone()),
            ProviderError::Refused(reason) | ProviderError::Forbidden(reason) => {
                (reason, Duration::ZERO, FORBIDDEN_APART)
            }
            ProviderError::Retry { reason, after, pause: false } if self.failures.own >= DOUBT_AFTER => {
                (reason, after.unwrap_or_default(), FAILURES_APART)
            }
            ProviderError::Retry { .. } | ProviderError::Fatal(_) => return Next::Again,
        };
        self.strikes += u32::from(proven);
        if self.strikes == STRIKES {
            return Next::Reject(format!("the provider fails with this text and with no other: {reason}"));
        }
        if self.strikes > 0 && !self.last {
            return Next::SetAside(asked_for);
        }
        let apart = if proven { apart.delay(self.strikes, 1.0) } else { Duration::ZERO };
        // Once more each time: of two servers that take turns, one of which fails, the text would meet that one again and again.
        Next::TryHarmless { after: apart.max(asked_for), times: self.strikes + 1 }
    }

    /// Whether the harmless text passed as often as was asked for, with nothing amiss. Returns whether to halve the part.
    pub(super) fn harmless_tried(&mut self, passed: bool) -> bool {
        self.proven = passed;
        if !passed {
            self.strikes = 0;
        }
        passed && !self.lone
    }
}

#[cfg(test)]
mod tests {
    use super::Next::{Again, Halve, Reject, SetAside, TryHarmless};
    use super::*;

    type Failure = fn() -> ProviderError;

    const REFUSED: Failure = || ProviderError::Refused("bad".into());
    const FORBIDDEN: Failure = || ProviderError::Forbidden("bad".into());
    const FATAL: Failure = || ProviderError::Fatal("wrong key".into());
    const FAILED: Failure = || ProviderError::retry("bad");
    const FAILED_FOR_20_S: Failure = || ProviderError::Retry { reason: "bad".into(), after: Some(S(20)), pause: false };
    const BUSY: Failure = || ProviderError::Retry { reason: "busy".into(), after: None, pause: true };

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn harmless(after: u64, times: u32) -> Next {
        TryHarmless { after: S(after), times }
    }

    fn guilty() -> Next {
        Reject("the provider fails with this text and with no other: bad".into())
    }

    /// What follows from each of these failures, where the harmless text passes whenever it is tried, but for the tries with these numbers.
    fn nexts(mut doubt: Doubt, disturbed: &[usize], failures: &[Failure]) -> Vec<Next> {
        let (mut nexts, mut tries) = (Vec::new(), 0);
        for failure in failures {
            let next = doubt.failed(&failure(), 0);
            let tried = matches!(next, TryHarmless { .. });
            nexts.push(next);
            if tried {
                tries += 1;
                if doubt.harmless_tried(!disturbed.contains(&tries)) {
                    nexts.push(Halve);
                }
            }
        }
        nexts
    }

    #[test]
    fn several_texts_are_halved_at_once_when_refused_and_else_when_a_harmless_one_passes() {
        for (what, disturbed, failures, expected) in [
            ("refused", &[][..], &[REFUSED][..], vec![Halve]),
            ("forbidden", &[], &[FORBIDDEN], vec![harmless(0, 1), Halve]),
            ("failing", &[], &[FAILED; 3], vec![Again, Again, harmless(0, 1), Halve]),
            ("told to wait", &[], &[FAILED_FOR_20_S; 3], vec![Again, Again, harmless(20, 1), Halve]),
            ("busy for all", &[], &[BUSY, FAILED, BUSY, FAILED, BUSY], vec![Again, Again, Again, Again, Again]),
            ("a wrong key", &[], &[FATAL; 5], vec![Again, Again, Again, Again, Again]),
            ("all fails", &[1], &[FORBIDDEN; 2], vec![harmless(0, 1), harmless(0, 1), Halve]),
        ] {
            assert_eq!(nexts(Doubt::of(2, true, 0), disturbed, failures), expected, "{what}");
        }
    }

    #[test]
    fn a_lone_text_is_rejected_when_it_is_refused_once_or_fails_five_times_right_after_a_harmless_one_passed() {
        let failing = [(0, 1), (15, 2), (30, 3), (60, 4), (120, 5)].map(|(after, times)| harmless(after, times));
        let forbidden = [(0, 1), (1, 2), (2, 3), (4, 4), (8, 5)].map(|(after, times)| harmless(after, times));
        for (what, disturbed, failures, expected) in [
            ("refused", &[][..], &[REFUSED; 2][..], vec![harmless(0, 1), Reject("bad".into())]),
            ("all fails", &[1], &[REFUSED; 3], vec![harmless(0, 1), harmless(0, 1), Reject("bad".into())]),
            ("a pause between", &[], &[REFUSED, BUSY, REFUSED], vec![harmless(0, 1), Again, harmless(0, 1)]),
            ("forbidden", &[], &[FORBIDDEN; 6], forbidden.into_iter().chain([guilty()]).collect()),
            ("failing", &[], &[FAILED; 8], [Again, Again].into_iter().chain(failing).chain([guilty()]).collect()),
            (
                "told to wait",
                &[],
                &[FAILED_FOR_20_S; 5],
                vec![Again, Again, harmless(20, 1), harmless(20, 2), harmless(30, 3)],
            ),
            (
                "five strikes in a row only",
                &[3],
                &[FORBIDDEN; 5],
                vec![harmless(0, 1), harmless(1, 2), harmless(2, 3), harmless(0, 1), harmless(1, 2)],
            ),
            (
                "a pause is no strike, and takes none back",
                &[],
                &[FORBIDDEN, FORBIDDEN, BUSY, FORBIDDEN, FORBIDDEN],
                vec![harmless(0, 1), harmless(1, 2), Again, harmless(0, 2), harmless(2, 3)],
            ),
        ] {
            assert_eq!(nexts(Doubt::of(1, true, 0), disturbed, failures), expected, "{what}");
        }
    }

    #[test]
    fn a_suspect_is_set_aside_while_others_would_wait_for_it() {
        for (what, failures, expected) in [
            ("refused", &[REFUSED; 2][..], vec![harmless(0, 1), Reject("bad".into())]),
            ("forbidden", &[FORBIDDEN; 2], vec![harmless(0, 1), SetAside(S(0))]),
            ("told to wait", &[FAILED_FOR_20_S; 4], vec![Again, Again, harmless(20, 1), SetAside(S(20))]),
        ] {
            assert_eq!(nexts(Doubt::of(1, false, 0), &[], failures), expected, "{what}");
        }
    }
}
