//! Whatever happens to a log while it is followed, none of its lines is lost, and none is read again that need not be.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;

use super::super::follow::{Descriptors, Follow, GRACE};
use super::*;
use crate::source::IDLE_WAIT;

/// So many old logs are kept.
const KEPT: usize = 3;

#[derive(Debug, Clone)]
enum Event {
    /// The writer adds so many lines, and the beginning of another.
    Append { lines: usize, half: bool },
    /// As [`Event::Append`], to the last log that was rotated or removed: its writer still has it open.
    Late { lines: usize, half: bool },
    /// The log and the older ones get the next names, the oldest is overwritten, and there is a new one.
    Rotate,
    /// The last log takes its name back.
    Undo,
    /// The log is emptied in place, as by `copytruncate`.
    Truncate,
    /// The log of this age is removed.
    Remove { age: usize },
    /// So many records are read.
    Read { records: usize },
    /// Nothing is read for a second.
    Watch,
    /// The process is killed, when so much is committed of what it gave, and starts again.
    Restart { committed: Index },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0usize..4, any::<bool>()).prop_map(|(lines, half)| Event::Append { lines, half }),
        2 => (0usize..3, any::<bool>()).prop_map(|(lines, half)| Event::Late { lines, half }),
        3 => Just(Event::Rotate),
        1 => Just(Event::Undo),
        1 => Just(Event::Truncate),
        1 => (0..=KEPT).prop_map(|age| Event::Remove { age }),
        5 => (1usize..5).prop_map(|records| Event::Read { records }),
        1 => Just(Event::Watch),
        1 => any::<Index>().prop_map(|committed| Event::Restart { committed }),
    ]
}

/// A log as its writer knows it.
struct Log {
    file: File,
    /// When it was made, and how often it was written to: no two writes are of one time.
    made: Duration,
    writes: u64,
    /// Its complete lines, and the beginning of another.
    lines: Vec<String>,
    half: String,
    /// How many are newer; none where it was removed.
    age: Option<usize>,
    /// Whether the process saw it.
    is_seen: bool,
    /// How many lines it had when the process had let go of it, until it is seen again.
    left_with: Option<usize>,
    /// When it was last written to, or moved.
    touched: Instant,
    /// The log that had its name before it, if it had lines and was seen.
    before: Option<usize>,
}

struct World {
    folder: Folder,
    pattern: &'static str,
    /// Whether all logs are made at one time.
    at_once: bool,
    logs: Vec<Log>,
    written: usize,
    now: Instant,
    follow: Follow,
    /// What the process was to commit, in its order; the first so many are committed.
    positions: Vec<Position>,
    committed: usize,
    /// The lines that were given: how many positions there were then.
    given: HashMap<String, usize>,
    versions: HashMap<String, i128>,
    was_undone: bool,
    was_restarted: bool,
}

impl World {
    fn new(pattern: &'static str, at_once: bool) -> Self {
        let folder = Folder::followed();
        let follow = Follow::new(folder.settings(pattern), Descriptors::at_most(100));
        let mut world = Self {
            folder,
            pattern,
            at_once,
            logs: Vec::new(),
            written: 0,
            now: Instant::now(),
            follow,
            positions: Vec::new(),
            committed: 0,
            given: HashMap::new(),
            versions: HashMap::new(),
            was_undone: false,
            was_restarted: false,
        };
        world.make(None);
        world.open();
        world
    }

    fn path(&self, age: usize) -> PathBuf {
        self.folder.path(&if age == 0 { "app.log".to_owned() } else { format!("app.log.{age}") })
    }

    fn of_age(&self, age: usize) -> Option<usize> {
        self.logs.iter().position(|log| log.age == Some(age))
    }

    fn is_there(&self, log: &Log) -> bool {
        log.age.is_some_and(|age| age == 0 || self.pattern == "app.log*")
    }

    /// Nobody waits for longer for what is not there.
    fn is_left(&self, log: &Log) -> bool {
        !self.is_there(log) && self.now.duration_since(log.touched) >= GRACE
    }

    fn make(&mut self, before: Option<usize>) {
        let path = self.path(0);
        let file = File::options().append(true).create_new(true).open(path).unwrap();
        let made = Duration::from_secs(if self.at_once { 1 } else { self.logs.len() as u64 + 1 });
        let (lines, half) = (Vec::new(), String::new());
        self.logs.push(Log {
            file,
            made,
            writes: 0,
            lines,
            half,
            age: Some(0),
            is_seen: false,
            left_with: None,
            touched: self.now,
            before,
        });
        self.touch(self.logs.len() - 1);
    }

    fn append(&mut self, index: usize, lines: usize, half: bool) {
        let log = &mut self.logs[index];
        let mut text = String::new();
        for _ in 0..lines {
            self.written += 1;
            let begun = std::mem::take(&mut log.half);
            let rest = if begun.is_empty() { format!("{{{}}}", self.written) } else { "}".to_owned() };
            text += &format!("{rest}\n");
            log.lines.push(begun + &rest);
        }
        if half && log.half.is_empty() {
            self.written += 1;
            log.half = format!("{{{}", self.written);
            text += &log.half;
        }
        log.file.write_all(text.as_bytes()).unwrap();
        if !text.is_empty() {
            self.touch(index);
        }
    }

    fn touch(&mut self, index: usize) {
        let log = &mut self.logs[index];
        log.writes += 1;
        log.file.set_modified(UNIX_EPOCH + log.made + Duration::from_micros(log.writes)).unwrap();
        log.touched = self.now;
    }

