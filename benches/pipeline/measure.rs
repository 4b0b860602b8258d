//! What is measured, and the numbers that come of it.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{bare, process, run, stages};

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub what: What,
    pub documents: usize,
    pub batch: usize,
    pub concurrency: usize,
    /// The address of a provider; the built-in model without one.
    pub provider: Option<String>,
    pub index: Index,
    /// `dedup.persist`.
    pub persist: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The pipeline.
    Pipeline,
    /// The same once more: the positions are forgotten, and nothing changed.
    Again,
    /// The loop that only posts and decodes.
    Bare,
    /// Each stage alone.
    Stages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Index {
    Discard,
    Embedded,
}

/// What came of it. Times in seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    pub documents: usize,
    pub elapsed: f64,
    pub cpu: f64,
    /// Of the thread with the actors.
    pub actors: f64,
    /// The same until the search graph has all.
    pub graph: Option<(f64, f64)>,
    /// Of the calls: mean, 95th and 99th of a hundred.
    pub latency: [f64; 3],
    pub peak_megabytes: f64,
    /// Processor time of each stage alone.
    pub stages: Vec<(String, f64)>,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.documents as f64 / self.elapsed
    }

    /// Processor time for 10,000 documents.
    pub fn cpu_per_10_000(&self) -> f64 {
        self.cpu * 1e4 / self.documents as f64
    }
}

/// Measures from its start on.
#[derive(Clone, Copy)]
pub struct Meter {
    since: Instant,
    cpu: f64,
}

impl Meter {
    pub fn start() -> Self {
        Self { since: Instant::now(), cpu: process::cpu_seconds() }
    }

    /// Seconds of time and of processor time since the start.
    pub fn read(&self) -> (f64, f64) {
        (self.since.elapsed().as_secs_f64(), process::cpu_seconds() - self.cpu)
    }

    pub fn stop(&self, documents: usize) -> Measured {
        let (elapsed, cpu) = self.read();
        Measured { documents, elapsed, cpu, peak_megabytes: process::peak_megabytes(), ..Measured::default() }
    }
}

/// Measures in this process.
pub fn here(case: &Case, folder: &Path) -> Measured {
    match (case.what, &case.provider) {
        (What::Bare, Some(url)) => bare::run(case, url),
        (What::Bare, None) => panic!("a loop of requests needs a provider"),
        (What::Stages, _) => stages::run(case, folder),
        (What::Pipeline | What::Again, _) => run::run(case, folder),
    }
}
