//! An OpenAI-compatible provider on this machine that remembers every text it was sent, and answers when it is let.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use vectide::document::fingerprint::Fingerprinter;

use crate::pipeline::Pipeline;

const DIMENSIONS: usize = 8;

/// See the module.
pub struct Provider {
    address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sent: Vec<String>,
    /// Connections that are not heard to their end.
    connections: usize,
    /// Calls wait for their answer while this many texts were sent or more.
    closed_at: Option<usize>,
}

impl Provider {
    /// A provider that answers at once.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk::default());
        let of_calls = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let desk = of_calls.clone();
                desk.change(|state| state.connections += 1);
                std::thread::spawn(move || {
                    // A caller that is killed in the middle ends its connection; nobody misses the answer.
                    let _ = stream.and_then(|stream| serve(stream, &desk));
                    desk.change(|state| state.connections -= 1);
                });
            }
        });
        Self { address, desk }
    }

    /// The setting that makes a pipeline use it.
    pub fn setting(&self) -> String {
        let address = self.address;
        format!(
            "embedding={{provider: openai, base_url: 'http://{address}/v1', model: m, dimensions: {DIMENSIONS}, api_key: k}}"
        )
    }

    /// Every text it was sent, in order.
    pub fn sent(&self) -> Vec<String> {
        self.desk.state.lock().unwrap().sent.clone()
    }

    /// Which of the texts it was sent have a vector in the ledger.
    pub fn kept_by(&self, pipeline: &Pipeline) -> HashSet<String> {
        let sent = self.sent();
        let fingerprinter = Fingerprinter::new(&format!("openai/m@#{DIMENSIONS}"));
        let fingerprints: Vec<_> = sent.iter().map(|text| fingerprinter.of(text)).collect();
        let (_folder, ledger) = pipeline.left_behind();
        let vectors = ledger.expect("a run made one").vectors(&fingerprints).unwrap();
        sent.into_iter().zip(vectors).filter_map(|(text, vector)| vector.map(|_| text)).collect()
    }

    /// From now on it answers nobody once it was sent so many texts in all.
    pub fn close_at(&self, texts: usize) {
        self.desk.change(|state| state.closed_at = Some(texts));
    }

    /// Answers everybody.
    pub fn open(&self) {
        self.desk.change(|state| state.closed_at = None);
    }

    /// Answers everybody, and waits until it has heard all that callers sent before they ended.
    pub fn finish(&self) {
        self.open();
        // Connections are taken in order: once this one is answered, those before it were taken.
        let mut last = TcpStream::connect(self.address).unwrap();
        last.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        last.read_exact(&mut [0]).unwrap();
        drop(last);
        let state = self.desk.state.lock().unwrap();
        drop(self.desk.changed.wait_while(state, |state| state.connections > 0).unwrap());
    }
}

fn serve(stream: TcpStream, desk: &Desk) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let texts = request["input"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<&str> = texts.iter().map(|text| text.as_str().unwrap()).collect();
        desk.take(&texts);
        let vectors =
            texts.iter().enumerate().map(|(index, text)| json!({ "index": index, "embedding": vector(text) }));
        let answer =
            json!({ "data": vectors.collect::<Vec<_>>(), "usage": { "total_tokens": texts.len() } }).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        output.write_all((head + &answer).as_bytes())?;
    }
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Notes the texts, and waits until they may be answered.
    fn take(&self, texts: &[&str]) {
        let mut state = self.state.lock().unwrap();
        state.sent.extend(texts.iter().map(|text| (*text).to_owned()));
        let closed = |state: &mut State| state.closed_at.is_some_and(|texts| state.sent.len() >= texts);
        drop(self.changed.wait_while(state, closed).unwrap());
    }
}

/// A vector that tells texts apart.
fn vector(text: &str) -> [f32; DIMENSIONS] {
    let mut vector = [1.0; DIMENSIONS];
    for (place, byte) in text.bytes().enumerate() {
        vector[place % DIMENSIONS] += f32::from(byte);
    }
    vector
}
