//! What lies outside the pipeline, on demand: a provider, an index and a source.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::actor::offload::on_blocking_thread;
use crate::document::fingerprint::Fingerprinter;
use crate::document::{DocumentId, Vector, Version};
use crate::embed::provider::{Embeddings, InputType, Judgement, Provider};
use crate::embed::space::Space;
use crate::index::{Hit, IndexError, Query, VectorIndex};
use crate::ledger::{DocumentWrite, Ledger, PointKey, VectorSource};
use crate::pipeline::Resources;
use crate::source::actor::MakeSource;
use crate::source::{Committed, IDLE_WAIT, Partition, Position, Read, Record, Room, Source, SourceError};

/// What the next calls meet, in order; then all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call goes well.
    None,
    /// "Not now" for this call.
    Unavailable,
    /// "Not now" for all calls (429); for an index the same as `Unavailable`.
    TooMany,
    /// A panic before anything is done.
    PanicBefore,
    /// A panic after all was done, so that nobody learns of it.
    PanicAfter,
    /// It goes well, and takes [`SLOW`] longer.
    Slow,
    /// No answer, ever.
    Hang,
}

/// What [`Fault::Slow`] adds.
pub const SLOW: Duration = Duration::from_secs(10);

/// Faults that happen with a chance, drawn from a seed, or as they were ordered.
#[derive(Default)]
pub struct Faults {
    ordered: Mutex<std::collections::VecDeque<Fault>>,
    /// Chance of a fault per call, the faults to draw from, and what draws.
    drawn: Mutex<Option<(f64, Vec<Fault>, fastrand::Rng)>>,
}

impl Faults {
    /// The next calls meet these, one each.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        self.ordered.lock().extend(faults);
    }

    /// From now on a call meets one of these with this chance.
    pub fn draw(&self, seed: u64, chance: f64, from: &[Fault]) {
        *self.drawn.lock() = Some((chance, from.to_vec(), fastrand::Rng::with_seed(seed)));
    }

    /// From now on all goes well.
    pub fn stop(&self) {
        *self.drawn.lock() = None;
        self.ordered.lock().clear();
    }

    fn next(&self) -> Fault {
        if let Some(fault) = self.ordered.lock().pop_front() {
            return fault;
        }
        let mut drawn = self.drawn.lock();
        let Some((chance, from, random)) = &mut *drawn else { return Fault::None };
        let happens = random.f64() < *chance;
        random.choice(from.iter()).copied().filter(|_| happens).unwrap_or(Fault::None)
    }
}

/// A provider whose vectors tell their text.
pub struct FakeProvider {
    space: Space,
    /// How long a call takes.
    pub latency: Duration,
    /// What calls meet.
    pub faults: Faults,
    refused: BTreeSet<String>,
    crashing: Mutex<BTreeSet<String>>,
    calls: Mutex<Vec<Vec<Arc<str>>>>,
    paid: Mutex<BTreeMap<Arc<str>, usize>>,
    wasted: AtomicUsize,
}

impl Default for FakeProvider {
    fn default() -> Self {
        Self {
            space: Space { model: "fake".into(), revision: String::new(), dimensions: 4 },
            latency: Duration::from_millis(20),
            faults: Faults::default(),
            refused: BTreeSet::new(),
            crashing: Mutex::default(),
            calls: Mutex::default(),
            paid: Mutex::default(),
            wasted: AtomicUsize::default(),
        }
    }
}

impl FakeProvider {
    /// Refuses every call with one of these texts in it, as a provider answers 400.
    pub fn refusing<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { refused: texts.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// From now on panics over every call with this text in it.
    pub fn crash_on(&self, text: &str) {
        self.crashing.lock().insert(text.to_owned());
    }

    /// The vector of a text: the same one always, and another for another text.
    pub fn vector(text: &str) -> Vector {
        let hash = Fingerprinter::new("fake").of(text);
        hash.as_bytes()
            .chunks(8)
            .map(|bytes| bytes.iter().fold(1.0, |sum, byte| sum * 3.0 % 4096.0 + f32::from(*byte)))
            .collect()
    }

    /// The texts of each call so far, in order.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let texts = |call: &Vec<Arc<str>>| call.iter().map(|text| text.to_string()).collect();
        self.calls.lock().iter().map(texts).collect()
    }

    /// How often each text was paid for.
    pub fn paid(&self) -> BTreeMap<String, usize> {
        self.paid.lock().iter().map(|(text, times)| (text.to_string(), *times)).collect()
    }

