//! The process under load: the binary itself, and what the system and its own statistics tell of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The followed file in its folder.
pub const FEED: &str = "feed.jsonl";
const STARTS: Duration = Duration::from_secs(60);
/// How long the last events may take, with a provider that fails.
const SETTLES: Duration = Duration::from_secs(300);

/// See the module. Killed when dropped.
pub struct Vectide {
    folder: PathBuf,
    running: Running,
    /// Counts its lives from 1.
    life: u32,
    /// The same in each of them.
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
        let running = Running::start(folder, &["run"], "log-1");
        let address = running.address();
        Self { folder: folder.to_owned(), running, life: 1, address }
    }

    /// Kills it as `kill -9` does, and starts it again at the same address.
    pub fn kill_and_start_again(&mut self) {
        self.running.kill();
        self.life += 1;
        let (listen, log) = (format!("server.listen={}", self.address), format!("log-{}", self.life));
        self.running = Running::start(&self.folder, &["--set", &listen, "run"], &log);
        self.running.address();
    }

    pub fn life(&self) -> u32 {
        self.life
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
        PathBuf::from(format!("/proc/{}", self.running.child.id())).join(name)
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

    /// Tells it to end, and has another run do what is left.
    pub fn finish(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.running.child.id().to_string()]).status();
        assert!(told.is_ok_and(|told| told.success()), "it is told to end");
        let ended = self.running.wait();
        assert!(matches!(ended.code(), Some(0 | 3)), "it ended with {ended}: {}", self.running.said());
        self.running = Running::start(&self.folder, &["run", "--until-idle"], "log-last");
        let ended = self.running.wait();
        assert!(ended.success(), "the last run ended with {ended}: {}", self.running.said());
    }

    /// What `vectide stats` says of what it left.
    pub fn left(&self) -> Value {
        serde_json::from_str(&self.answer(&["stats", "--json"])).expect("statistics are JSON")
    }

    /// Every document that it left.
    pub fn export(&self) -> Vec<Value> {
        self.answer(&["export"]).lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    fn answer(&self, arguments: &[&str]) -> String {
        let output = command(&self.folder, arguments).output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("JSON is UTF-8")
    }
}

/// One life of it. Killed when dropped.
struct Running {
    child: Child,
    guard: Child,
    log: PathBuf,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str], log: &str) -> Self {
        let log = folder.join(log);
        let file = File::create(&log).expect("the log can be made");
        let child = command(folder, arguments).stderr(file).spawn().expect("the binary starts");
        Self { guard: guard(child.id()), child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it listens, once it does.
    fn address(&self) -> SocketAddr {
        let began = Instant::now();
        while began.elapsed() < STARTS {
            let said = self.said();
            let told = said.split_once("listening for HTTP address=").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = told {
                return address.trim().parse().expect("it tells its address");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not listen: {}", self.said());
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        while began.elapsed() < SETTLES {
            if let Some(ended) = self.child.try_wait().expect("it can be waited for") {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not end: {}", self.said());
    }

    fn kill(&mut self) {
        // Either may have ended before. The guard goes first: the number of a process that was waited for may be another's.
        let _ = (self.child.kill(), self.guard.kill());
        let _ = (self.guard.wait(), self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills a process when this one is gone, however it ended: then nobody holds the other end of the guard's input any more.
fn guard(process: u32) -> Child {
    let script = "trap '' INT TERM; read -r nothing; kill -KILL \"$0\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, &process.to_string()]).stdin(Stdio::piped()).spawn().expect("a shell starts")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectide"));
    command.args(arguments).current_dir(folder);
    command
}
