//! How fast points go into a collection of another system, call after call and several at once.
//!
//! `cargo bench --all-features --bench indexes -- milvus http://127.0.0.1:19530`, and likewise `qdrant`. `benches/indexes/<system>.py` does the
//! same upserts with the system's own Python client, to compare with. Makes the collections `vectide_bench_<dimensions>`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;
use vectide::document::DocumentId;
use vectide::index::collection::{Collection, Point};
use vectide::index::milvus::Milvus;
use vectide::index::qdrant::Qdrant;
use vectide::settings::milvus::MilvusSettings;
use vectide::settings::qdrant::QdrantSettings;

/// Dimensions, points in a call, points in all.
const ROWS: &[(usize, usize, usize)] =
    &[(128, 100, 10_000), (128, 1_000, 10_000), (1_536, 100, 4_000), (1_536, 1_000, 4_000)];
const AT_ONCE: usize = 4;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [system, url] = arguments.as_slice() else {
        println!("tell the system and its address: milvus http://127.0.0.1:19530");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "| dimensions | points a call | calls at once | points a second | CPU here, ms per 1,000 points |\n|---|---|---|---|---|"
    );
    for (dimensions, batch, count) in ROWS {
        let collection = collection(system, url, *dimensions);
        runtime.block_on(collection.establish()).unwrap();
        let points: Vec<_> = (0..*count).map(|number| point(number, *dimensions)).collect();
        for at_once in [1, AT_ONCE] {
            let (started, cpu) = (Instant::now(), cpu());
            runtime.block_on(async {
                let calls: Vec<_> = points.chunks(*batch).collect();
                for calls in calls.chunks(at_once) {
                    futures_util::future::try_join_all(calls.iter().map(|call| collection.upsert(call))).await.unwrap();
                }
            });
            let (rate, cpu) = (*count as f64 / started.elapsed().as_secs_f64(), self::cpu() - cpu);
            println!(
                "| {dimensions} | {batch} | {at_once} | {rate:.0} | {:.1} |",
                cpu.as_secs_f64() * 1e6 / *count as f64
            );
        }
    }
}

fn collection(system: &str, url: &str, dimensions: usize) -> Box<dyn Collection> {
    let (url, collection) = (url.to_owned(), Some(format!("vectide_bench_{dimensions}")));
    match system {
        "milvus" => {
            let settings = MilvusSettings { url, collection, ..MilvusSettings::default() };
            Box::new(Milvus::new(&settings, "bench", dimensions).unwrap())
        }
        "qdrant" => {
            let settings = QdrantSettings { url, collection, ..QdrantSettings::default() };
            Box::new(Qdrant::new(&settings, "bench", dimensions).unwrap())
        }
        other => panic!("{other} is none of milvus, qdrant"),
    }
}

fn point(number: usize, dimensions: usize) -> Point {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let document = format!("product-{number}");
    Point {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, document.as_bytes()),
        document: DocumentId::new(&document).unwrap(),
        chunk: 0,
        metadata: json!({ "category": "shoes", "price": 12.5, "stock": number }).to_string().into(),
        vector: (0..dimensions).map(|_| random.f32() * 2.0 - 1.0).collect(),
    }
}

/// What this process has used of the processors.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |field: usize| stat.rsplit(')').next()?.split_whitespace().nth(field)?.parse::<u64>().ok();
    Duration::from_millis(10 * (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()))
}
