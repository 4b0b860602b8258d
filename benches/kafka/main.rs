//! How fast records of a topic pass through the pipeline when none of them changed, beside a bare consumer of the same topic: what reading,
//! looking up in the ledger and committing cost.
//!
//! `cargo bench --bench kafka`, after `tests/servers/kafka.sh install`, which also serves the broker. The broker is on this machine,
//! and takes its part of the processors.

mod bare;
mod broker;
#[path = "../pipeline/catalogue.rs"]
#[expect(dead_code, reason = "the other bench writes a file")]
mod catalogue;
mod cpu;
mod pipeline;
#[path = "../../tests/servers/ports.rs"]
mod ports;
#[path = "../indexes/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use broker::Broker;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: usize = 300_000;
const PARTITIONS: i32 = 6;
/// Odd, so that there is one in the middle.
const PAIRS: usize = 5;

/// The first argument of a process that reads the topic. Each is one of its own, so that its processor time is its own.
const BARE: &str = "--bare";
const PIPELINE: &str = "--pipeline";

/// What came of reading the topic.
#[derive(Serialize, Deserialize)]
struct Measured {
    records: u64,
    /// Seconds that they took.
    elapsed: f64,
    /// Seconds of processor time, by thread.
    cpu: BTreeMap<String, f64>,
    /// Texts that were embedded.
    texts: u64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [BARE, address] => bare::read(address),
        [PIPELINE, address, folder] => pipeline::read(address, Path::new(folder)),
        _ => return compare(),
    };
    println!("{}", serde_json::to_string(&measured).expect("numbers always serialise"));
}

fn compare() {
    let broker = Broker::start();
    broker.fill(PARTITIONS, RECORDS);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (address, state) = (broker.address(), folder.path().display().to_string());
    let pipeline = || measure(&broker, &[PIPELINE, &address, &state]);
    let (first, _) = pipeline();
    println!("{RECORDS} records in {PARTITIONS} partitions; {:.0}/s the first time, embedded by hashing", first.rate());
    let pairs: Vec<_> = (0..PAIRS).map(|_| (measure(&broker, &[BARE, &address]), pipeline())).collect();
    assert!(pairs.iter().all(|(_, (pipeline, _))| pipeline.texts == 0), "no text changed");
    let ratio = |pair: usize| pairs[pair].1.0.rate() / pairs[pair].0.0.rate();
    let mut order: Vec<usize> = (0..PAIRS).collect();
    order.sort_by(|a, b| ratio(*a).total_cmp(&ratio(*b)));
    let (bare, pipeline) = &pairs[order[PAIRS / 2]];
    for (name, (measured, broker)) in [("a bare consumer", bare), ("the pipeline, no record changed", pipeline)] {
        println!("{name}: {:.0} records/s; processor time for 100,000 of them:", measured.rate());
        let threads = measured.cpu.iter().map(|(name, seconds)| (name.as_str(), *seconds));
        for (name, seconds) in threads.chain([("(the broker)", *broker)]) {
            println!("  {name:<20} {:.3} s", seconds * 100_000.0 / RECORDS as f64);
        }
    }
    println!(
        "the pipeline's part of the bare consumer's speed: {:.2} (at least 0.3; {:.2} to {:.2})",
        ratio(order[PAIRS / 2]),
        ratio(order[0]),
        ratio(order[PAIRS - 1])
    );
}

/// Measures in a process of its own. Beside it, the seconds of processor time that the broker took meanwhile.
fn measure(broker: &Broker, arguments: &[&str]) -> (Measured, f64) {
    let before = broker.cpu();
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?} failed");
    (serde_json::from_slice(&output.stdout).expect("it tells its numbers"), broker.cpu() - before)
}