    /// Moves a log to another age, or removes it.
    fn move_to(&mut self, index: usize, age: Option<usize>) {
        if self.is_left(&self.logs[index]) {
            let log = &mut self.logs[index];
            log.left_with.get_or_insert(log.lines.len());
        }
        self.logs[index].touched = self.now;
        let from = std::mem::replace(&mut self.logs[index].age, age).map(|age| self.path(age)).unwrap();
        match age.map(|age| self.path(age)) {
            Some(to) => fs::rename(from, to).unwrap(),
            None => fs::remove_file(from).unwrap(),
        }
    }

    fn rotate(&mut self) {
        for age in (0..=KEPT).rev() {
            if let Some(index) = self.of_age(age) {
                self.move_to(index, (age < KEPT).then_some(age + 1));
            }
        }
        let before = self.of_age(1).filter(|index| self.logs[*index].is_seen && !self.logs[*index].lines.is_empty());
        self.make(before);
    }

    /// The process starts with what is committed.
    fn open(&mut self) {
        if self.of_age(0).is_none() {
            self.make(None);
        }
        let mut kept = Kept::new();
        self.positions.truncate(self.committed);
        self.given.retain(|_, at| *at <= self.committed);
        kept.extend(self.positions.iter().map(|last| (last.partition.name.clone(), last.clone())));
        self.follow = Follow::new(self.folder.settings(self.pattern), Descriptors::at_most(100));
        self.follow.open(&kept.into_values().collect::<Vec<_>>(), self.now).unwrap();
        self.logs.iter_mut().for_each(|log| log.is_seen = false);
        self.see();
    }

    fn see(&mut self) {
        for index in 0..self.logs.len() {
            let is_there = self.is_there(&self.logs[index]);
            let log = &mut self.logs[index];
            if is_there && !log.is_seen && log.age != Some(0) && self.at_once {
                // Nobody can tell then which of two that were made at one time came before.
                log.before = None;
            }
            if is_there {
                (log.is_seen, log.left_with) = (true, None);
            }
        }
    }

    fn read(&mut self, records: usize) {
        self.now += IDLE_WAIT;
        match self.follow.step(Room { records, bytes: 1000 }, self.now) {
            Read::Records(records) => {
                self.see();
                records.into_iter().for_each(|record| self.take(record));
            }
            // Told before a look.
            Read::Positions(positions) => self.positions.extend(positions),
            _ => self.see(),
        }
    }

    fn take(&mut self, record: Record) {
        let text = texts(std::slice::from_ref(&record))[0].to_owned();
        self.positions.push(record.position);
        if text.ends_with('}') {
            if self.given.contains_key(&text) {
                // One that comes back to where it could not be seen may be known no more.
                let may_be_forgotten = self.was_undone && self.was_restarted && self.pattern == "app.log";
                assert!(may_be_forgotten, "`{text}` is given again");
                return;
            }
            self.given.insert(text.clone(), self.positions.len());
            self.versions.insert(text, record.version.as_nanos());
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Append { lines, half } => {
                if let Some(index) = self.of_age(0) {
                    self.append(index, lines, half);
                }
            }
            Event::Late { lines, half } => {
                let Some(index) = self.logs.iter().rposition(|log| log.age != Some(0)) else { return };
                if !self.is_left(&self.logs[index]) {
                    self.append(index, lines, half);
                }
            }
            Event::Rotate => self.rotate(),
            Event::Undo => {
                if let (Some(now), Some(last)) = (self.of_age(0), self.of_age(1)) {
                    self.move_to(now, None);
                    self.move_to(last, Some(0));
                    self.was_undone = true;
                }
            }
            Event::Truncate => {
                let Some(index) = self.of_age(0) else { return };
                let log = &mut self.logs[index];
                log.file.set_len(0).unwrap();
                log.left_with = log.left_with.and(Some(0));
                log.lines.clear();
                log.half.clear();
                self.touch(index);
            }
            Event::Remove { age } => {
                if let Some(index) = self.of_age(age) {
                    self.move_to(index, None);
                }
            }
            Event::Read { records } => self.read(records),
            Event::Watch => {
                self.now += GRACE;
                self.follow.watch(self.now);
                self.see();
            }
            Event::Restart { committed } => {
                self.committed += committed.index(self.positions.len() - self.committed + 1);
                self.was_restarted = true;
                self.open();
            }
        }
    }

    /// Everything that is there, or was while the process had it open, is given, in its order.
    fn check(&self) {
        let given: HashSet<&String> = self.given.keys().collect();
        for log in self.logs.iter().filter(|log| log.is_seen) {
            let lines = &log.lines[..log.left_with.unwrap_or(log.lines.len()).min(log.lines.len())];
            let lost: Vec<_> = lines.iter().filter(|line| !given.contains(line)).collect();
            assert!(lost.is_empty(), "{lost:?} are lost");
            let versions: Vec<i128> = lines.iter().map(|line| self.versions[line]).collect();
            assert!(versions.is_sorted_by(|one, next| one < next), "{:?}: {versions:?}", log.lines);
            if self.was_undone || (self.at_once && self.was_restarted) {
                continue;
            }
            let before = log.before.into_iter().flat_map(|index| &self.logs[index].lines);
            let newest = before.filter_map(|line| self.versions.get(line)).max();
            assert!(
                newest < versions.first() || versions.is_empty(),
                "{newest:?} is newer than the next log: {versions:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_to_a_log_its_lines_are_given_once_and_in_order(
        pattern in prop_oneof![Just("app.log"), Just("app.log*")],
        at_once in any::<bool>(),
        events in proptest::collection::vec(event(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(pattern, at_once);
            events.iter().for_each(|event| world.happen(event));
            for _ in 0..80 {
                world.read(1000);
            }
            world.check();
        });
    }
}
