//! Sends events at a steady pace, half of them over HTTP and half into the followed file: some late, some twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::process::FEED;
use crate::shop::Shop;

/// Events a second, repeats aside.
const RATE: u64 = 200;
const TICK: Duration = Duration::from_millis(50);
/// So many events wait to be sent, in any order.
const SHUFFLED: usize = 100;
const HANGS: Duration = Duration::from_secs(60);

/// See the module.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Shop>,
}

#[derive(Default)]
struct Shared {
    /// Events that were accepted or written.
    sent: AtomicU64,
    /// Answers that asked to come later, and requests that found nobody.
    refused: AtomicU64,
    over: AtomicBool,
}

impl Load {
    pub fn start(folder: &Path, address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let sender = Sender {
            shared: shared.clone(),
            address,
            file: OpenOptions::new().append(true).open(folder.join(FEED)).expect("the followed file is there"),
            random: Rng::with_seed(2),
        };
        Self { shared, thread: std::thread::spawn(move || sender.run()) }
    }

    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Sends what waits. Answers what all events make.
    pub fn stop(self) -> Shop {
        self.shared.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the sender ends")
    }
}

struct Sender {
    shared: Arc<Shared>,
    address: SocketAddr,
    file: File,
    random: Rng,
}

impl Sender {
    fn run(mut self) -> Shop {
        let (mut shop, mut waiting, began, mut made) = (Shop::new(), Vec::new(), Instant::now(), 0);
        while !self.shared.over.load(Ordering::SeqCst) {
            let due = began.elapsed().as_millis() as u64 * RATE / 1000;
            // Who was kept waiting does not catch up in one go.
            made = made.max(due.saturating_sub(RATE));
            for _ in made..due {
                let event = shop.event();
                if self.random.u8(0..10) == 0 {
                    waiting.push(event.clone());
                }
                waiting.push(event);
            }
            made = due;
            self.random.shuffle(&mut waiting);
            let some = waiting.len().saturating_sub(SHUFFLED);
            self.send(waiting.drain(..some).collect());
            std::thread::sleep(TICK);
        }
        self.send(waiting);
        shop
    }

    fn send(&mut self, events: Vec<String>) {
        let (posted, written): (Vec<_>, Vec<_>) = events.into_iter().partition(|_| self.random.bool());
        if !written.is_empty() {
            let lines = written.join("\n") + "\n";
            self.file.write_all(lines.as_bytes()).expect("the followed file can be written to");
            self.shared.sent.fetch_add(written.len() as u64, Ordering::SeqCst);
        }
        if posted.is_empty() {
            return;
        }
        let (body, began) = (posted.join("\n") + "\n", Instant::now());
        loop {
            match self.post(&body) {
                Ok(202) => break,
                Ok(429 | 503) => {}
                Ok(status) => panic!("the process answers {status}"),
                // It was killed, and is started again.
                Err(error) => assert!(began.elapsed() < HANGS, "the process does not answer: {error}"),
            }
            self.shared.refused.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(TICK);
        }
        self.shared.sent.fetch_add(posted.len() as u64, Ordering::SeqCst);
    }

    fn post(&self, body: &str) -> io::Result<u16> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(HANGS))?;
        let (address, length) = (self.address, body.len());
        write!(
            stream,
            "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        let status = std::str::from_utf8(&status).ok().and_then(|status| status.strip_prefix("HTTP/1.1 "));
        status.and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::other("the answer is no HTTP"))
    }
}
