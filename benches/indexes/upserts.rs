//! Rounds of upserts: by Vectide, and by the system's own Python client.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;
use vectide::document::DocumentId;
use vectide::index::external::collection::{Collection, Point};
use vectide::settings;

use crate::System;

/// What a configuration must have, though nothing of it is used here.
const SECTIONS: &str = "
document: { id: id, text: '{{ title }}' }
sources: { none: { type: stdin } }
embedding: { provider: builtin }
";

/// A kind of collection, and how it is written to.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub dimensions: usize,
    /// Points in a call; calls go one after the other.
    pub batch: usize,
    /// Points in a round, none of which was written before.
    pub points: usize,
}

/// Seconds of a round.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub elapsed: f64,
    /// Of processor time of the client.
    pub cpu: f64,
}

/// Vectide's own connector.
pub struct Vectide<'a> {
    runtime: &'a Runtime,
    collection: Arc<dyn Collection>,
}

impl<'a> Vectide<'a> {
    /// With a collection that is empty.
    pub fn new(runtime: &'a Runtime, system: &System, row: Row) -> Self {
        let yaml = system.configuration(&format!("vectide_{}_{}", row.dimensions, row.batch), SECTIONS);
        let settings = settings::load_text(Path::new("bench.yaml"), &yaml, &Default::default(), &[])
            .expect("the settings of the bench are valid");
        let collection = vectide::index::collection(&settings, row.dimensions).expect("the settings are valid");
        runtime.block_on(collection.establish()).expect("the collection can be made");
        Self { runtime, collection }
    }

    pub fn round(&self, row: Row, number: usize) -> Took {
        let first = number * row.points;
        let points: Vec<_> = (first..first + row.points).map(|number| point(number, row.dimensions)).collect();
        let (started, cpu) = (Instant::now(), cpu());
        for call in points.chunks(row.batch) {
            self.runtime.block_on(self.collection.upsert(call)).expect("the points are taken");
        }
        Took { elapsed: started.elapsed().as_secs_f64(), cpu: (self::cpu() - cpu).as_secs_f64() }
    }
}

/// The script of the system beside this file.
pub struct Python {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    pub fn start(system: &System) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/indexes/clients.sh");
        let mut process = Command::new(script)
            .args(["run", system.name, &system.server.told])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let questions = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, questions, answers }
    }

    pub fn round(&mut self, row: Row, number: usize) -> Took {
        let Row { dimensions, batch, points } = row;
        writeln!(self.questions, "{dimensions} {batch} {} {points}", number * points).expect("Python reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("Python answers");
        let mut seconds = answer.split_whitespace().map(|seconds| seconds.parse().expect("a number"));
        let mut next = || seconds.next().expect("Python did what it was asked");
        Took { elapsed: next(), cpu: next() }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn point(number: usize, dimensions: usize) -> Point {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let document = format!("product-{number}");
    Point {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, document.as_bytes()),
        document: DocumentId::new(&document).expect("a short id"),
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
