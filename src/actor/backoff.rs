//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff with full jitter: the ceiling doubles with every failure, and the wait is drawn evenly from below it,
/// so that callers who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    floor: Duration,
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits between nothing and `first` after the first failure, and never longer than `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { floor: Duration::ZERO, first, most }
    }

    /// The same, but never shorter than `floor`, for what only a person can repair. A floor above `most` goes first.
    pub const fn at_least(self, floor: Duration) -> Self {
        Self { floor, ..self }
    }

    /// The wait after `failures` failures in a row, counted from 1; `random` is drawn evenly from 0 to 1.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.most).max(self.floor);
        self.floor + (ceiling - self.floor).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_ceiling_doubles_up_to_the_most() {
        let backoff = Backoff::new(MS(100), MS(1000));
        for (failures, ceiling) in [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (u32::MAX, 1000)] {
            assert_eq!(backoff.delay(failures, 1.0), MS(ceiling), "after {failures} failures");
            assert_eq!(backoff.delay(failures, 0.5), MS(ceiling) / 2);
            assert_eq!(backoff.delay(failures, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn a_floor_is_kept_from_the_first_failure_on() {
        let backoff = Backoff::new(MS(10), MS(60)).at_least(MS(5));
        assert_eq!(backoff.delay(1, 0.0), MS(5));
        assert_eq!(backoff.delay(1, 1.0), MS(10));
        assert_eq!(backoff.delay(9, 1.0), MS(60));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_outside_its_bounds(
            first in 0u64..1 << 40, most in 0u64..1 << 40, floor in 0u64..1 << 40, failures: u32, random in -1.0f64..2.0,
        ) {
            let wait = Backoff::new(MS(first), MS(most)).at_least(MS(floor)).delay(failures, random);
            prop_assert!(wait >= MS(floor));
            prop_assert!(wait <= MS(most.max(floor)) + Duration::from_micros(1), "rounding of a float aside");
        }
    }
}
