//! The journal of one source in the ledger, called where it may block.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::actor::offload::try_on_blocking_thread;
use crate::actor::panic::message;
use crate::ledger::{JournalEntry, Ledger, LedgerError, now_nanos};
use crate::source::Room;

/// See the module. Errors say what happened and what to do.
#[derive(Clone)]
pub(super) struct Journal {
    ledger: Arc<Ledger>,
    source: Arc<str>,
}

impl Journal {
    pub(super) fn new(ledger: Arc<Ledger>, source: &str) -> Self {
        Self { ledger, source: Arc::from(source) }
    }

    /// As [`Ledger::append_journal`], at this moment.
    pub(super) async fn append(&self, events: Vec<Vec<Bytes>>) -> Result<Range<u64>, String> {
        let now = now_nanos();
        self.call(move |ledger, source| {
            let payloads: Vec<&[u8]> = events.iter().flatten().map(|event| &event[..]).collect();
            ledger.append_journal(source, &payloads, now)
        })
        .await
    }

    /// As [`Ledger::journal`].
    pub(super) async fn read(&self, from: u64, room: Room) -> Result<Vec<JournalEntry>, String> {
        self.call(move |ledger, source| ledger.journal(source, from, room.records, room.bytes)).await
    }

    /// As [`Ledger::trim_journal`].
    pub(super) async fn trim(&self, before: u64) -> Result<(), String> {
        self.call(move |ledger, source| ledger.trim_journal(source, before)).await
    }

    /// As [`Ledger::unsettled_journal`].
    pub(super) async fn unsettled(&self) -> Result<Range<u64>, String> {
        self.call(Ledger::unsettled_journal).await
    }

    /// A panic is an error like any other.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ledger, &str) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, String> {
        let Self { ledger, source } = self.clone();
        match try_on_blocking_thread(move || call(&ledger, &source)).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("the journal could not be used: {}", message(&*panic))),
        }
    }
}
