//! Faults at named places of the product: a panic, as a mistake in the code there would make, or an error, as a disk would.
//!
//! What is armed is armed in one runtime: that of a [`World`](super::World), its actors and its blocking threads. So tests beside each
//! other do not meet. A [`Generation`](crate::pipeline::generation::Generation), and so [`supervise`](crate::pipeline::supervise), has a
//! runtime of its own, in which nothing is armed: start the actors with [`build`](crate::pipeline::build::build), and wait for
//! [`at_rest`](crate::pipeline::generation::at_rest).

use parking_lot::Mutex;
use rusqlite::ffi;
use tokio::runtime::{Handle, Id};

/// Every place between a source and any index, in the order in which an event comes to it.
pub const POINTS: [&str; 12] = [
    "before planning",
    "planned",
    "batch sealed",
    "embedded",
    "documents written",
    "vectors written",
    "before the ledger commits",
    "the ledger committed",
    "index written",
    "buried",
    "before the commit",
    "committed",
];

/// Those inside a change of the ledger, which is made on a blocking thread. At them it may fail as well.
pub const IN_THE_LEDGER: [&str; 4] =
    ["documents written", "vectors written", "before the ledger commits", "the ledger committed"];

/// Inside the embedded index, which is not in every pipeline.
pub const IN_THE_EMBEDDED_INDEX: [&str; 1] = ["points committed"];

/// What happens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It panics.
    Panic,
    /// It fails, as if there were no room on the disk.
    Fail,
}

/// What is armed.
struct Armed {
    runtime: Id,
    point: &'static str,
    strike: Strike,
    /// How often the place is passed unharmed before.
    pass: usize,
    times: usize,
    struck: usize,
}

static ARMED: Mutex<Vec<Armed>> = Mutex::new(Vec::new());

/// Arms a place in this runtime: it is passed so often, and then struck so many times.
///
/// # Panics
/// When there is no such place, or it cannot fail, or outside of a runtime.
pub fn arm(point: &'static str, strike: Strike, pass: usize, times: usize) {
    assert!(listed(point), "no place is named `{point}`");
    assert!(strike == Strike::Panic || IN_THE_LEDGER.contains(&point), "the place `{point}` cannot fail");
    ARMED.lock().push(Armed { runtime: Handle::current().id(), point, strike, pass, times, struck: 0 });
}

/// Disarms all places in this runtime, and answers how often they were struck.
///
/// # Panics
/// Outside of a runtime.
pub fn disarm() -> usize {
    let runtime = Handle::current().id();
    ARMED.lock().extract_if(.., |armed| armed.runtime == runtime).map(|armed| armed.struck).sum()
}

/// Called by `fault_point!`.
pub fn reach(point: &str) {
    assert!(pass(point).is_ok(), "the place `{point}` cannot fail");
}

/// Called by `fault_point!` where the product can fail.
pub fn pass(point: &str) -> rusqlite::Result<()> {
    assert!(listed(point), "the place `{point}` is not listed");
    match strike(point) {
        None => Ok(()),
        Some(Strike::Panic) => panic!("told to panic at `{point}`"),
        Some(Strike::Fail) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None)),
    }
}

fn listed(point: &str) -> bool {
    POINTS.iter().chain(&IN_THE_EMBEDDED_INDEX).any(|listed| *listed == point)
}

fn strike(point: &str) -> Option<Strike> {
    // The ledger is also used without a runtime, where nobody can have armed anything.
    let runtime = Handle::try_current().ok()?.id();
    let mut all = ARMED.lock();
    let armed = all.iter_mut().find(|armed| armed.runtime == runtime && armed.point == point)?;
    if armed.pass > 0 {
        armed.pass -= 1;
        return None;
    }
    let strikes = armed.struck < armed.times;
    armed.struck += usize::from(strikes);
    strikes.then_some(armed.strike)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[tokio::test]
    async fn an_armed_place_is_passed_then_strikes_and_then_is_passed_again() {
        arm("planned", Strike::Panic, 1, 2);
        let panics: Vec<bool> = (0..5).map(|_| catch_unwind(|| reach("planned")).is_err()).collect();
        assert_eq!(panics, [false, true, true, false, false]);
        reach("buried");
        assert_eq!(disarm(), 2);
        reach("planned");
    }

    #[tokio::test]
    async fn a_blocking_thread_meets_what_is_armed_and_another_runtime_does_not() {
        arm("vectors written", Strike::Fail, 0, 1);
        let elsewhere = std::thread::spawn(|| pass("vectors written").is_ok());
        assert!(elsewhere.join().unwrap());
        let fails = || pass("vectors written").is_err();
        assert!(tokio::task::spawn_blocking(fails).await.unwrap());
        assert_eq!(disarm(), 1);
    }
}
