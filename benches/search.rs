//! The embedded index at 100,000 vectors of 128 dimensions: how fast it builds, how well and how fast it finds.
//!
//! `cargo bench --bench search`, or with other sizes: `cargo bench --bench search -- 20000 1536`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use vectide::document::fingerprint::Fingerprinter;
use vectide::document::{DocumentId, Vector, Version};
use vectide::index::distance::Scorer;
use vectide::index::{EmbeddedIndex, Filter, Query, VectorIndex};
use vectide::ledger::{ChunkWrite, DocumentWrite, Ledger, LedgerOptions, Moot, Points, VectorSource};
use vectide::settings::index::Metric;

const CENTRES: usize = 500;
/// The length of the noise around a centre of length 1: wide enough that clusters overlap, which makes neighbours hard
/// to tell.
const NOISE: f32 = 1.5;
const QUERIES: usize = 500;
const K: usize = 10;
const BATCH: usize = 100;

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (count, dimensions) = (sizes.next().unwrap_or(100_000), sizes.next().unwrap_or(128));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(bench(count, dimensions));
}

async fn bench(count: usize, dimensions: usize) {
    let mut random = Rng::with_seed(7);
    let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| unit(&mut random, dimensions)).collect();
    let mut next = || -> Vector {
        let noise = unit(&mut random, dimensions);
        let centre = &centres[random.usize(..CENTRES)];
        centre.iter().zip(noise).map(|(centre, noise)| centre + NOISE * noise).collect()
    };
    let vectors: Vec<Vector> = (0..count).map(|_| next()).collect();
    let queries: Vec<Vector> = (0..QUERIES).map(|_| next()).collect();

    let folder = tempfile::tempdir().unwrap();
    let before = resident();
    let index = open(folder.path(), dimensions);
    row("vectors", format!("{count} of {dimensions} dimensions"));

    let start = Instant::now();
    for (at, batch) in vectors.chunks(BATCH).enumerate() {
        let document = |(place, vector): (usize, &Vector)| write_of(at * BATCH + place, vector);
        index.write(batch.iter().enumerate().map(document).collect()).await.unwrap();
    }
    let written = start.elapsed();
    while index.graph_lag() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    row("written and searchable", rate(count, written));
    row("written and in the graph", rate(count, start.elapsed()));
    row("resident memory", format!("{} MB more than before", resident() - before));

    let mut exact = Vec::new();
    let start = Instant::now();
    for query in &queries {
        exact.push(nearest(&vectors, query));
    }
    row("brute force in memory", format!("{:.2} ms a query", start.elapsed().as_secs_f64() * 1e3 / QUERIES as f64));

    ask("search", &index, &queries, None, Some(&exact)).await;
    for (name, filter) in [
        ("filter that 1 in 2 passes", json!({"half": 1})),
        ("filter that 1 in 10 passes", json!({"tenth": 3})),
        ("filter that 1 in 100 passes", json!({"hundredth": 3})),
        ("filter that 1 in 10,000 passes", json!({"number": {"in": every(count, 10_000)}})),
    ] {
        ask(name, &index, &queries[..50], Some(Filter::from_json(&filter).unwrap()), None).await;
    }

    let more: Vec<DocumentWrite> = (count..count + count / 5).map(|number| write_of(number, &next())).collect();
    let mut more = more.into_iter();
    let write = async {
        let start = Instant::now();
        while more.len() > 0 {
            index.write(more.by_ref().take(BATCH).collect()).await.unwrap();
        }
        start.elapsed()
    };
    let (_, written) =
        futures_util::future::join(ask("search while writing", &index, &queries, None, None), write).await;
    row("written while searching", rate(count / 5, written));

    let start = Instant::now();
    index.close().await.unwrap();
    let bytes = fs::metadata(folder.path().join("graph.usearch")).unwrap().len();
    row("close: catch up and save", format!("{} ms, {} MB", start.elapsed().as_millis(), bytes / 1_000_000));
    drop(index);
    // The ledger's lock goes with the last thread of the index.
    let ledger = loop {
        match Ledger::open(folder.path(), options()) {
            Ok(ledger) => break Arc::new(ledger),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let start = Instant::now();
    let index = EmbeddedIndex::open(ledger, folder.path(), Metric::Cosine, dimensions).unwrap();
    row("open to write", format!("{} ms", start.elapsed().as_millis()));
    drop(index);
    let start = Instant::now();
    let ledger = Arc::new(Ledger::open_to_read(folder.path()).unwrap());
    let reader = EmbeddedIndex::open(ledger, folder.path(), Metric::Cosine, dimensions).unwrap();
    row("open to read", format!("{} ms", start.elapsed().as_millis()));
    // Of more vectors than `exact` knows.
    ask("search by a reader", &reader, &queries, None, None).await;
}

async fn ask(
    name: &str,
    index: &EmbeddedIndex,
    queries: &[Vector],
    filter: Option<Filter>,
    exact: Option<&[HashSet<usize>]>,
) {
    let mut times = Vec::new();
    let (mut found, mut right) = (0, 0);
    for (at, vector) in queries.iter().enumerate() {
        let query =
            Query { vector: Arc::clone(vector), k: K, filter: filter.clone(), except: None, with_vectors: false };
        let start = Instant::now();
        let hits = index.search(query).await.unwrap();
        times.push(start.elapsed());
        found += hits.len();
        if let Some(exact) = exact {
            right += hits.iter().filter(|hit| exact[at].contains(&hit.id.as_str().parse().unwrap())).count();
        }
    }
    times.sort_unstable();
    let part = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    let recall = exact.map_or(String::new(), |_| format!(", recall@{K} {:.4}", right as f64 / found as f64));
    let hits = found as f64 / queries.len() as f64;
    row(name, format!("p50 {:.2} ms, p99 {:.2} ms, {hits:.1} hits{recall}", part(50), part(99)));
}

fn options() -> LedgerOptions {
    LedgerOptions { pipeline: "bench".to_owned(), persist_vectors: true, points: Points::Here }
}

fn open(folder: &Path, dimensions: usize) -> EmbeddedIndex {
    let ledger = Arc::new(Ledger::open(folder, options()).unwrap());
    EmbeddedIndex::open(ledger, folder, Metric::Cosine, dimensions).unwrap()
}

fn write_of(number: usize, vector: &Vector) -> DocumentWrite {
    let metadata = json!({
        "category": format!("category {}", number % 30), "price": number % 1_000, "number": number,
        "half": number % 2, "tenth": number % 10, "hundredth": number % 100,
    });
    let fingerprint = Fingerprinter::new("bench").of(&number.to_string());
    DocumentWrite {
        id: DocumentId::new(&number.to_string()).unwrap(),
        document: r#"{"fields":[]}"#.to_owned(),
        record: None,
        clears: Some(Moot::up_to(Version::default())),
        metadata: Some(metadata.to_string()),
        chunks: vec![ChunkWrite { fingerprint, vector: VectorSource::Here(Arc::clone(vector)) }],
    }
}

fn every(count: usize, step: usize) -> Vec<usize> {
    (0..count).step_by(step).collect()
}

fn nearest(vectors: &[Vector], query: &[f32]) -> HashSet<usize> {
    let scorer = Scorer::new(Metric::Cosine, query);
    let mut scores: Vec<(f32, usize)> = vectors.iter().map(|vector| scorer.score(vector)).zip(0..).collect();
    scores.select_nth_unstable_by(K, |a, b| b.0.total_cmp(&a.0));
    scores[..K].iter().map(|(_, number)| *number).collect()
}

/// A direction at random: sums of uniform numbers are near enough to the bell curve.
fn unit(random: &mut Rng, dimensions: usize) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..dimensions).map(|_| (0..6).map(|_| random.f32() - 0.5).sum()).collect();
    vectide::document::vector::normalise(&mut vector);
    vector
}

/// Megabytes of this process in memory; 0 where the system does not tell.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok()).map_or(0, |kib| kib / 1024)
}

fn rate(count: usize, time: Duration) -> String {
    format!("{:.0} a second, {:.1} s in all", count as f64 / time.as_secs_f64(), time.as_secs_f64())
}

fn row(name: &str, value: String) {
    println!("{name:<34} {value}");
}
