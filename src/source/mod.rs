//! Where records come from. Implement [`Source`], add a variant to `settings::source` and an arm to [`build`].

pub mod actor;
mod batch;
mod blocking;
pub mod clients;
pub mod file;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
mod lines;
pub mod mappers;
mod place;
pub mod replan;
pub mod replay;
pub mod rewrite;
pub mod stdin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ledger::{LedgerError, Letter};
use crate::settings::DocumentSettings;
use crate::settings::SourceSettings;
use crate::telemetry::Metrics;

pub use crate::delivery::{Form, Origin, Partition, Position, Record, Room};
pub use actor::MakeSource;

/// See [`Source::on_commit`].
pub type OnCommit = Arc<dyn Fn(&[Position]) + Send + Sync>;

/// See [`Source::on_bury`].
pub type OnBury = Arc<dyn Fn(Arc<[Letter]>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What a source may need beside its settings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The source's name in the configuration.
    pub name: &'a str,
    /// The way in of the HTTP source.
    pub intake: Option<&'a http::Intake>,
    /// What the source of standard input reads.
    pub stdin: &'a stdin::StandardInput,
    /// How records become documents.
    pub document: &'a DocumentSettings,
    /// Counters.
    pub metrics: &'a Arc<Metrics>,
    /// Where the threads of clients are counted.
    pub clients: &'a clients::Clients,
}

/// Makes a configured source, again after every failure.
pub fn build(settings: &SourceSettings, around: Surroundings<'_>) -> Result<MakeSource, String> {
    Ok(match settings.clone() {
        SourceSettings::File(settings) => Arc::new(move || Box::new(file::FileSource::new(&settings))),
        SourceSettings::Stdin(settings) => {
            let input = around.stdin.clone();
            Arc::new(move || Box::new(stdin::StdinSource::new(&input, &settings)))
        }
        SourceSettings::Http(_) => {
            let intake = around.intake.cloned().ok_or("the HTTP source has no intake")?;
            Arc::new(move || Box::new(http::HttpSource::new(&intake)))
        }
        #[cfg(feature = "kafka")]
        SourceSettings::Kafka(settings) => {
            let desk = kafka::Desk {
                name: around.name.into(),
                attributes: kafka::Attributes::used_by(around.document),
                metrics: around.metrics.clone(),
                clients: around.clients.clone(),
            };
            Arc::new(move || Box::new(kafka::KafkaSource::new(&settings, &desk)))
        }
        #[cfg(not(feature = "kafka"))]
        SourceSettings::Kafka(_) => return Err("this build cannot read Kafka".to_owned()),
    })
}

/// What a read gave.
#[derive(Debug)]
pub enum Read {
    /// The next records in the order of their partitions; never empty.
    Records(Vec<Record>),
    /// No record, but news of where partitions stand, in the order of their records: each is committed when all that was given before
    /// is settled. Never empty.
    Positions(Vec<Position>),
    /// These partitions are read by someone else from now on: what they gave and is not settled is let go. One that comes back is given
    /// again from its committed position.
    Revoked(Vec<Arc<Partition>>),
    /// The names of partitions whose positions need not be kept any longer: they are deleted, and the source is read again at once. Each is
    /// said once, and before anything is given under its name again. A position that is still on its way is kept again when it is
    /// committed; so the name is to be said again when the source is opened with it and the partition is still gone.
    Forgotten(Vec<String>),
    /// Nothing now, but neither an end nor a failure: the source waits for something it lacks, or for others. Said now and then, so that it
    /// is asked what troubles it.
    Waiting,
    /// Nothing now, and more may come: the source waited as long as it found useful, mostly [`IDLE_WAIT`].
    Idle,
    /// Nothing, and no more will ever come.
    Finished,
}

/// How long [`Source::read`] mostly waits for records before it answers [`Read::Idle`]. A source whose records come as they like may wait
/// for them without end: the ingestor settles and commits meanwhile, and drops the read when it ends.
pub const IDLE_WAIT: Duration = Duration::from_millis(250);

/// Why a source could not read. It is asked again later, with growing pauses; nothing is lost by it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// For sources that read the ledger.
impl From<LedgerError> for SourceError {
    fn from(error: LedgerError) -> Self {
        Self(error.to_string())
    }
}

/// A place that gives records again from a committed position: what is not committed is given again after a restart.
///
/// A source gives no promise about settling; the ingestor that owns it does. It is used from one task at a time.
pub trait Source: Send + 'static {
    /// Opens the source at the positions committed before (empty at the first start). Called before the first read, again until it
    /// succeeds, and then no more.
    fn open(&mut self, _committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    /// Waits for the next records, as many as there is room for and are at hand.
    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>>;

    /// Told when positions were committed in the ledger, newest per partition: a journal may drop what lies before.
    fn committed(&mut self, _positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    /// Called about once a second while the source is not read, as when the window is full, so that it can secure what might be gone later.
    fn watch(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    /// Called from the ingestor's thread at the moment positions were committed, also while a read is under way: for whoever waits
    /// for it. Must not block.
    fn on_commit(&self) -> Option<OnCommit> {
        None
    }

    /// Called when records of this source were put into the dead letters, before they count as settled: for a copy elsewhere.
    fn on_bury(&self) -> Option<OnBury> {
        None
    }

    /// What of it cannot be read while it goes on with the rest. Asked whenever it was read, told or watched, failed or not.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What is right with it and yet worth knowing. Asked with [`Source::trouble`].
    fn remark(&self) -> Option<String> {
        None
    }

    /// How many bytes are left to read, where the source knows: progress shows the time left from it. Asked with [`Source::trouble`].
    fn remaining_bytes(&self) -> Option<u64> {
        None
    }
}
