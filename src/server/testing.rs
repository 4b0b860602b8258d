//! A server whose provider, index and ledger a test holds in its hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::App;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::document::fingerprint::Fingerprinter;
use crate::document::{Change, Document, DocumentId, Operation, Vector, Version};
use crate::embed::provider::{Embeddings, InputType, Provider, ProviderError};
use crate::embed::space::Space;
use crate::embed::status::ProviderStatus;
use crate::index::{Hit, IndexError, Progress, Query, VectorIndex};
use crate::ledger::{ChunkWrite, DocumentWrite, Ledger, Moot, Totals, VectorSource, testing};
use crate::report::Report;
use crate::search::Searcher;
use crate::settings::document::VersionUnit;
use crate::settings::{ByteSize, ServerSettings, Span};
use crate::source::Source;
use crate::source::http::{HttpSource, Intake};
use crate::telemetry::{ActorBoard, Health, Metrics, SourceBoard};

use super::connections::Phase;
use super::routes::configure;
use super::shared::{ServerContext, Shared};

/// Answers what it was told to, in order, and then a vector with the length of the text.
pub(super) struct ScriptedProvider {
    space: Space,
    answers: Mutex<Vec<Result<Embeddings, ProviderError>>>,
}

impl ScriptedProvider {
    /// What the next calls answer.
    pub(super) fn answer(&self, answers: Vec<Result<Embeddings, ProviderError>>) {
        *self.answers.lock().unwrap() = answers.into_iter().rev().collect();
    }
}

impl Provider for ScriptedProvider {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, input: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        assert_eq!(input, InputType::Query);
        // Whoever probes after a failure does so at a time of its own, and takes no answer that is for somebody else.
        let is_probe = texts.iter().any(|text| text.starts_with("hello "));
        let next = if is_probe { None } else { self.answers.lock().unwrap().pop() };
        let vectors = texts.iter().map(|text| Ok(Vector::from([text.len() as f32, 1.0]))).collect();
        async move { next.unwrap_or(Ok(Embeddings { vectors, tokens: None })) }.boxed()
    }

    fn max_items(&self) -> usize {
        1
    }
}

/// Finds one document always, and remembers what it was asked.
#[derive(Default)]
pub(super) struct RecordingIndex {
    pub(super) queries: Mutex<Vec<Query>>,
    pub(super) failure: Mutex<Option<IndexError>>,
    pub(super) panics: AtomicBool,
}

impl VectorIndex for RecordingIndex {
    fn write(&self, _writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        async { Err(IndexError::Fatal("the server writes nothing".into())) }.boxed()
    }

    fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        assert!(!self.panics.load(Ordering::Relaxed), "a panic that a test ordered");
        let vector = query.with_vectors.then(|| query.vector.clone());
        self.queries.lock().unwrap().push(query);
        let failure = self.failure.lock().unwrap().clone();
        let hit = Hit {
            id: DocumentId::new("p1").unwrap(),
            score: 0.5,
            metadata: serde_json::json!({"category": "shoes"}),
            chunk: 0,
            vector,
        };
        async move { failure.map_or(Ok(vec![hit]), Err) }.boxed()
    }
}

/// All that a server stands on.
pub(super) struct Ground {
    pub(super) intake: Intake,
    pub(super) provider: Arc<ScriptedProvider>,
    pub(super) index: Arc<RecordingIndex>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) health: Arc<Health>,
    pub(super) actors: ActorBoard,
    pub(super) ending: watch::Sender<Phase>,
    shared: Data<Shared>,
    _folder: TempDir,
}

/// How a test's server differs from the usual one.
pub(super) struct Setup {
    pub(super) max_body: u64,
    pub(super) max_pending: usize,
    pub(super) wait_timeout: Duration,
    pub(super) version_field: Option<VersionUnit>,
    pub(super) http_source: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_pending: 1_000,
            wait_timeout: Duration::from_secs(30),
            version_field: Some(VersionUnit::Auto),
            http_source: true,
        }
    }
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error has a sentence").to_owned()
    }
}

