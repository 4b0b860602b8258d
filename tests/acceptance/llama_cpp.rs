//! llama.cpp's own HTTP server on this machine: an embedding endpoint that others wrote.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports;
use crate::shop::in_time;

/// How `tests/servers/llama_cpp.sh` ends when there is nothing to serve.
const NOT_INSTALLED: i32 = 69;

/// The key that it asks for.
pub const KEY: &str = "sk-of-the-server";

/// A server that runs, or was killed.
pub struct LlamaCpp {
    folder: TempDir,
    process: Child,
    /// Its host and port.
    address: String,
}

impl LlamaCpp {
    /// A server that answers; none, and a line that says why, where it cannot be had.
    pub fn start() -> Option<Self> {
        match Self::start_on(&ports::free(1).to_string()) {
            Ok(server) => Some(server),
            Err(reason) => {
                // Not through `println!`, which a passing test swallows.
                let skipped = format!("SKIPPED: llama.cpp's server cannot be run: {reason}\n");
                std::io::stderr().write_all(skipped.as_bytes()).unwrap();
                None
            }
        }
    }

    fn start_on(port: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        let mut process = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/llama_cpp.sh"))
            .args(["serve", port, KEY])
            // It ends when this pipe does, however the test ends.
            .stdin(Stdio::piped())
            .stdout(file("address"))
            .stderr(file("log"))
            .spawn()
            .map_err(|error| error.to_string())?;
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let answers = in_time("llama.cpp's server answers", || match process.try_wait().unwrap() {
            Some(status) => Some(Err(status)),
            None => Some(Ok(read("address").strip_prefix("http://")?.strip_suffix('\n')?.to_owned())),
        });
        match answers {
            Ok(address) => Ok(Self { folder, process, address }),
            Err(status) if status.code() == Some(NOT_INSTALLED) => Err(read("log").trim().to_owned()),
            Err(status) => panic!("llama.cpp's server ended ({status}):\n{}", read("log")),
        }
    }

    /// The setting that makes a shop use it.
    pub fn setting(&self) -> String {
        let address = &self.address;
        format!(
            "embedding={{provider: openai, base_url: 'http://{address}/v1', model: all-minilm-l6-v2, dimensions: 384, api_key: {KEY}}}"
        )
    }

    /// `kill -9`: what it works on is lost.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        let (_, port) = self.address.split_once(':').unwrap();
        *self = Self::start_on(port).unwrap();
    }

    /// Its answer to these texts, asked without Vectide, with vectors as arrays of numbers.
    pub fn embeddings(&self, texts: &[String]) -> Value {
        let body = json!({ "model": "all-minilm-l6-v2", "input": texts, "encoding_format": "float" }).to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            stream,
            "POST /v1/embeddings HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}\n{}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        // It may have been killed already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
