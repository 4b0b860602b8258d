//! A provider that answers as fast as a machine can: bodies made beforehand, requests hardly read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastrand::Rng;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Numbers a vector.
pub const DIMENSIONS: usize = 1536;
/// Bodies for each number of texts, given in turn, so that vectors seldom repeat.
const VARIANTS: usize = 16;

/// Answers until it is killed. Prints its address first.
pub fn serve(delay_ms: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answers = Rc::new(Answers::default());
    // The usual sizes, so that nobody waits while they are made.
    [50, 100, 200].iter().for_each(|count| drop(answers.of(*count)));
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("http://{}/v1", listener.local_addr().expect("it is bound"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let answers = answers.clone();
            // A client that goes away ends its connection and nothing else.
            tokio::task::spawn_local(
                async move { drop(converse(stream, &answers, Duration::from_millis(delay_ms)).await) },
            );
        }
    });
}

async fn converse(mut stream: TcpStream, answers: &Answers, delay: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let (head, length) = loop {
            if let Some(found) = head(&buffer) {
                break found;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < head + length {
            stream.read_buf(&mut buffer).await?;
        }
        let answer = answers.of(texts(&buffer[head..head + length]));
        buffer.drain(..head + length);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        stream.write_all(&answer).await?;
    }
}

/// Where the body of a request begins and how long it is.
fn head(request: &[u8]) -> Option<(usize, usize)> {
    const LENGTH: &[u8] = b"content-length: ";
    let end = memmem::find(request, b"\r\n\r\n")?;
    let lower = request[..end].to_ascii_lowercase();
    let from = memmem::find(&lower, LENGTH)? + LENGTH.len();
    let digits = lower[from..].split(|byte| !byte.is_ascii_digit()).next()?;
    Some((end + 4, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// How many texts a request has. The catalogue's texts hold neither quotation marks nor brackets.
fn texts(body: &[u8]) -> usize {
    const INPUT: &[u8] = b"\"input\":[";
    let from = memmem::find(body, INPUT).expect("every request has its input") + INPUT.len();
    let to = from + memchr::memchr(b']', &body[from..]).expect("the list has an end");
    memchr::memchr_iter(b'"', &body[from..to]).count() / 2
}

#[derive(Default)]
struct Answers(RefCell<HashMap<usize, Vec<Bytes>>>);

impl Answers {
    fn of(&self, count: usize) -> Bytes {
        let mut answers = self.0.borrow_mut();
        let variants =
            answers.entry(count).or_insert_with(|| (0..VARIANTS).map(|seed| answer(count, seed as u64)).collect());
        variants.rotate_left(1);
        variants[0].clone()
    }
}

fn answer(count: usize, seed: u64) -> Bytes {
    let mut random = Rng::with_seed(seed);
    let mut body = String::from(r#"{"object":"list","data":["#);
    for index in 0..count {
        let numbers: Vec<u8> = (0..DIMENSIONS).flat_map(|_| (random.f32() - 0.5).to_le_bytes()).collect();
        let comma = if index == 0 { "" } else { "," };
        let vector = STANDARD.encode(numbers);
        body.push_str(&format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"{vector}"}}"#));
    }
    let tokens = count * 25;
    body.push_str(&format!(r#"],"model":"m","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#));
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}
