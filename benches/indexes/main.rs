//! How fast an index in another system is written to: points beside the system's own Python client that does the same, and changes of
//! metadata alone through the whole pipeline.
//!
//! `benches/indexes/clients.sh install`, once; then `cargo bench --bench indexes -- milvus`, and likewise `qdrant`, `pgvector` and
//! `weaviate`. The server is started by its script in `tests/servers`.
//!
//! Both clients write in turns, in rounds, each to a collection of its own in the same server, so that what the server does meanwhile and
//! what else the machine does falls on both alike. A call is answered when what it wrote is in the collection, for both.

mod changes;
#[path = "../../tests/servers/ports.rs"]
mod ports;
mod server;
mod upserts;

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use server::Server;
use upserts::{Python, Row, Took, Vectide};

const ROWS: &[Row] = &[
    Row { dimensions: 128, batch: 100, points: 2_000 },
    Row { dimensions: 128, batch: 1_000, points: 2_000 },
    Row { dimensions: 1_536, batch: 100, points: 500 },
    Row { dimensions: 1_536, batch: 1_000, points: 1_000 },
];
/// A row goes on for so long, and for so many rounds at least; their number is odd, so that there is one in the middle.
const ROW: Duration = Duration::from_secs(15);
const ROUNDS: usize = 3;

/// A system, and its server.
pub struct System {
    name: &'static str,
    server: Server,
}

impl System {
    fn start(name: &'static str) -> Self {
        Self { name, server: Server::start(&format!("{name}.sh"), ports::free(2)) }
    }

    /// A configuration with this collection, and these sections beside.
    fn configuration(&self, collection: &str, sections: &str) -> String {
        let told = &self.server.told;
        let index = match self.name {
            "pgvector" => format!("url: '{told}', password: secret"),
            "weaviate" => {
                let (rest, grpc) = told.split_once(' ').expect("the script says two addresses");
                let metadata = "{ category: text, price: number, stock: number }";
                format!("url: '{rest}', grpc_url: '{grpc}', api_key: secret, metadata: {metadata}")
            }
            _ => format!("url: '{told}'"),
        };
        format!("pipeline: bench\nindex: {{ type: {}, collection: {collection}, {index} }}\n{sections}", self.name)
    }
}

fn main() {
    // Cargo adds `--bench`.
    let asked: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let known = ["milvus", "pgvector", "qdrant", "weaviate"];
    let Some(name) = known.into_iter().find(|known| asked == [*known]) else {
        println!("name the system: one of {}", known.join(", "));
        return;
    };
    let system = System::start(name);
    points(&system);
    println!("\nchanges of metadata alone: {:.0}/s, no text embedded", changes::rate(&system));
}

fn points(system: &System) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut python = Python::start(system);
    println!(
        "| dimensions | points a call | Vectide, points/s | Python, points/s | Vectide to Python | its range | rounds | CPU s of Vectide | of Python |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in ROWS {
        let (vectide, started) = (Vectide::new(&runtime, system, *row), Instant::now());
        let mut pairs: Vec<(Took, Took)> = Vec::new();
        while pairs.len() < ROUNDS || pairs.len().is_multiple_of(2) || started.elapsed() < ROW {
            let round = pairs.len();
            let vectide = || vectide.round(*row, round);
            let mut python = || beside(&runtime, || python.round(*row, round));
            pairs.push(if round.is_multiple_of(2) {
                (vectide(), python())
            } else {
                let second = python();
                (vectide(), second)
            });
        }
        let rounds = pairs.len();
        let ratio = |(vectide, python): &(Took, Took)| python.elapsed / vectide.elapsed;
        pairs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let (least, middle, most) = (ratio(&pairs[0]), ratio(&pairs[rounds / 2]), ratio(&pairs[rounds - 1]));
        let per_second = |of: fn(&(Took, Took)) -> Took| {
            let elapsed: f64 = pairs.iter().map(|pair| of(pair).elapsed).sum();
            (row.points * rounds) as f64 / elapsed
        };
        let cpu = |of: fn(&(Took, Took)) -> Took| pairs.iter().map(|pair| of(pair).cpu).sum::<f64>();
        println!(
            "| {} | {} | {:.0} | {:.0} | {middle:.2} | {least:.2} to {most:.2} | {rounds} | {:.2} | {:.2} |",
            row.dimensions,
            row.batch,
            per_second(|pair| pair.0),
            per_second(|pair| pair.1),
            cpu(|pair| pair.0),
            cpu(|pair| pair.1),
        );
    }
}

/// Does this on another thread, while the connections of the runtime are kept alive.
fn beside<T: Send>(runtime: &Runtime, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let (done, waiting) = oneshot::channel();
        scope.spawn(move || done.send(work()));
        runtime.block_on(waiting).expect("the work ends")
    })
}
