//! A provider with moods, which follow from the time: mostly well, and every minute a storm of 429, an outage and a time of slowness. In
//! between a call fails now and then, or is answered with what cannot be used.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const DIMENSIONS: usize = 64;

/// See the module.
pub struct Provider {
    /// Its `embedding.base_url`.
    pub url: String,
    desk: Arc<Desk>,
}

struct Desk {
    began: Instant,
    calls: AtomicU64,
    failed: AtomicU64,
}

impl Provider {
    /// Calls, and those of them that it did not answer well.
    pub fn calls(&self) -> (u64, u64) {
        (self.desk.calls.load(Ordering::SeqCst), self.desk.failed.load(Ordering::SeqCst))
    }
}

/// Starts it. It ends with the process.
pub fn start() -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
    let desk = Arc::new(Desk { began: Instant::now(), calls: AtomicU64::new(0), failed: AtomicU64::new(0) });
    let of_calls = desk.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let desk = of_calls.clone();
            // A caller that goes away ends its connection and nothing else.
            std::thread::spawn(move || drop(converse(&stream, &desk)));
        }
    });
    Provider { url, desk }
}

fn converse(stream: &TcpStream, desk: &Desk) -> io::Result<()> {
    let (mut input, mut output) = (BufReader::new(stream), stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body)?;
        let (status, answer) = desk.answer(request["input"].as_array().map(Vec::as_slice).unwrap_or_default());
        let length = answer.len();
        write!(output, "HTTP/1.1 {status}\r\nRetry-After: 1\r\nContent-Length: {length}\r\n\r\n{answer}")?;
    }
}

impl Desk {
    fn answer(&self, texts: &[Value]) -> (&'static str, String) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (second, chance) = (self.began.elapsed().as_secs() % 60, fastrand::u8(0..100));
        let (storm, outage, slow) = (second / 3 == 5, second / 3 == 10, second / 5 == 9);
        let wait = if slow { 400..1000 } else { 10..60 };
        std::thread::sleep(Duration::from_millis(fastrand::u64(wait)));
        let mut vectors: Vec<Vec<f32>> =
            texts.iter().map(|_| (0..DIMENSIONS).map(|_| fastrand::f32() - 0.5).collect()).collect();
        let mut status = "200 OK";
        match chance {
            _ if storm => status = "429 Too Many Requests",
            _ if outage => status = "503 Service Unavailable",
            0 => status = "500 Internal Server Error",
            // Longer than the caller waits.
            1 if second % 20 == 0 => std::thread::sleep(Duration::from_secs(4)),
            2 => drop(vectors.pop()),
            3 => vectors.iter_mut().for_each(|vector| vector.fill(0.0)),
            _ => {}
        }
        let ill = status != "200 OK" || matches!(chance, 2 | 3);
        self.failed.fetch_add(u64::from(ill), Ordering::SeqCst);
        if status != "200 OK" {
            return (status, json!({ "error": { "message": "not now" } }).to_string());
        }
        let rows = vectors.iter().enumerate().map(|(index, vector)| json!({ "index": index, "embedding": vector }));
        let answer = json!({ "data": rows.collect::<Vec<_>>(), "usage": { "total_tokens": texts.len() * 9 } });
        (status, answer.to_string())
    }
}
