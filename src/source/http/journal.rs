//! What an intake needs of the ledger, and no more, so that it can be tested with a disk that is full.

use std::ops::Range;

use crate::actor::offload::try_on_blocking_thread;
use crate::actor::panic::message;
use crate::ledger::{JournalEntry, Ledger};

/// Keeps events from their arrival until they are settled. Calls block; errors say what happened and what to do.
pub trait Journal: Send + Sync + 'static {
    /// Appends in one durable transaction, at this Unix time in nanoseconds; answers the numbers, in the order given and without gaps. Of
    /// no payloads it answers all the same whether something can be written.
    fn append(&self, source: &str, payloads: &[&[u8]], now: i64) -> Result<Range<u64>, String>;

    /// Entries from a number on, in order.
    fn read(&self, source: &str, from: u64, max_records: usize, max_bytes: usize) -> Result<Vec<JournalEntry>, String>;

    /// Drops the entries before a number.
    fn trim(&self, source: &str, before: u64) -> Result<(), String>;

    /// The numbers of the entries that are not settled; those that are may be there for a while.
    fn unsettled(&self, source: &str) -> Result<Range<u64>, String>;
}

impl Journal for Ledger {
    fn append(&self, source: &str, payloads: &[&[u8]], now: i64) -> Result<Range<u64>, String> {
        self.append_journal(source, payloads, now).map_err(|error| error.to_string())
    }

    fn read(&self, source: &str, from: u64, max_records: usize, max_bytes: usize) -> Result<Vec<JournalEntry>, String> {
        self.journal(source, from, max_records, max_bytes).map_err(|error| error.to_string())
    }

    fn trim(&self, source: &str, before: u64) -> Result<(), String> {
        self.trim_journal(source, before).map_err(|error| error.to_string())
    }

    fn unsettled(&self, source: &str) -> Result<Range<u64>, String> {
        self.unsettled_journal(source).map_err(|error| error.to_string())
    }
}

/// Runs a call to the journal where it may block. A panic in it is an error like any other.
pub(super) async fn in_journal<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    try_on_blocking_thread(call)
        .await
        .unwrap_or_else(|panic| Err(format!("the journal could not be used: {}", message(&*panic))))
}

/// A journal in memory that can be full, that can be held, and that counts its transactions.
#[cfg(test)]
pub(crate) mod memory {
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::document::Version;

    #[derive(Default)]
    pub(crate) struct MemoryJournal {
        state: Mutex<State>,
        released: Condvar,
    }

    #[derive(Default)]
    struct State {
        entries: Vec<JournalEntry>,
        last: u64,
        transactions: usize,
        failure: Option<String>,
        held: bool,
    }

    impl MemoryJournal {
        pub(crate) fn payloads(&self) -> Vec<String> {
            let state = self.state.lock().unwrap();
            state.entries.iter().map(|entry| String::from_utf8(entry.payload.clone()).unwrap()).collect()
        }

        pub(crate) fn transactions(&self) -> usize {
            self.state.lock().unwrap().transactions
        }

        pub(crate) fn fail(&self, reason: Option<&str>) {
            self.state.lock().unwrap().failure = reason.map(str::to_owned);
        }

        /// While held, a transaction does not end.
        pub(crate) fn hold(&self, held: bool) {
            self.state.lock().unwrap().held = held;
            self.released.notify_all();
        }
    }

    impl Journal for MemoryJournal {
        fn append(&self, _source: &str, payloads: &[&[u8]], now: i64) -> Result<Range<u64>, String> {
            let mut state = self.state.lock().unwrap();
            state.transactions += 1;
            let mut state = self.released.wait_while(state, |state| state.held).unwrap();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let start = state.last + 1;
            for payload in payloads {
                state.last += 1;
                let seq = state.last;
                let order = Version::from_nanos(i128::from(now) + i128::from(seq));
                state.entries.push(JournalEntry { seq, order, payload: payload.to_vec() });
            }
            Ok(start..state.last + 1)
        }

        fn read(
            &self,
            _source: &str,
            from: u64,
            max_records: usize,
            max_bytes: usize,
        ) -> Result<Vec<JournalEntry>, String> {
            let state = self.state.lock().unwrap();
            let mut bytes = 0;
            let from = state.entries.iter().filter(|entry| entry.seq >= from).take(max_records);
            let fits = from.enumerate().take_while(|(number, entry)| {
                bytes += entry.payload.len();
                *number == 0 || bytes <= max_bytes
            });
            Ok(fits.map(|(_, entry)| entry.clone()).collect())
        }

        fn trim(&self, _source: &str, before: u64) -> Result<(), String> {
            self.state.lock().unwrap().entries.retain(|entry| entry.seq >= before);
            Ok(())
        }

        fn unsettled(&self, _source: &str) -> Result<Range<u64>, String> {
            let state = self.state.lock().unwrap();
            Ok(state.entries.first().map_or(0..0, |first| first.seq..state.last + 1))
        }
    }
}
