//! Looks on from a thread of its own: one that hangs cannot notice that it does.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::actor::pulse::{Monitor, Pulse, Stall, Underway};

/// Looks on until it is dropped.
pub struct Monitoring(#[expect(dead_code, reason = "its drop is the signal to end")] mpsc::Sender<()>);

/// Looks every so often at an arbiter, at the calls of its actors and at those to the ledger. `stalled` is told what hangs, once.
pub fn monitor(
    pulse: Arc<Pulse>,
    ledger: Arc<Underway>,
    every: Duration,
    stalled: impl FnOnce(Stall) + Send + 'static,
) -> io::Result<Monitoring> {
    let (watching, ended) = mpsc::channel();
    std::thread::Builder::new().name("monitor".to_owned()).spawn(move || {
        let mut monitor = Monitor::default();
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            let mut underway = pulse.underway.calls();
            underway.extend(ledger.calls());
            if let Some(stall) = monitor.look(pulse.beats(), &underway) {
                return stalled(stall);
            }
        }
    })?;
    Ok(Monitoring(watching))
}
