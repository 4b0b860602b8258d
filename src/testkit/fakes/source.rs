//! A source that gives what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Fault, Faults, SLOW};
use crate::document::Version;
use crate::source::actor::MakeSource;
use crate::source::{IDLE_WAIT, Partition, Position, Read, Record, Room, Source, SourceError};

/// A source that gives the records of a list, from the committed position on. Clones share the list and what was seen.
#[derive(Clone)]
pub struct Script(Arc<Scripted>);

struct Scripted {
    records: Mutex<Vec<Bytes>>,
    partition: Mutex<Arc<Partition>>,
    /// Where it goes on, and what it says first, when its partition was taken away and came back.
    revoked: Mutex<Option<(u64, Arc<Partition>)>>,
    /// What it says of where its partition stands, without a record.
    noted: Mutex<Option<u64>>,
    /// What it lacks.
    lack: Mutex<Option<String>>,
    /// The partitions that need not be remembered any more.
    forgotten: Mutex<Vec<String>>,
    /// The most records of one read.
    at_once: usize,
    /// Whether it ends after the last record, or waits for more.
    ends: bool,
    faults: Faults,
    opened: Mutex<Vec<Vec<Position>>>,
    given: Mutex<Vec<u64>>,
    told: Mutex<Vec<u64>>,
    /// How many times more it fails when it is told.
    deaf: AtomicUsize,
    watched: AtomicUsize,
}

impl Script {
    /// Ends after the last of these records.
    pub fn new<'a>(records: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with(records, 1024, true)
    }

    /// As [`Script::new`], with at most so many records a read; one that does not end waits for more.
    pub fn with<'a>(records: impl IntoIterator<Item = &'a str>, at_once: usize, ends: bool) -> Self {
        let records = records.into_iter().map(|record| Bytes::from(record.to_owned())).collect();
        Self(Arc::new(Scripted {
            records: Mutex::new(records),
            partition: Mutex::new(partition()),
            revoked: Mutex::default(),
            noted: Mutex::default(),
            lack: Mutex::default(),
            forgotten: Mutex::default(),
            at_once,
            ends,
            faults: Faults::default(),
            opened: Mutex::default(),
            given: Mutex::default(),
            told: Mutex::default(),
            deaf: AtomicUsize::default(),
            watched: AtomicUsize::default(),
        }))
    }

    /// What makes the source, as the pipeline wants it.
    pub fn make(&self) -> MakeSource {
        let script = self.clone();
        Arc::new(move || Box::new(ScriptSource { script: script.clone(), next: 0 }))
    }

    /// What reads meet.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Adds a record at the end.
    pub fn push(&self, record: &str) {
        self.0.records.lock().push(Bytes::from(record.to_owned()));
    }

    /// Its partition is taken away, and comes back to be read on from this offset.
    pub fn revoke(&self, back_at: u64) {
        let gone = std::mem::replace(&mut *self.0.partition.lock(), partition());
        *self.0.revoked.lock() = Some((back_at, gone));
    }

    /// The next read says that its partition stands at this offset.
    pub fn note(&self, offset: u64) {
        *self.0.noted.lock() = Some(offset);
    }

    /// From now on it lacks this, or nothing: where it has no record, it waits.
    pub fn lack(&self, lack: Option<&str>) {
        *self.0.lack.lock() = lack.map(str::to_owned);
    }

    /// This partition need not be remembered any more.
    pub fn forget(&self, partition: &str) {
        self.0.forgotten.lock().push(partition.to_owned());
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.0.records.lock().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset at which each opening began, in order.
    pub fn opened_at(&self) -> Vec<u64> {
        let offset = |committed: &Vec<Position>| committed.iter().map(|position| position.offset).max().unwrap_or(0);
        self.0.opened.lock().iter().map(offset).collect()
    }

    /// The number of every record that was given, counted from 0, in order and as often as it was given.
    pub fn given(&self) -> Vec<u64> {
        self.0.given.lock().clone()
    }

    /// The offsets that it was told are committed, in order.
    pub fn told(&self) -> Vec<u64> {
        self.0.told.lock().clone()
    }

    /// The next so many times that it is to be told what is committed, it fails.
    pub fn deafen(&self, times: usize) {
        self.0.deaf.store(times, Ordering::SeqCst);
    }

    /// How often it looked after itself.
    pub fn watched(&self) -> usize {
        self.0.watched.load(Ordering::SeqCst)
    }
}

fn partition() -> Arc<Partition> {
    Arc::new(Partition { name: "script".into(), detail: String::new() })
}

struct ScriptSource {
    script: Script,
    next: usize,
}

impl ScriptSource {
    async fn try_read(&mut self, room: Room) -> Result<Read, SourceError> {
        let script = &*self.script.0;
        match script.faults.next() {
            Fault::Unavailable | Fault::TooMany | Fault::Answers(_) | Fault::TimesOut => {
                return Err(SourceError("the script is told to fail".into()));
            }
            Fault::PanicBefore | Fault::PanicAfter => panic!("the script is told to panic"),
            Fault::Hang => std::future::pending().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::None => {}
        }
        if let Some((back_at, gone)) = script.revoked.lock().take() {
            self.next = usize::try_from(back_at).unwrap_or(usize::MAX);
            return Ok(Read::Revoked(vec![gone]));
        }
        let forgotten = std::mem::take(&mut *script.forgotten.lock());
        if !forgotten.is_empty() {
            return Ok(Read::Forgotten(forgotten));
        }
        let partition = script.partition.lock().clone();
        if let Some(offset) = script.noted.lock().take() {
            return Ok(Read::Positions(vec![Position { partition, offset, ordinal: offset }]));
        }
        let mut given = Vec::new();
        let mut bytes = 0;
        {
            let records = script.records.lock();
            while let Some(payload) = records.get(self.next).filter(|_| given.len() < room.records.min(script.at_once))
            {
                bytes += payload.len();
                if bytes > room.bytes && !given.is_empty() {
                    break;
                }
                script.given.lock().push(self.next as u64);
                self.next += 1;
                let offset = self.next as u64;
                let position = Position { partition: partition.clone(), offset, ordinal: offset };
                given.push(Record::new(payload.clone(), position, Version::from_nanos(i128::from(offset))));
            }
        }
        if !given.is_empty() {
            return Ok(Read::Records(given));
        }
        if script.ends {
            return Ok(Read::Finished);
        }
        tokio::time::sleep(IDLE_WAIT).await;
        Ok(if script.lack.lock().is_some() { Read::Waiting } else { Read::Idle })
    }
}

impl Source for ScriptSource {
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        let offset = committed.iter().map(|position| position.offset).max().unwrap_or(0);
        self.next = usize::try_from(offset).unwrap_or(usize::MAX);
        self.script.0.opened.lock().push(committed);
        async { Ok(()) }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        self.try_read(room).boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        let is_deaf = self.script.0.deaf.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1));
        if is_deaf.is_ok() {
            return async { Err(SourceError("the script is told to be deaf".into())) }.boxed();
        }
        self.script.0.told.lock().extend(positions.iter().map(|position| position.offset));
        async { Ok(()) }.boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.script.0.lack.lock().clone()
    }

    fn watch(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.script.0.watched.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }.boxed()
    }
}
