//! What is done to the process while it works: for some seconds of every minute its index cannot be written to, and it is killed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::process::Vectide;

/// How often it is killed, all in the first half of the time: the second half is one life, long enough to show what grows.
const KILLS: u32 = 5;
/// The seconds of every minute in which another program has the lock of the ledger, and so of the embedded index. A write waits 5 seconds
/// for it, and for those before it: it is slow first, and then it fails.
const LOCKED: Range<u64> = 3..20;

/// See the module.
pub struct Faults {
    runs_for: Duration,
    ledger: PathBuf,
    lock: Option<Connection>,
    kills: u32,
}

impl Faults {
    /// For a process with this folder that runs for so long.
    pub fn new(runs_for: Duration, folder: &Path) -> Self {
        Self { runs_for, ledger: folder.join("data/ledger.sqlite"), lock: None, kills: 0 }
    }

    /// Does what is due by then.
    pub fn strike(&mut self, after: Duration, vectide: &mut Vectide) {
        if self.kills < KILLS && after >= self.runs_for * (self.kills + 1) / (2 * KILLS) {
            self.kills += 1;
            self.lock = None;
            vectide.kill_and_start_again();
        } else if !LOCKED.contains(&(after.as_secs() % 60)) {
            self.lock = None;
        } else if self.lock.is_none() {
            let theirs = Connection::open(&self.ledger).expect("the ledger is there");
            // Where the process itself is writing all the time, the lock is had the next time.
            self.lock = theirs.execute_batch("BEGIN IMMEDIATE").is_ok().then_some(theirs);
        }
    }
}
