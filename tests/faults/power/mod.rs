//! The power is lost, and with it what was not synced. A library that is preloaded into Vectide logs all that it does to its data
//! folder. From the log up to any moment a disk is made as it may be found after the power was lost then, and Vectide is started on it.

mod disk;
mod log;

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use rusqlite::Connection;
use vectide::document::DocumentId;

use crate::callers::{Accepted, Callers};
use crate::pipeline::Pipeline;
use crate::preload;
use crate::provider::Provider;
use crate::rounds::rounds;
use crate::story::Story;
use crate::telling::{Telling, Through, lost};
use disk::{Disk, Files, Lies};
use log::{Deed, Entry};

/// Of each kind of source.
const ROUNDS: u64 = 8;
const EVENTS: usize = 1500;
/// Bytes of a note: enough that SQLite's log is copied into the database, and begun anew, in the middle.
const NOTES: usize = 20_000;
const EMBEDDED: &str = "embedded";

/// What was done to a data folder while a story was told.
struct Recording {
    story: Story,
    through: Through,
    /// The setting `index.type`.
    index: &'static str,
    entries: Vec<Entry>,
    /// See [`Telling::inputs`].
    inputs: Vec<(String, usize)>,
    /// The events that were answered with success, each with the length of the log by then.
    accepted: Vec<Accepted>,
}

impl Recording {
    /// Tells a story to processes of which some are killed, as the library understands SIGUSR1, and the last finishes.
    fn make(through: Through, index: &'static str) -> Self {
        let story = Story::with_notes(6, EVENTS, NOTES);
        let provider = Provider::new();
        let library = tempfile::tempdir().unwrap();
        let mut pipeline = Story::pipeline(&provider);
        pipeline.set(format!("index.type={index}"));
        let (data, written) = (pipeline.path("data"), library.path().join("log"));
        fs::create_dir(&data).unwrap();
        let data = data.canonicalize().unwrap();
        pipeline.set_variable("LD_PRELOAD", preload::library("power/shim.c", &library));
        pipeline.set_variable("POWER_FOLDER", &data);
        pipeline.set_variable("POWER_LOG", &written);
        let clock = {
            let written = written.clone();
            move || fs::metadata(&written).unwrap().len()
        };
        let mut telling = Telling::of(pipeline, &story, through, Callers::new(&story.lines, Vec::new(), clock));
        for _ in 0..3 {
            let paid = provider.sent().len() + EVENTS / 8;
            let mut run = telling.start();
            run.wait_until("a part is told", || provider.sent().len() >= paid || telling.is_over());
            telling.signal(&run, "USR1");
            assert_eq!(run.end().code, None);
            telling.assert_kept();
        }
        telling.finish();
        let entries = log::read(&written, &data);
        let accepted = match through {
            Through::Http => telling.callers().accepted(),
            _ => Vec::new(),
        };
        let inputs = std::mem::take(&mut telling.inputs);
        let recording = Self { through, index, entries, inputs, accepted, story };
        assert_same(&recording.disk(recording.entries.len(), Lies::None).seen(), &data);
        recording
    }

    /// Whether SQLite's log was begun anew over what was in it: its head is 32 bytes.
    fn began_a_log_anew(&self) -> bool {
        let mut begun = HashSet::new();
        self.entries.iter().any(|entry| match &entry.deed {
            Deed::Make { file, .. } => {
                begun.remove(file);
                false
            }
            Deed::Write { file, offset: 0, data } => data.len() == 32 && !begun.insert(*file),
            _ => false,
        })
    }

    /// The disk after so many entries.
    fn disk(&self, entries: usize, lies: Lies) -> Disk {
        let mut disk = Disk::new(lies);
        self.entries[..entries].iter().for_each(|entry| disk.do_it(&entry.deed));
        disk
    }

    /// Loses the power at the moment that the seed says: the length of the log by then, and what the disk may hold.
    fn lose_power(&self, seed: u64, lies: Lies) -> (u64, Files) {
        let mut random = fastrand::Rng::with_seed(seed);
        let moment = random.usize(..self.entries.len());
        (self.entries[moment].end, self.disk(moment + 1, lies).after_power_loss(&mut random))
    }

    /// Standard input cannot be read again, so what lies before a committed position must be there.
    fn assert_inputs_are_kept(&self, pipeline: &Pipeline) {
        let (_folder, ledger) = pipeline.left_behind();
        let Some(ledger) = ledger else { return };
        for (source, told) in &self.inputs {
            let positions = ledger.positions(source).unwrap();
            let settled = positions.first().map_or(0, |position| usize::try_from(position.ordinal).unwrap());
            let lost = lost(Some(&ledger), &self.story.lines[*told..told + settled]);
            assert!(lost.is_empty(), "{} lines of {source} are lost: {lost:?}", lost.len());
        }
    }

