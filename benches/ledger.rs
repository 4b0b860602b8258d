//! What the ledger costs a document: writing new ones with their vectors, and looking up known ones.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use vectide::document::fingerprint::Fingerprinter;
use vectide::document::{DocumentId, Version};
use vectide::ledger::{ChunkWrite, DocumentWrite, Ledger, LedgerOptions, Moot, Points, VectorSource};

const DIMENSIONS: usize = 1536;

fn writes(from: usize, count: usize) -> Vec<DocumentWrite> {
    let fingerprints = Fingerprinter::new("bench");
    let document = r#"{"whole":1732351234000000000,"fields":[[1732351234000000000,{"category":"shoes","description":"A waterproof boot for hiking in rain and mud","price":49.99,"title":"Boot"}]]}"#;
    let write = |number: usize| DocumentWrite {
        id: DocumentId::new(&format!("P{number:08}")).expect("a short id"),
        document: document.to_owned(),
        record: None,
        clears: Some(Moot::up_to(Version::from_nanos(1_732_351_234_000_000_000))),
        metadata: Some(r#"{"category":"shoes","price":49.99}"#.to_owned()),
        chunks: vec![ChunkWrite {
            fingerprint: fingerprints.of(&number.to_string()),
            vector: VectorSource::Here(Arc::from(vec![number as f32; DIMENSIONS])),
        }],
    };
    (from..from + count).map(write).collect()
}

fn ledger(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    for batch in [100, 1000] {
        let folder = tempfile::tempdir().expect("a folder for the bench");
        let options = LedgerOptions { pipeline: "bench".to_owned(), persist_vectors: true, points: Points::Here };
        let ledger = Ledger::open(folder.path(), options).expect("a new ledger");
        group.throughput(Throughput::Elements(batch as u64));
        let mut next = batch;
        ledger.write(&writes(0, batch)).expect("the first documents");
        group.bench_function(BenchmarkId::new("new", batch), |bencher| {
            let fresh = || {
                next += batch;
                writes(next, batch)
            };
            bencher.iter_batched(fresh, |writes| ledger.write(&writes).expect("a write"), BatchSize::PerIteration);
        });
        let ids: Vec<DocumentId> = writes(0, batch).into_iter().map(|write| write.id).collect();
        group.bench_function(BenchmarkId::new("known", batch), |bencher| {
            bencher.iter(|| black_box(ledger.documents(&ids).expect("a lookup")));
        });
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
