//! Clients that post events over HTTP, several at once, until each was accepted, whatever becomes of the process that they call.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
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
    /// Calls that a process left without an answer although nobody had asked it to end.
    unanswered: Vec<String>,
    over: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Process {
    #[default]
    None,
    Listens(SocketAddr),
    Ends(SocketAddr),
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
        let threads = (0..CALLERS).map(|_| {
            let desk = desk.clone();
            std::thread::spawn(move || desk.call())
        });
        Self { threads: threads.collect(), desk }
    }

    /// From now on they call this process.
    pub fn call(&self, address: SocketAddr) {
        self.desk.change(|state| state.process = Process::Listens(address));
    }

    /// The process is about to end: it may leave calls without an answer.
    pub fn expect_the_end(&self) {
        self.desk.change(|state| {
            if let Process::Listens(address) = state.process {
                state.process = Process::Ends(address);
            }
        });
    }

    /// The process ended: waits until nobody calls.
    pub fn hang_up(&self) {
        self.desk.change(|state| state.process = Process::None);
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

    /// How often each status was answered. Fails when a call was left without an answer by a process that nobody had asked to end.
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

    fn call(&self) {
        while let Some((address, events)) = self.next() {
            let answer = post(address, &events.concat());
            let at = (self.clock)();
            let again = !matches!(answer, Ok(200 | 202));
            self.change(|state| {
                state.calling -= 1;
                match answer {
                    Ok(status) => *state.answers.entry(status).or_default() += 1,
                    Err(error) if state.process == Process::Listens(address) => {
                        state.unanswered.push(error.to_string());
                    }
                    Err(_) => {}
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
        let idle = |state: &mut State| !state.over && (state.process == Process::None || state.waiting.is_empty());
        let mut state = self.changed.wait_while(state, idle).unwrap();
        let (Process::Listens(address) | Process::Ends(address)) = state.process else { return None };
        if state.over {
            return None;
        }
        state.calling += 1;
        let count = EVENTS.min(state.waiting.len());
        Some((address, state.waiting.drain(..count).collect()))
    }
}

/// The status that a request with these events is answered with.
fn post(address: SocketAddr, events: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(HANGS))?;
    let length = events.len();
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{events}"
    )?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    let status = std::str::from_utf8(&status).ok().and_then(|status| status.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is no HTTP"))
}
