//! The whole pipeline, measured: speed beside a bare loop of requests, processor time by stage, batch sizes and latencies, memory.
//!
//! `cargo bench --bench pipeline`, with `-- --quick` for smaller numbers, with names to measure only what begins with one of them:
//! `cargo bench --bench pipeline -- --quick loop stages`.
//!
//! Each measurement is a process of its own, so that its processor time and its peak memory are its own. The provider is one more
//! process, which answers with vectors made beforehand.

mod bare;
mod catalogue;
mod measure;
mod process;
mod provider;
mod run;
mod stages;
mod table;

use std::path::Path;

use measure::{Case, Measured};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [process::PROVIDER, delay] => provider::serve(delay.parse().expect("milliseconds")),
        [process::CASE, case, folder] => {
            let case: Case = serde_json::from_str(case).expect("a case as the parent wrote it");
            let measured: Measured = measure::here(&case, Path::new(folder));
            println!("{}", serde_json::to_string(&measured).expect("numbers always serialise"));
        }
        _ => {
            let quick = arguments.iter().any(|argument| argument == "--quick");
            let names: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
            table::print(quick, &names);
        }
    }
}
