//! A server of others on this machine, by its script in `tests/servers`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server that runs until this is dropped, and its data.
pub struct Server {
    process: Child,
    /// What the script says once it answers.
    pub told: String,
    _folder: TempDir,
}

impl Server {
    /// Starts one on this port. Its log is this process's own.
    pub fn start(script: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(script);
        let mut process = Command::new(&script)
            .arg("serve")
            .arg(folder.path().join("data"))
            .arg(port.to_string())
            // It ends when this pipe does, however this process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let mut told = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut told).expect("it says something");
        assert!(told.ends_with('\n'), "{} did not start", script.display());
        Self { process, told: told.trim().to_owned(), _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
