//! Where records come from. Implement [`Source`], add a variant to `settings::source` and an arm to [`build`].

pub mod actor;
pub mod file;
pub mod http;
pub mod record;
pub mod replan;
pub mod replay;
pub mod rewrite;
pub mod stdin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::settings::SourceSettings;

pub use actor::MakeSource;
pub use record::{Committed, Partition, Position, Record};

/// See [`Source::on_commit`].
pub type OnCommit = Arc<dyn Fn(&[Position]) + Send + Sync>;

/// Makes a configured source, again after every failure. `intake`: the way in of the HTTP source.
pub fn build(settings: &SourceSettings, intake: Option<&http::Intake>) -> Result<MakeSource, String> {
    Ok(match settings.clone() {
        SourceSettings::File(settings) => Arc::new(move || Box::new(file::FileSource::new(&settings))),
        SourceSettings::Stdin(settings) => Arc::new(move || Box::new(stdin::StdinSource::new(&settings))),
        SourceSettings::Http(_) => {
            let intake = intake.cloned().ok_or("the HTTP source has no intake")?;
            Arc::new(move || Box::new(http::HttpSource::new(&intake)))
        }
    })
}

/// How much a source may give at once.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Records; at least 1.
    pub records: usize,
    /// Bytes of payload. A single record may exceed it, so that one large record cannot stop a source.
    pub bytes: usize,
}

/// What a read gave.
#[derive(Debug)]
pub enum Read {
    /// The next records in the order of their partitions; never empty.
    Records(Vec<Record>),
    /// Nothing now, and more may come: the source waited as long as it found useful (at most [`IDLE_WAIT`]).
    Idle,
    /// Nothing, and no more will ever come.
    Finished,
}

/// The longest that [`Source::read`] waits for records before it answers [`Read::Idle`].
pub const IDLE_WAIT: Duration = Duration::from_millis(250);

/// Why a source could not read. It is asked again later, with growing pauses; nothing is lost by it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A place that gives records again from a committed position: what is not committed is given again after a restart.
///
/// A source gives no promise about settling; the ingestor that owns it does. It is used from one task at a time.
pub trait Source: Send + 'static {
    /// Opens the source at the positions committed before (empty at the first start). Called once, before the first read.
    fn open(&mut self, committed: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>>;

    /// Waits for the next records, as many as there is room for and are at hand.
    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>>;

    /// Told when positions were committed in the ledger, newest per partition: a journal may drop what lies before.
    fn committed(&mut self, _positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { Ok(()) })
    }

    /// Called from the ingestor's thread at the moment positions were committed, also while a read is under way: for whoever waits
    /// for it. Must not block.
    fn on_commit(&self) -> Option<OnCommit> {
        None
    }

    /// How many bytes are left to read, where the source knows: progress shows the time left from it.
    fn remaining_bytes(&self) -> Option<u64> {
        None
    }
}
