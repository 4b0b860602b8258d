//! An index that writes at once, or as it is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{AtOnce, Fault, Faults, SLOW};
use crate::actor::offload::on_blocking_thread;
use crate::document::{DocumentId, Vector};
use crate::index::{Hit, IndexError, Progress, Query, RefusedWrite, VectorIndex};
use crate::ledger::{DocumentWrite, Ledger, NewPoint, PointKey, VectorSource};

/// Writes to an index until all is written, and answers what was refused.
pub async fn write_all(index: &dyn VectorIndex, writes: Arc<[DocumentWrite]>) -> Result<Vec<RefusedWrite>, IndexError> {
    loop {
        if let Progress::Done(refused) = index.write(writes.clone()).await? {
            return Ok(refused);
        }
    }
}

/// An index in memory, over a real ledger.
pub struct FakeIndex {
    ledger: Arc<Ledger>,
    /// What writes meet.
    pub faults: Faults,
    /// How long a write takes.
    pub latency: Duration,
    blocked: watch::Sender<bool>,
    crashing: Mutex<BTreeSet<DocumentId>>,
    points: Mutex<HashMap<PointKey, Vector>>,
    writes: Mutex<Vec<Vec<String>>>,
    at_once: AtOnce,
    refused: AtomicUsize,
    /// Whether the last write went wrong.
    unsure: AtomicBool,
}

/// What an index holds of one document: metadata and vectors in order.
pub type Indexed = (String, Vec<Vector>);

impl FakeIndex {
    /// Over this ledger.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            faults: Faults::default(),
            latency: Duration::from_millis(5),
            blocked: watch::Sender::new(false),
            crashing: Mutex::default(),
            points: Mutex::default(),
            writes: Mutex::default(),
            at_once: AtOnce::default(),
            refused: AtomicUsize::default(),
            unsure: AtomicBool::default(),
        }
    }

    /// From now on no write ends, until [`FakeIndex::unblock`].
    pub fn block(&self) {
        self.blocked.send_replace(true);
    }

    /// Lets all writes go on.
    pub fn unblock(&self) {
        self.blocked.send_replace(false);
    }

    /// From now on panics over every write with this document in it.
    pub fn crash_on(&self, id: &str) {
        self.crashing.lock().insert(DocumentId::new(id).expect("an id"));
    }

    /// The documents of each write that was done, in order.
    pub fn writes(&self) -> Vec<Vec<String>> {
        self.writes.lock().clone()
    }

    /// What it holds of these documents. Reads the ledger: not for an arbiter at work.
    pub fn holds(&self, ids: &[DocumentId]) -> BTreeMap<String, Indexed> {
        self.be_sure();
        let points = self.points.lock();
        let held = self.ledger.documents(ids).expect("the ledger can be read");
        let holds = |(id, held): (&DocumentId, Option<crate::ledger::HeldDocument>)| {
            let held = held?;
            let vectors = held.chunks.iter().map(|chunk| points[&chunk.key].clone()).collect();
            Some((id.to_string(), (held.metadata?, vectors)))
        };
        ids.iter().zip(held).filter_map(holds).collect()
    }

    /// How many writes there were at once.
    pub fn at_once(&self) -> &AtOnce {
        &self.at_once
    }

    /// How many writes the ledger did not take.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// What it holds that no document has, and what it lacks. Reads the ledger: not for an arbiter at work.
    pub fn strays(&self) -> Vec<PointKey> {
        self.be_sure();
        let documents = self.ledger.scan_documents(None, usize::MAX, usize::MAX).expect("the ledger can be read");
        let due: BTreeSet<_> = documents.iter().flat_map(|(_, held)| &held.chunks).map(|chunk| chunk.key).collect();
        let held: BTreeSet<_> = self.points.lock().keys().copied().collect();
        due.symmetric_difference(&held).copied().collect()
    }

    /// Takes what it holds from the ledger, as an index does when it is opened.
    pub fn recall(&self) {
        let mut points = self.points.lock();
        points.clear();
        let ids = self.ledger.scan_documents(None, usize::MAX, usize::MAX).expect("the ledger can be read");
        for chunk in ids.into_iter().flat_map(|(_, held)| held.chunks) {
            let vector = self.ledger.vectors(&[chunk.fingerprint]).expect("the ledger can be read").remove(0);
            points.insert(chunk.key, vector.expect("the vector of a chunk is kept"));
        }
    }

    /// A write that went wrong may have been written all the same.
    fn be_sure(&self) {
        if self.unsure.swap(false, Ordering::SeqCst) {
            self.recall();
        }
    }

    async fn try_write(&self, writes: Arc<[DocumentWrite]>) -> Result<Progress, IndexError> {
        let _under_way = self.at_once.enter();
        let fault = self.faults.next();
        tokio::time::sleep(self.latency).await;
        let _ = self.blocked.subscribe().wait_for(|blocked| !blocked).await;
        match fault {
            Fault::Unavailable | Fault::TooMany | Fault::Answers(_) | Fault::TimesOut => {
                return Err(IndexError::Unavailable("the fake is told to fail".into()));
            }
            Fault::PanicBefore => panic!("the fake index is told to panic"),
            Fault::Hang => std::future::pending().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::None | Fault::PanicAfter => {}
        }
        let crashes = writes.iter().any(|write| self.crashing.lock().contains(&write.id));
        assert!(!crashes, "the fake index crashes on this document");
        self.be_sure();
        self.unsure.store(true, Ordering::SeqCst);
        let (ledger, asked) = (self.ledger.clone(), writes.clone());
        let written = on_blocking_thread(move || ledger.write(&asked)).await;
        self.refused.fetch_add(usize::from(written.is_err()), Ordering::SeqCst);
        let written = written?;
        let mut points = self.points.lock();
        written.removed.iter().for_each(|key| drop(points.remove(key)));
        for NewPoint { key, write, chunk } in written.added {
            if let VectorSource::Here(vector) = &writes[write].chunks[chunk].vector {
                points.insert(key, vector.clone());
            }
        }
        drop(points);
        self.unsure.store(false, Ordering::SeqCst);
        self.writes.lock().push(writes.iter().map(|write| write.id.to_string()).collect());
        assert!(fault != Fault::PanicAfter, "the fake index is told to panic after it wrote");
        Ok(Progress::Done(Vec::new()))
    }
}

impl VectorIndex for FakeIndex {
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        self.try_write(writes).boxed()
    }

    fn search(&self, _: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        async { Err(IndexError::Fatal("the fake cannot search".into())) }.boxed()
    }
}