    /// Starts Vectide on such a disk. Fails unless all that was promised before is there, and the rest of the story can be told.
    fn go_on(&self, seed: u64, lies: Lies, provider: &Provider) {
        let (end, found) = self.lose_power(seed, lies);
        let mut pipeline = Story::pipeline(provider);
        pipeline.set(format!("index.type={}", self.index));
        put(&found, &pipeline.path("data"));
        let accepted = self.accepted.iter().filter(|accepted| accepted.at <= end).cloned().collect();
        let callers = Callers::new(&self.story.lines, accepted, || 0);
        let mut telling = Telling::of(pipeline, &self.story, self.through, callers);
        if self.through == Through::Stdin {
            self.assert_inputs_are_kept(&telling.pipeline);
            telling.runs = self.inputs.len();
        } else {
            telling.assert_kept();
        }
        telling.finish();
        assert_vectors_are_kept(&telling.pipeline);
        let ledger = Connection::open(telling.pipeline.path("data/ledger.sqlite")).unwrap();
        let check: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}

fn assert_vectors_are_kept(pipeline: &Pipeline) {
    let (_folder, ledger) = pipeline.left_behind();
    let ledger = ledger.unwrap();
    let ids: Vec<_> = pipeline.documents().keys().map(|id| DocumentId::new(id).unwrap()).collect();
    let held = ledger.documents(&ids).unwrap();
    let texts: Vec<_> = held.iter().flatten().flat_map(|held| &held.chunks).map(|chunk| chunk.fingerprint).collect();
    assert!(!texts.is_empty());
    assert!(ledger.vectors(&texts).unwrap().iter().all(Option::is_some));
}

/// The log has everything: what it makes is what is in the folder. SQLite's shared memory is written past every call, and made anew
/// at each start.
fn assert_same(files: &Files, folder: &Path) {
    let is_kept = |name: &str| !name.ends_with("-shm");
    let there = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let there = there.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    let there: Files = there.filter(|(name, _)| is_kept(name)).collect();
    let files: Vec<_> = files.iter().filter(|(name, _)| is_kept(name)).collect();
    let names = |files: &[(&String, &Vec<u8>)]| {
        files.iter().map(|(name, bytes)| (name.to_string(), bytes.len())).collect::<Vec<_>>()
    };
    let there: Vec<_> = there.iter().collect();
    assert_eq!(names(&files), names(&there));
    for (one, other) in files.iter().zip(&there) {
        assert!(one == other, "{} is not what the log makes", one.0);
    }
}

fn put(files: &Files, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// No two recordings are the same, so a round that fails keeps the disk that it began with.
fn lose_power(test: &str, recording: &Recording) {
    let provider = Provider::new();
    rounds(test, "VECTIDE_POWER", ROUNDS, |seed| {
        let gone_on = catch_unwind(AssertUnwindSafe(|| recording.go_on(seed, Lies::None, &provider)));
        if let Err(panic) = gone_on {
            let folder = tempfile::tempdir().unwrap().keep();
            put(&recording.lose_power(seed, Lies::None).1, &folder.join("data"));
            eprintln!("the disk after the power was lost: {}", folder.display());
            resume_unwind(panic);
        }
    });
}

#[test]
fn when_the_power_is_lost_it_keeps_what_it_read_of_a_file() {
    let recording = Recording::make(Through::File, EMBEDDED);
    lose_power("when_the_power_is_lost_it_keeps_what_it_read_of_a_file", &recording);
}

#[test]
fn when_the_power_is_lost_it_keeps_vectors_that_are_but_a_cache() {
    let recording = Recording::make(Through::File, "discard");
    lose_power("when_the_power_is_lost_it_keeps_vectors_that_are_but_a_cache", &recording);
}

#[test]
fn when_the_power_is_lost_it_keeps_what_it_settled_of_standard_input() {
    let recording = Recording::make(Through::Stdin, EMBEDDED);
    lose_power("when_the_power_is_lost_it_keeps_what_it_settled_of_standard_input", &recording);
}

#[test]
fn when_the_power_is_lost_it_keeps_what_it_answered_202() {
    let recording = Recording::make(Through::Http, EMBEDDED);
    assert!(recording.began_a_log_anew(), "raise NOTES");
    lose_power("when_the_power_is_lost_it_keeps_what_it_answered_202", &recording);
}

/// These tests find it when something is not synced.
#[test]
fn on_a_disk_that_does_not_sync_something_is_lost_or_damaged() {
    let recording = Recording::make(Through::Http, EMBEDDED);
    let provider = Provider::new();
    for lies in [Lies::AboutFiles, Lies::AboutNames] {
        let fails = |seed| catch_unwind(AssertUnwindSafe(|| recording.go_on(seed, lies, &provider))).is_err();
        assert!((0..ROUNDS).any(fails), "{lies:?}");
    }
}
