//! Panics at named places of the product, as a mistake in the code there would.
//!
//! What is armed is armed on one thread: that of a [`World`](super::World) and its actors. So tests beside each other do not meet.

use std::cell::RefCell;

/// Every place, in the order in which an event comes to it.
pub const POINTS: [&str; 8] = [
    "before planning",
    "planned",
    "batch sealed",
    "embedded",
    "index written",
    "buried",
    "before the commit",
    "committed",
];

/// What is armed on a thread.
struct Strike {
    point: &'static str,
    /// How often the place is passed unharmed before.
    pass: usize,
    times: usize,
    struck: usize,
}

thread_local! {
    static ARMED: RefCell<Option<Strike>> = const { RefCell::new(None) };
}

/// Arms a place on this thread: it is passed so often, and then panics so many times.
///
/// # Panics
/// When there is no such place.
pub fn arm(point: &'static str, pass: usize, times: usize) {
    assert!(POINTS.contains(&point), "no place is named `{point}`");
    ARMED.set(Some(Strike { point, pass, times, struck: 0 }));
}

/// Disarms, and answers how often it panicked.
pub fn disarm() -> usize {
    ARMED.take().map_or(0, |strike| strike.struck)
}

/// Called by `fault_point!`.
pub fn reach(point: &str) {
    assert!(POINTS.contains(&point), "the place `{point}` is not listed");
    let strikes = ARMED.with_borrow_mut(|armed| {
        let Some(strike) = armed.as_mut().filter(|strike| strike.point == point) else { return false };
        if strike.pass > 0 {
            strike.pass -= 1;
            return false;
        }
        let strikes = strike.struck < strike.times;
        strike.struck += usize::from(strikes);
        strikes
    });
    assert!(!strikes, "told to panic at `{point}`");
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn an_armed_place_is_passed_then_strikes_and_then_is_passed_again() {
        arm("planned", 1, 2);
        let panics: Vec<bool> = (0..5).map(|_| catch_unwind(|| reach("planned")).is_err()).collect();
        assert_eq!(panics, [false, true, true, false, false]);
        reach("buried");
        assert_eq!(disarm(), 2);
        reach("planned");
    }
}