    /// How many texts were paid for and lost with a panic.
    pub fn wasted(&self) -> usize {
        self.wasted.load(Ordering::SeqCst)
    }

    fn answer(&self, texts: Vec<Arc<str>>) -> Judgement {
        if texts.iter().any(|text| self.refused.contains(&**text)) {
            return Judgement::Refused { reason: "the fake refuses a text".into() };
        }
        let vectors = texts.iter().map(|text| Ok(Self::vector(text))).collect();
        let mut paid = self.paid.lock();
        texts.into_iter().for_each(|text| *paid.entry(text).or_default() += 1);
        Judgement::Done(Embeddings { vectors, tokens: None })
    }
}

impl Provider for FakeProvider {
    fn space(&self) -> &Space {
        &self.space
    }

    fn model(&self) -> &str {
        "fake"
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Judgement> {
        async move {
            self.calls.lock().push(texts.clone());
            let fault = self.faults.next();
            tokio::time::sleep(self.latency).await;
            let retry = |pause| Judgement::Retry { reason: "the fake is told to fail".into(), after: None, pause };
            let crashes = texts.iter().any(|text| self.crashing.lock().contains(&**text));
            match fault {
                _ if crashes => panic!("the fake provider crashes on this text"),
                Fault::Unavailable => retry(false),
                Fault::TooMany => retry(true),
                Fault::PanicBefore => panic!("the fake provider is told to panic"),
                Fault::PanicAfter => {
                    self.wasted.fetch_add(texts.len(), Ordering::SeqCst);
                    self.answer(texts);
                    panic!("the fake provider is told to panic after it was paid")
                }
                Fault::Hang => std::future::pending().await,
                Fault::Slow => {
                    tokio::time::sleep(SLOW).await;
                    self.answer(texts)
                }
                Fault::None => self.answer(texts),
            }
        }
        .boxed()
    }

    fn count_tokens(&self, _: &str) -> Option<usize> {
        None
    }

    fn max_text_tokens(&self) -> Option<usize> {
        None
    }

    fn max_items(&self) -> usize {
        1000
    }

    fn price_per_million_tokens(&self) -> f64 {
        1.0
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
        let points = self.points.lock();
        let held = self.ledger.documents(ids).expect("the ledger can be read");
        let holds = |(id, held): (&DocumentId, Option<crate::ledger::HeldDocument>)| {
            let held = held?;
            let vectors = held.chunks.iter().map(|chunk| points[&chunk.key].clone()).collect();
            Some((id.to_string(), (held.metadata?, vectors)))
        };
        ids.iter().zip(held).filter_map(holds).collect()
    }

    /// Takes the vectors of an earlier life from the ledger, as an index that was saved.
    pub fn recall(&self) {
        let mut points = self.points.lock();
        let ids = self.ledger.scan_documents(None, usize::MAX).expect("the ledger can be read");
        for chunk in ids.into_iter().flat_map(|(_, held)| held.chunks) {
            let vector = self.ledger.vectors(&[chunk.fingerprint]).expect("the ledger can be read").remove(0);
            points.insert(chunk.key, vector.expect("the vector of a chunk is kept"));
        }
    }

    async fn try_write(&self, writes: Arc<[DocumentWrite]>) -> Result<(), IndexError> {
        let fault = self.faults.next();
        tokio::time::sleep(self.latency).await;
        let _ = self.blocked.subscribe().wait_for(|blocked| !blocked).await;
        match fault {
            Fault::Unavailable | Fault::TooMany => {
                return Err(IndexError::Unavailable("the fake is told to fail".into()));
            }
            Fault::PanicBefore => panic!("the fake index is told to panic"),
            Fault::Hang => std::future::pending().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::None | Fault::PanicAfter => {}
        }
        let crashes = writes.iter().any(|write| self.crashing.lock().contains(&write.id));
        assert!(!crashes, "the fake index crashes on this document");
        let (ledger, asked) = (self.ledger.clone(), writes.clone());
        let written = on_blocking_thread(move || ledger.write(&asked)).await?;
        let mut points = self.points.lock();
        written.removed.iter().for_each(|key| drop(points.remove(key)));
        for (key, write, chunk) in written.added {
            if let VectorSource::Here(vector) = &writes[write].chunks[chunk].vector {
                points.insert(key, vector.clone());
            }
        }
        drop(points);
        self.writes.lock().push(writes.iter().map(|write| write.id.to_string()).collect());
        assert!(fault != Fault::PanicAfter, "the fake index is told to panic after it wrote");
        Ok(())
    }
}

impl VectorIndex for FakeIndex {
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<(), IndexError>> {
        self.try_write(writes).boxed()
    }

