//! Ports for servers that are told theirs.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below those that a system gives to outgoing connections (Linux from 32768, others from 49152): the tests beside this one open many, and
/// one of them would take a port in the moment between now and the start of the server, or while the server is down.
const RANGE: Range<u16> = 20_000..30_000;

/// The first of so many ports in a row at which nobody listens. Never the same twice in one process.
pub fn free(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    // Other processes that run tests begin elsewhere.
    let mut first = next.unwrap_or_else(|| fastrand::u16(RANGE));
    loop {
        if first + count > RANGE.end {
            first = RANGE.start;
        }
        let ports = first..first + count;
        first = ports.end;
        if ports.clone().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            *next = Some(first);
            return ports.start;
        }
    }
}
