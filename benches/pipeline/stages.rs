//! What each stage costs by itself: the same work on the same documents, without actors between them.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use vectide::document::fingerprint::Fingerprinter;
use vectide::document::mapping::Mapped;
use vectide::document::{Change, Document, Fingerprint};
use vectide::embed::provider::InputType;
use vectide::ledger::{ChunkWrite, DocumentWrite, Moot, VectorSource};
use vectide::pipeline::Resources;
use vectide::settings::SourceSettings;
use vectide::source::file::FileSource;
use vectide::source::{Read, Record, Room, Source};

use crate::measure::{Case, Measured};
use crate::process::{thread_seconds, threads};
use crate::run;

/// What the ingestor reads at once.
const ROOM: Room = Room { records: 1024, bytes: 1 << 20 };
/// Documents that the index writer finds waiting when it writes.
const WRITE: usize = 400;

/// A document as planning leaves it.
struct Planned {
    change: Change,
    document: Document,
    json: String,
    metadata: String,
    text: Arc<str>,
    fingerprint: Fingerprint,
}

pub fn run(case: &Case, folder: &Path) -> Measured {
    actix::System::new().block_on(async {
        let settings = run::settings(case, folder);
        let SourceSettings::File(file) = settings.sources["catalogue"].clone() else {
            panic!("the catalogue is a file")
        };
        let resources = Resources::open(settings).await.expect("the resources of the bench");
        let r = &resources;
        let mut stages = Stages::default();

        let records = stages.time("read the file", read(FileSource::new(&file))).await;
        assert_eq!(records.len(), case.documents);
        let mapper = r.mappers.of("catalogue");
        let map = |record: &Record| match mapper.map(&record.payload, record.version) {
            Ok(Mapped::Change(change)) => change,
            other => panic!("the record is a change: {other:?}"),
        };
        let changes: Vec<Change> = stages.time("decode and map", async { records.iter().map(map).collect() }).await;
        let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
        let look_up = async { ids.chunks(1000).for_each(|ids| drop(black_box(r.ledger.documents(ids)))) };
        stages.time("look up new documents", look_up).await;

        let fingerprints = Fingerprinter::new(&r.provider.space().key());
        let plan = |change: Change| {
            let document = Document::from(change.clone());
            let text = r.template.render(&document).expect("it renders").expect("nothing is missing");
            let text = Arc::from(r.chunker.cut(&text)[0]);
            let (json, metadata, fingerprint) =
                (document.to_json(), r.template.metadata(&document), fingerprints.of(&text));
            Planned { change, document, json, metadata, text, fingerprint }
        };
        let planned: Vec<Planned> =
            stages.time("merge, render, cut, name", async { changes.into_iter().map(plan).collect() }).await;
        let names: Vec<_> = planned.iter().map(|planned| planned.fingerprint).collect();
        let look_up = async { names.chunks(1000).for_each(|names| drop(black_box(r.ledger.vectors(names)))) };
        stages.time("look up vectors", look_up).await;

        let vectors = stages.time("call the provider", embed(r, case, &planned)).await;
        let mut writes = Vec::new();
        for (planned, vector) in planned.iter().zip(vectors) {
            writes.push(DocumentWrite {
                id: planned.change.id.clone(),
                document: planned.json.clone(),
                record: None,
                clears: Some(Moot::up_to(planned.change.version)),
                metadata: Some(planned.metadata.clone()),
                chunks: vec![ChunkWrite { fingerprint: planned.fingerprint, vector: VectorSource::Here(vector) }],
            });
        }
        let mut groups: Vec<Arc<[DocumentWrite]>> = Vec::new();
        while !writes.is_empty() {
            groups.push(writes.drain(..WRITE.min(writes.len())).collect());
        }
        let write = async {
            for group in groups {
                r.index.write(group).await.expect("a ledger that can be written");
            }
            // Where the graph is, it grows meanwhile.
            while r.index.graph_lag() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        stages.time("write ledger and index", write).await;

        let join = async {
            for (ids, planned) in ids.chunks(1000).zip(planned.chunks(1000)) {
                let held = r.ledger.documents(ids).expect("a ledger that can be read");
                for (held, planned) in held.into_iter().zip(planned) {
                    let mut document = held.expect("it was written").document;
                    assert!(!document.join(planned.document.clone()));
                }
            }
        };
        stages.time("look up and join known documents", join).await;
        Measured { documents: case.documents, stages: stages.0, ..Measured::default() }
    })
}

/// Names and seconds of processor time.
#[derive(Default)]
struct Stages(Vec<(String, f64)>);

impl Stages {
    async fn time<T>(&mut self, name: &str, work: impl Future<Output = T>) -> T {
        let before = thread_seconds(&threads(""));
        let done = work.await;
        self.0.push((name.to_owned(), thread_seconds(&threads("")) - before));
        done
    }
}

async fn read(mut source: FileSource) -> Vec<Record> {
    source.open(Vec::new()).await.expect("the catalogue can be opened");
    let mut records = Vec::new();
    while let Read::Records(more) = source.read(ROOM).await.expect("the catalogue can be read") {
        records.extend(more);
    }
    records
}

async fn embed(resources: &Resources, case: &Case, planned: &[Planned]) -> Vec<vectide::document::Vector> {
    let texts = planned.chunks(case.batch).map(|batch| batch.iter().map(|planned| planned.text.clone()).collect());
    let calls = texts.map(|texts| resources.provider.embed(texts, InputType::Document));
    let answers = stream::iter(calls).buffered(case.concurrency).collect::<Vec<_>>().await;
    let vectors = answers.into_iter().flat_map(|answer| answer.expect("the provider answers").vectors);
    vectors.map(|vector| vector.expect("every text has a vector")).collect()
}