    fn search(&self, _: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        async { Err(IndexError::Fatal("the fake cannot search".into())) }.boxed()
    }

    fn points(&self) -> u64 {
        self.points.lock().len() as u64
    }

    fn close(&self) -> BoxFuture<'_, Result<(), IndexError>> {
        async { Ok(()) }.boxed()
    }
}

/// A source that gives the records of a list, from the committed position on. Clones share the list and what was seen.
#[derive(Clone)]
pub struct Script(Arc<Scripted>);

struct Scripted {
    records: Mutex<Vec<Bytes>>,
    partition: Arc<Partition>,
    /// The most records of one read.
    at_once: usize,
    /// Whether it ends after the last record, or waits for more.
    ends: bool,
    faults: Faults,
    opened: Mutex<Vec<Vec<Committed>>>,
    given: Mutex<Vec<u64>>,
    told: Mutex<Vec<u64>>,
}

impl Script {
    /// Ends after the last of these records.
    pub fn new<'a>(records: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with(records, 1024, true)
    }

    /// As [`Script::new`], with at most so many records a read; one that does not end waits for more.
    pub fn with<'a>(records: impl IntoIterator<Item = &'a str>, at_once: usize, ends: bool) -> Self {
        let records = records.into_iter().map(|record| Bytes::from(record.to_owned())).collect();
        let partition = Partition { name: "script".into(), detail: String::new() };
        Self(Arc::new(Scripted {
            records: Mutex::new(records),
            partition: Arc::new(partition),
            at_once,
            ends,
            faults: Faults::default(),
            opened: Mutex::default(),
            given: Mutex::default(),
            told: Mutex::default(),
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

    /// The offset at which each opening began, in order.
    pub fn opened_at(&self) -> Vec<u64> {
        let offset = |committed: &Vec<Committed>| committed.iter().map(|position| position.offset).max().unwrap_or(0);
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
}

struct ScriptSource {
    script: Script,
    next: usize,
}

impl ScriptSource {
    async fn try_read(&mut self, room: Room) -> Result<Read, SourceError> {
        let script = &*self.script.0;
        match script.faults.next() {
            Fault::Unavailable | Fault::TooMany => return Err(SourceError("the script is told to fail".into())),
            Fault::PanicBefore | Fault::PanicAfter => panic!("the script is told to panic"),
            Fault::Hang => std::future::pending().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::None => {}
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
                let position = Position { partition: script.partition.clone(), offset, ordinal: offset };
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
        Ok(Read::Idle)
    }
}

impl Source for ScriptSource {
    fn open(&mut self, committed: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>> {
        let offset = committed.iter().map(|position| position.offset).max().unwrap_or(0);
        self.next = usize::try_from(offset).unwrap_or(usize::MAX);
        self.script.0.opened.lock().push(committed);
        async { Ok(()) }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        self.try_read(room).boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        self.script.0.told.lock().extend(positions.iter().map(|position| position.offset));
        async { Ok(()) }.boxed()
    }
}

/// Documents of `id`, `v` (their version), `text` and `tag` (metadata); `op` is one of `put`, `patch`, `now` and `delete`.
const SETTINGS: &str = r#"
pipeline: test
document:
  id: id
  version: { field: v, unit: counter }
  text: "{{ text }}"
  metadata: [tag]
  events:
    field: op
    put: { operation: upsert }
    patch: { operation: patch }
    now: { operation: patch, priority: 5, immediate: true }
    delete: { operation: delete }
sources: {}
chunking: { max_tokens: 64 }
batching: { max_items: 10, max_wait: 50ms }
embedding: { provider: openai, preset: openai-small, concurrency: 4 }
index: { type: discard }
"#;

/// What a pipeline rests on, with its ledger in this folder and fakes for all that lies outside.
pub async fn resources(folder: &Path, provider: Arc<FakeProvider>) -> (Arc<Resources>, Arc<FakeIndex>) {
    let mut settings: crate::settings::Settings = serde_yaml::from_str(SETTINGS).expect("these settings are right");
    settings.state.path = folder.to_owned();
    let opened = Resources::open_with(settings, provider).await.expect("these resources can be opened");
    let index = Arc::new(FakeIndex::new(opened.ledger.clone()));
    (Arc::new(Resources { index: index.clone(), ..opened }), index)
}
