//! The process under load: the binary itself, and what the system and its own statistics tell of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The followed file in its folder.
pub const FEED: &str = "feed.jsonl";
const LOG: &str = "log";
const STARTS: Duration = Duration::from_secs(60);
/// How long the last events may take, with a provider that fails.
const SETTLES: Duration = Duration::from_secs(300);

/// See the module. Ends it when dropped.
pub struct Vectide {
    folder: PathBuf,
    child: Child,
    pub address: SocketAddr,
}

/// Small caches, which are full soon, and no vector without a document: what still grows is a leak.
fn configuration(provider: &str) -> String {
    format!(
        "
pipeline: soak
document:
  id: id
  version: {{ field: v, unit: counter }}
  text: '{{{{ title }}}}'
  metadata: [price]
  events:
    field: op
    create: {{ operation: upsert }}
    update: {{ operation: patch, immediate: true }}
    price: {{ operation: patch, priority: 2 }}
    delete: {{ operation: delete }}
sources:
  feed: {{ type: file, path: {FEED}, follow: true }}
  api: {{ type: http, max_pending: 5000 }}
dedup: {{ persist: false, max_memory: 2MiB }}
batching: {{ max_items: 20 }}
embedding: {{ provider: openai, base_url: '{provider}', model: m, dimensions: {}, api_key: k, concurrency: 8, timeout: 3s }}
index: {{ type: embedded }}
state: {{ path: data }}
server: {{ listen: '127.0.0.1:0' }}
",
        crate::provider::DIMENSIONS
    )
}

impl Vectide {
    pub fn start(folder: &Path, provider: &str) -> Self {
        File::create(folder.join(FEED)).expect("the followed file can be made");
        fs::write(folder.join("config.yaml"), configuration(provider)).expect("the configuration can be written");
        let log = File::create(folder.join(LOG)).expect("the log can be made");
        let child = command(folder, "run").stderr(log).spawn().expect("the binary starts");
        let began = Instant::now();
        let mut started = Self { folder: folder.to_owned(), child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        while began.elapsed() < STARTS {
            let said = started.log();
            let told = said.split_once("listening for HTTP address=").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = told {
                started.address = address.trim().parse().expect("it tells its address");
                return started;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not listen: {}", started.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// What `GET /v1/stats` answers.
    pub fn stats(&self) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET /v1/stats HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)
            .expect("it hears");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("statistics are JSON ({error}): {answer}"))
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id())).join(name)
    }

    /// Memory in MB, and threads.
    pub fn memory_and_threads(&self) -> (f64, f64) {
        let status = fs::read_to_string(self.proc("status")).expect("it runs");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells of its processes");
            line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number")
        };
        (number("VmRSS:") * 1024.0 / 1e6, number("Threads:"))
    }

    pub fn open_files(&self) -> f64 {
        fs::read_dir(self.proc("fd")).expect("it runs").count() as f64
    }

    /// Waits until it has settled so many events.
    pub fn wait_until_settled(&self, events: u64) {
        let began = Instant::now();
        while settled(&self.stats()) < events {
            assert!(began.elapsed() < SETTLES, "of {events} events some are never settled: {}", self.stats());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Tells it to end, and waits for it.
    pub fn stop(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.is_ok_and(|told| told.success()), "it is told to end");
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "it ended with {ended}: {}", self.log());
    }

    /// Every document that it left.
    pub fn export(&self) -> Vec<Value> {
        let output = command(&self.folder, "export").output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl Drop for Vectide {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Events that were settled, as the statistics say.
pub fn settled(stats: &Value) -> u64 {
    stats["run"]["events"].as_u64().unwrap_or(0)
}

fn command(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectide"));
    command.arg(name).current_dir(folder);
    command
}
