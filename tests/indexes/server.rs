//! A server from `tests/servers`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How a script ends when there is nothing to serve.
const NOT_INSTALLED: i32 = 69;

/// A server that runs, or was killed. It ends with this process at the latest.
pub struct Server {
    script: &'static str,
    folder: TempDir,
    process: Child,
    /// Like `http://127.0.0.1:4711`.
    pub url: String,
}

impl Server {
    /// A server that answers, with the data folder as its last argument; none, and a line that says why, where it cannot be had.
    pub fn start(script: &'static str, environment: &[(&str, &str)]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match serve(script, "0", &folder, environment) {
            Ok((process, url)) => Some(Self { script, folder, process, url }),
            Err(reason) => {
                // Not through `println!`, which a passing test swallows.
                let skipped = format!("SKIPPED: the server of tests/servers/{script} cannot be run: {reason}\n");
                std::io::stderr().write_all(skipped.as_bytes()).unwrap();
                None
            }
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was, with the data that it had.
    pub fn restart(&mut self) {
        let (_, port) = self.url.rsplit_once(':').unwrap();
        (self.process, self.url) = serve(self.script, port, &self.folder, &[]).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(script: &str, port: &str, folder: &TempDir, environment: &[(&str, &str)]) -> Result<(Child, String), String> {
    let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    let mut process = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(script))
        .args(["serve", port])
        .arg(folder.path().join("data"))
        .envs(environment.iter().copied())
        // It ends when this pipe does, however the test ends.
        .stdin(Stdio::piped())
        .stdout(file("address"))
        .stderr(file("log"))
        .spawn()
        .map_err(|error| error.to_string())?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(url) = read("address").strip_suffix('\n') {
            return Ok((process, url.to_owned()));
        }
        match process.try_wait().unwrap() {
            Some(status) if status.code() == Some(NOT_INSTALLED) => return Err(read("log").trim().to_owned()),
            Some(status) => panic!("the server of {script} ended ({status}):\n{}", read("log")),
            None => assert!(Instant::now() < give_up, "waited a minute in vain for the server of {script}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
