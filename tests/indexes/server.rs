//! A server of others on this machine, started by its script in `tests/servers`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ports;

/// How a script ends when there is nothing to serve.
const NOT_INSTALLED: i32 = 69;
/// What the greediest of them takes, from the one that it is told.
const PORTS: u16 = 3;
/// Longer than any of them takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs, or was killed.
pub struct Server {
    script: &'static str,
    environment: &'static [(&'static str, &'static str)],
    folder: TempDir,
    port: u16,
    process: Child,
    /// What the script says.
    pub address: String,
}

impl Server {
    /// A server that answers; none, and a line that says why, where it cannot be had. The script is called with `serve FOLDER PORT`.
    pub fn start(script: &'static str) -> Option<Self> {
        Self::start_with(script, &[])
    }

    /// As [`Server::start`], with these variables in its environment.
    pub fn start_with(script: &'static str, environment: &'static [(&'static str, &'static str)]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free(PORTS);
        match launch(script, environment, &folder, port) {
            Ok((process, address)) => Some(Self { script, environment, folder, port, process, address }),
            Err(reason) => {
                // Not through `println!`, which a passing test swallows.
                std::io::stderr().write_all(format!("SKIPPED: {script} cannot be run: {reason}\n").as_bytes()).unwrap();
                None
            }
        }
    }

    /// Ends it at once: no request that is under way is answered.
    pub fn stop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }

    /// Starts it again where it was, with what it had.
    pub fn restart(&mut self) {
        (self.process, self.address) = launch(self.script, self.environment, &self.folder, self.port).unwrap();
    }
}

/// One server for all tests of this binary, started by the first that asks for it. It ends with the process.
pub struct Shared<B> {
    script: &'static str,
    /// What the tests ask, made of what the script says.
    make: fn(&str) -> B,
    started: OnceLock<Option<(Server, B)>>,
}

impl<B> Shared<B> {
    pub const fn new(script: &'static str, make: fn(&str) -> B) -> Self {
        Self { script, make, started: OnceLock::new() }
    }

    /// As [`Server::start`]: none where it cannot be had.
    pub fn get(&self) -> Option<&B> {
        let start = || {
            let server = Server::start(self.script)?;
            let made = (self.make)(&server.address);
            Some((server, made))
        };
        self.started.get_or_init(start).as_ref().map(|(_, made)| made)
    }
}

fn launch(script: &str, environment: &[(&str, &str)], folder: &TempDir, port: u16) -> Result<(Child, String), String> {
    let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    let mut process = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(script))
        .arg("serve")
        .arg(folder.path().join("data"))
        .arg(port.to_string())
        .envs(environment.iter().copied())
        // It ends when this pipe does, however the test ends.
        .stdin(Stdio::piped())
        .stdout(file("address"))
        .stderr(file("log"))
        .spawn()
        .map_err(|error| error.to_string())?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let since = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            assert_eq!(status.code(), Some(NOT_INSTALLED), "{script}: {}", read("log"));
            return Err(read("log").trim().to_owned());
        }
        if let Some(address) = read("address").strip_suffix('\n') {
            return Ok((process, address.to_owned()));
        }
        assert!(since.elapsed() < PATIENCE, "{script} does not answer: {}", read("log"));
        std::thread::sleep(Duration::from_millis(20));
    }
}
