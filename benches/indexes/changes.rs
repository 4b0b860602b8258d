//! Changes of metadata alone, through the whole program: from a file to the collection, with the ledger on the disk.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::System;

/// Documents, each of one chunk.
const DOCUMENTS: usize = 2_000;
const DIMENSIONS: usize = 1_536;

/// Changes a second, from the start of the process to its end.
pub fn rate(system: &System) -> f64 {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = |price: usize| {
        let records = format!("{price}.jsonl");
        fs::write(folder.path().join(&records), self::records(price)).expect("the records can be written");
        fs::write(folder.path().join("config.yaml"), system.configuration("changes", &sections(&records)))
            .expect("the configuration can be written");
        work(folder.path())
    };
    let (_, summary) = run(10);
    assert!(summary.contains("2,000 indexed"), "{summary}");
    let (seconds, summary) = run(11);
    assert!(summary.contains("2,000 indexed") && summary.contains("Embedding: 0 texts sent"), "{summary}");
    DOCUMENTS as f64 / seconds
}

fn records(price: usize) -> String {
    let mut records = String::new();
    for number in 0..DOCUMENTS {
        let what = format!(r#""title":"product {number}","category":"shoes","stock":{number}"#);
        writeln!(records, r#"{{"id":"P{number}",{what},"price":{price},"version":{price}}}"#)
            .expect("a String takes any text");
    }
    records
}

fn sections(records: &str) -> String {
    format!(
        "
document:
  id: id
  version: {{ field: version, unit: counter }}
  text: '{{{{ title }}}}'
  metadata: [category, price, stock]
sources: {{ catalogue: {{ type: file, path: {records} }} }}
embedding: {{ provider: hashed, dimensions: {DIMENSIONS} }}
state: {{ path: data }}
"
    )
}

/// Seconds, and what the program says at its end.
fn work(folder: &Path) -> (f64, String) {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_vectide"))
        .args(["run", "--until-idle"])
        .current_dir(folder)
        .output()
        .expect("the program starts");
    let seconds = started.elapsed().as_secs_f64();
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{summary}");
    (seconds, summary)
}
