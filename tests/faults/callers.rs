//! Clients that post events over HTTP, several at once, until each was accepted, whatever becomes of the process that they call.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const CALLERS: usize = 3;
/// Events of one request.
const EVENTS: usize = 8;
/// After being asked to come later.
const PAUSE: Duration = Duration::from_millis(5);
/// An answer that takes longer never comes.
const HANGS: Duration = Duration::from_secs(60);

/// See the module.
pub struct Callers {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
}

#[derive(Default)]
struct State {
    process: Process,
    /// Events that were not accepted yet.
    waiting: VecDeque<String>,
    calling: usize,
    accepted: Vec<Accepted>,
    /// How often each status was answered.
    answers: BTreeMap<u16, usize>,
    /// Calls that a process left without an answer although it was not killed, and those that it did not take although it was to.
    unanswered: Vec<String>,
    over: bool,
}

#[derive(Default, Clone, Copy)]
struct Process {
    /// Where it listens; none while there is no process to call.
    address: Option<SocketAddr>,
    ends: Option<End>,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Whoever reaches it is answered, up to its end. A connection that is opened in the instant it stops listening may be reset before
    /// any request over it is read.
    Orderly,
    /// In the middle of anything.
    Sudden,
}

/// Why there is no answer.
enum Unanswered {
    /// Nobody listens.
    Refused,
    /// A new connection was reset, and nothing had come over it: nobody took it in.
    Reset,
    /// The connection ended before an answer came over it, for this reason.
    Lost(io::Error),
}

/// An event that was answered with success.
#[derive(Clone)]
pub struct Accepted {
    pub event: String,
    /// What the clock said once the answer was there.
    pub at: u64,
}

impl Callers {
    /// Callers with these events, of which some were accepted before. They call nobody yet. The clock tells when an event is accepted.
    pub fn new(events: &[String], accepted: Vec<Accepted>, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let done: HashSet<&String> = accepted.iter().map(|accepted| &accepted.event).collect();
        let waiting = events.iter().filter(|event| !done.contains(event)).cloned().collect();
        let state = State { waiting, accepted, ..State::default() };
        let desk = Arc::new(Desk { state: Mutex::new(state), changed: Condvar::new(), clock: Box::new(clock) });
        let threads = (0..CALLERS).map(|number| {
            let desk = desk.clone();
            std::thread::spawn(move || desk.call(number == 0))
        });
        Self { threads: threads.collect(), desk }
    }

    /// From now on they call this process.
    pub fn call(&self, address: SocketAddr) {
        self.desk.change(|state| state.process = Process { address: Some(address), ends: None });
    }

    /// The process is about to end.
    pub fn expect(&self, end: End) {
        self.desk.change(|state| state.process.ends = Some(end));
    }

    /// The process ended: waits until nobody calls.
    pub fn hang_up(&self) {
        self.desk.change(|state| state.process.address = None);
        let state = self.desk.state.lock().unwrap();
        drop(self.desk.changed.wait_while(state, |state| state.calling > 0).unwrap());
    }

    /// Whether every event was accepted.
    pub fn are_done(&self) -> bool {
        let state = self.desk.state.lock().unwrap();
        state.waiting.is_empty() && state.calling == 0
    }

    /// Every event that was accepted, in that order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.desk.state.lock().unwrap().accepted.clone()
    }

    /// How often each status was answered. Fails when a call was left without an answer by a process that was not killed.
    pub fn answers(&self) -> BTreeMap<u16, usize> {
        let state = self.desk.state.lock().unwrap();
        assert!(state.unanswered.is_empty(), "without an answer: {:?}", state.unanswered);
        state.answers.clone()
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.desk.change(|state| state.over = true);
        for thread in self.threads.drain(..) {
            // What it found is in the state; whoever asked for that knows it already.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn call(&self, keeps_its_connection: bool) {
        let mut kept = None;
        while let Some((address, events)) = self.next() {
            let answer = post(address, &events.concat(), &mut kept);
            if !keeps_its_connection {
                kept = None;
            }
            let at = (self.clock)();
            let again = !matches!(answer, Ok(200 | 202));
            self.change(|state| {
                state.calling -= 1;
                match answer {
                    Ok(status) => *state.answers.entry(status).or_default() += 1,
                    Err(Unanswered::Refused | Unanswered::Reset) if state.process.ends.is_some() => {}
                    Err(Unanswered::Refused) => state.unanswered.push("refused".to_owned()),
                    Err(Unanswered::Reset) => state.unanswered.push("reset".to_owned()),
                    Err(Unanswered::Lost(_)) if state.process.ends == Some(End::Sudden) => {}
                    Err(Unanswered::Lost(error)) => state.unanswered.push(error.to_string()),
                }
                if again {
                    state.waiting.extend(events);
                } else {
                    state.accepted.extend(events.into_iter().map(|event| Accepted { event, at }));
                }
            });
            if again {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// What to post next and where; nothing when it is over.
    fn next(&self) -> Option<(SocketAddr, Vec<String>)> {
        let state = self.state.lock().unwrap();
        let idle = |state: &mut State| !state.over && (state.process.address.is_none() || state.waiting.is_empty());
        let mut state = self.changed.wait_while(state, idle).unwrap();
        let address = state.process.address.filter(|_| !state.over)?;
        state.calling += 1;
        let count = EVENTS.min(state.waiting.len());
        Some((address, state.waiting.drain(..count).collect()))
    }
}

/// The status that a request with these events is answered with, over the connection that was kept or a new one. It is kept unless
/// the answer was its last.
fn post(address: SocketAddr, events: &str, kept: &mut Option<BufReader<TcpStream>>) -> Result<u16, Unanswered> {
    let reaches = |kept: &BufReader<TcpStream>| kept.get_ref().peer_addr().is_ok_and(|peer| peer == address);
    let kept_one = kept.take().filter(reaches);
    let is_new = kept_one.is_none();
    let mut connection = match kept_one {
        Some(connection) => connection,
        None => match TcpStream::connect(address) {
            Ok(stream) => BufReader::new(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(Unanswered::Refused),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Unanswered::Reset),
            Err(error) => return Err(Unanswered::Lost(error)),
        },
    };
    begin(&mut connection, events).map_err(|error| match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if is_new => Unanswered::Reset,
        _ => Unanswered::Lost(error),
    })?;
    let (status, is_last) = answer(&mut connection).map_err(Unanswered::Lost)?;
    *kept = Some(connection).filter(|_| !is_last);
    Ok(status)
}

/// Posts over this connection, and waits until an answer begins.
fn begin(connection: &mut BufReader<TcpStream>, events: &str) -> io::Result<()> {
    let stream = connection.get_mut();
    stream.set_read_timeout(Some(HANGS))?;
    let length = events.len();
    write!(stream, "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{events}")?;
    connection.fill_buf()?;
    Ok(())
}

/// The status of the answer that comes over this connection, and whether nothing follows it.
fn answer(connection: &mut BufReader<TcpStream>) -> io::Result<(u16, bool)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head)? == 0 {
            return Err(io::Error::other(format!("the connection ended after {head:?}")));
        }
    }
    let head = head.to_ascii_lowercase();
    let value = |name: &str| head.split_once(name)?.1.lines().next();
    let status = value("http/1.1 ").and_then(|line| line.get(..3)?.parse().ok());
    let length = value("\ncontent-length: ").and_then(|length| length.parse().ok());
    let (Some(status), Some(length)) = (status, length) else { return Err(io::Error::other("the answer is no HTTP")) };
    connection.read_exact(&mut vec![0; length])?;
    Ok((status, value("\nconnection: ") == Some("close")))
}
