//! The measurements in their order, and the table that they make.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::measure::{Case, Index, Measured, What};
use crate::process::{self, Provider};
use crate::{catalogue, run};

/// How many calls at once, as by default.
const CONCURRENCY: usize = 16;
/// What is measured beside something else is the median of so many rounds: a shared machine has good and bad moments.
const ROUNDS: usize = 5;

/// Measures and prints. `names`: the sections to measure, by how they begin; all when empty.
pub fn print(quick: bool, names: &[String]) {
    let scale = if quick { 5 } else { 1 };
    println!("load of the machine before: {}", process::load());
    type Section = fn(usize);
    let sections: [(&str, Section); 6] = [
        ("loop", bare_loop),
        ("cpu", cpu),
        ("again", again),
        ("batches", batches),
        ("memory", memory),
        ("builtin", builtin),
    ];
    for (name, section) in sections {
        if names.is_empty() || names.iter().any(|asked| name.starts_with(asked.as_str())) {
            println!("\n{name}");
            section(scale);
        }
    }
    println!("\nload of the machine after: {}", process::load());
}

fn case(documents: usize, provider: Option<&Provider>) -> Case {
    Case {
        what: What::Pipeline,
        documents,
        batch: 100,
        concurrency: CONCURRENCY,
        provider: provider.map(|provider| provider.url.clone()),
        index: Index::Discard,
        persist: false,
    }
}

/// A folder with a catalogue.
struct Folder(TempDir);

impl Folder {
    fn new(documents: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the bench");
        catalogue::write(&folder.path().join(run::CATALOGUE), documents);
        Self(folder)
    }

    fn measure(&self, case: &Case) -> Measured {
        process::measure(case, self.0.path())
    }

    /// From nothing: what was measured before is forgotten.
    fn measure_anew(&self, case: &Case) -> Measured {
        let data: PathBuf = self.0.path().join("data");
        if data.exists() {
            std::fs::remove_dir_all(data).expect("the state of the bench can be removed");
        }
        self.measure(case)
    }
}

fn row(name: &str, value: String) {
    println!("  {name:<44} {value}");
}

fn bare_loop(scale: usize) {
    let provider = Provider::start(0);
    let documents = 100_000 / scale;
    let folder = Folder::new(documents);
    let pipeline = case(documents, Some(&provider));
    let bare = Case { what: What::Bare, ..pipeline.clone() };
    let mut pairs: Vec<(f64, Measured, Measured)> = (0..ROUNDS)
        .map(|_| {
            let (bare, pipeline) = (folder.measure(&bare), folder.measure_anew(&pipeline));
            (pipeline.rate() / bare.rate(), bare, pipeline)
        })
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, bare, pipeline) = &pairs[ROUNDS / 2];
    for (name, measured) in [("the bare loop", bare), ("the pipeline, nothing kept", pipeline)] {
        row(name, format!("{:.0} documents/s, {:.3} CPU s per 10,000", measured.rate(), measured.cpu_per_10_000()));
    }
    row(
        "the pipeline's part of the loop's speed",
        format!("{ratio:.2} (at least 0.7; {:.2} to {:.2})", pairs[0].0, pairs[ROUNDS - 1].0),
    );
}

fn cpu(scale: usize) {
    let provider = Provider::start(0);
    let documents = 50_000 / scale;
    let folder = Folder::new(documents);
    let persisted = Case { persist: true, ..case(documents, Some(&provider)) };
    let mut rounds: Vec<Measured> = (0..ROUNDS).map(|_| folder.measure_anew(&persisted)).collect();
    rounds.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    let measured = &rounds[ROUNDS / 2];
    row(
        "vectors kept",
        format!(
            "{:.3} CPU s per 10,000 (at most 0.25; {:.3} to {:.3}), {:.0} documents/s",
            measured.cpu_per_10_000(),
            rounds[0].cpu_per_10_000(),
            rounds[ROUNDS - 1].cpu_per_10_000(),
            measured.rate()
        ),
    );
    let alone = folder.measure_anew(&Case { what: What::Stages, ..persisted.clone() });
    let per_10_000 = |seconds: f64| seconds * 1e4 / documents as f64;
    let mut sum = 0.0;
    for (name, seconds) in &alone.stages {
        let known = name.ends_with("known documents");
        if !known {
            sum += seconds;
        }
        let share =
            if known { "(in a second run)".to_owned() } else { format!("{:.0} %", 100.0 * seconds / measured.cpu) };
        row(&format!("  {name}"), format!("{:.3} {share}", per_10_000(*seconds)));
    }
    let rest = measured.cpu - sum;
    row("  all else", format!("{:.3} {:.0} %", per_10_000(rest), 100.0 * rest / measured.cpu));
    row(
        "the thread of the actors",
        format!(
            "{:.3}, busy {:.0} % of the time",
            per_10_000(measured.actors),
            100.0 * measured.actors / measured.elapsed
        ),
    );
}

fn again(scale: usize) {
    let documents = 300_000 / scale;
    let folder = Folder::new(documents);
    let first = Case { persist: true, ..case(documents, None) };
    folder.measure_anew(&first);
    let measured = folder.measure(&Case { what: What::Again, ..first });
    row(
        "a second run, nothing changed",
        format!(
            "{:.0} documents/s (at least 60,000), {:.3} CPU s per 10,000",
            measured.rate(),
            measured.cpu_per_10_000()
        ),
    );
    row("the thread of the actors", format!("busy {:.0} % of the time", 100.0 * measured.actors / measured.elapsed));
}

fn batches(scale: usize) {
    for (batch, delay_ms) in [(50, 23), (100, 31), (200, 45)] {
        let provider = Provider::start(delay_ms);
        let documents = 80_000 / scale;
        let measured = Folder::new(documents).measure(&Case { batch, ..case(documents, Some(&provider)) });
        let [mean, p95, p99] = measured.latency.map(|seconds| seconds * 1e3);
        let possible = (batch * CONCURRENCY) as f64 * 1e3 / delay_ms as f64;
        row(
            &format!("batches of {batch}, provider takes {delay_ms} ms"),
            format!(
                "{:.0} documents/s of {possible:.0} possible; calls {mean:.0} ms, p95 {p95:.0}, p99 {p99:.0}",
                measured.rate()
            ),
        );
    }
}

fn memory(scale: usize) {
    let provider = Provider::start(0);
    for (name, provider) in [("1,536 numbers", Some(&provider)), ("built-in model", None)] {
        for documents in [100_000 / scale, 1_000_000 / scale] {
            let measured = Folder::new(documents).measure(&Case { persist: true, ..case(documents, provider) });
            row(
                &format!("{documents} documents, {name}"),
                format!("{:.0} MB at most (under 200), {:.0} documents/s", measured.peak_megabytes, measured.rate()),
            );
        }
    }
}

fn builtin(scale: usize) {
    let documents = 100_000 / scale;
    let measured =
        Folder::new(documents).measure(&Case { index: Index::Embedded, persist: true, ..case(documents, None) });
    row("built-in model, embedded index", format!("{:.0} documents/s searchable (at least 4,000)", measured.rate()));
    if let Some((elapsed, cpu)) = measured.graph {
        let (rate, cpu) = (documents as f64 / elapsed, cpu * 1e4 / documents as f64);
        row("  all in the graph", format!("{rate:.0} documents/s, {cpu:.3} CPU s per 10,000"));
    }
}