impl Ground {
    pub(super) async fn new(setup: Setup) -> Self {
        let (folder, ledger) = testing::open();
        let ledger = Arc::new(ledger);
        let intake = Intake::open(ledger.clone(), "api", setup.max_pending).await.unwrap();
        let space = Space { model: "fake".into(), revision: String::new(), dimensions: 2 };
        let provider = Arc::new(ScriptedProvider { space, answers: Mutex::default() });
        let index = Arc::new(RecordingIndex::default());
        let (health, actors) = (Arc::new(Health::default()), ActorBoard::default());
        let report = Report {
            pipeline: "test".into(),
            ledger: ledger.clone(),
            metrics: Arc::new(Metrics::new()),
            earlier: Totals::default(),
            health: health.clone(),
            actors: actors.clone(),
            sources: SourceBoard::default(),
            index: index.clone(),
            index_kind: "qdrant",
            provider: provider.clone(),
            started: Instant::now(),
        };
        let metadata = ["category".to_owned(), "/product/brand".to_owned()].into();
        let status = Arc::new(ProviderStatus::new(health.clone()));
        let searcher =
            Searcher::new(provider.clone(), Some(status), index.clone(), ledger.clone(), metadata, &report.metrics);
        let context = ServerContext {
            searcher,
            report: Arc::new(report),
            intake: setup.http_source.then(|| intake.clone()),
            version_field: setup.version_field,
        };
        let settings = ServerSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            max_body: ByteSize::bytes(setup.max_body),
            wait_timeout: Span::new(setup.wait_timeout),
        };
        let (ending, phase) = watch::channel(Phase::Serving);
        let shared = Data::new(Shared::new(context, settings, phase));
        Self { ending, intake, provider, index, ledger, health, actors, shared, _folder: folder }
    }

    pub(super) async fn send(&self, request: TestRequest) -> Answer {
        let app = init_service(App::new().app_data(self.shared.clone()).configure(configure)).await;
        let response = call_service(&app, request.to_request()).await;
        let status = response.status();
        let header = |(name, value): (&actix_web::http::header::HeaderName, &actix_web::http::header::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        Answer { status, headers, body: read_body(response).await.to_vec() }
    }

    pub(super) async fn request(&self, method: Method, uri: &str) -> Answer {
        self.send(TestRequest::default().method(method).uri(uri)).await
    }

    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.request(Method::GET, uri).await
    }

    pub(super) async fn post(&self, uri: &str, body: impl Into<actix_web::web::Bytes>) -> Answer {
        self.send(TestRequest::post().uri(uri).set_payload(body)).await
    }

    pub(super) fn shared(&self) -> Data<Shared> {
        self.shared.clone()
    }

    /// The memory that is free for bodies of events.
    pub(super) fn room(&self) -> usize {
        self.shared.event_bodies.room()
    }

    /// What was accepted and is still in the journal.
    pub(super) fn journal(&self) -> Vec<String> {
        self.ledger.journal_of("api")
    }

    /// What the pipeline would do: read everything and settle it.
    pub(super) async fn settle_all(&self) {
        let mut source = HttpSource::new(&self.intake);
        source.open(Vec::new()).await.unwrap();
        let room = crate::source::Room { records: 10_000, bytes: 1 << 30 };
        if let crate::source::Read::Records(records) = source.read(room).await.unwrap() {
            let positions = [records.last().unwrap().position.clone()];
            (source.on_commit().unwrap())(&positions);
            source.committed(&positions).await.unwrap();
        }
    }

    /// A document in the index, with a chunk for every text.
    pub(super) fn hold(&self, id: &str, nanos: i128, texts: &[&str]) {
        let id = DocumentId::new(id).unwrap();
        let change = Change {
            id: id.clone(),
            operation: Operation::Upsert,
            version: Version::from_nanos(nanos),
            fields: serde_json::Map::from_iter([("title".to_owned(), Value::from("Boots"))]),
            priority: 0,
            immediate: false,
        };
        let document = Document::from(change);
        let chunks = texts.iter().map(|text| ChunkWrite {
            fingerprint: Fingerprinter::new("test").of(text),
            vector: VectorSource::Here(Vector::from([text.len() as f32, 0.0])),
        });
        let write = DocumentWrite {
            id,
            document: document.to_json(),
            record: None,
            clears: Some(Moot::by(&document)),
            metadata: (!texts.is_empty()).then(|| r#"{"category":"shoes"}"#.to_owned()),
            chunks: chunks.collect(),
        };
        self.ledger.write(&[write]).unwrap();
    }

    pub(super) fn into_context(self) -> (ServerContext, TempDir) {
        let Self { shared, _folder, .. } = self;
        let shared = Arc::into_inner(shared.into_inner()).expect("nobody else holds it");
        (shared.context, _folder)
    }
}
