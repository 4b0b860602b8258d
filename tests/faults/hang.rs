//! A disk that does not answer: whoever waits for it is not waited for.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::pipeline::{Pipeline, Running, binary, sound};
use crate::preload;

/// A pipeline whose disk can be made to hang.
struct Hanging {
    pipeline: Pipeline,
    _library: TempDir,
}

impl Hanging {
    fn new() -> Self {
        let library = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline::new();
        pipeline.set_variable("LD_PRELOAD", preload::library("hang.c", &library));
        pipeline.set_variable("HANGS_WHILE", pipeline.path("hangs"));
        pipeline.set_variable("WAITS", pipeline.path("waits"));
        pipeline.set("sources={input: {type: file, path: input.jsonl, follow: true}}");
        Self { pipeline, _library: library }
    }

    /// A run that read one line, and then another that it cannot write down.
    fn run(&self, program: &Path) -> Running {
        self.pipeline.write("input.jsonl", sound("a"));
        let mut run = self.pipeline.spawn(self.pipeline.command_of(program, &["run"]));
        run.wait_until("a line is settled", || self.pipeline.number("SELECT ordinal FROM positions") == Some(1));
        self.pipeline.write("hangs", "");
        self.pipeline.append("input.jsonl", sound("b"));
        run.wait_until("it waits for the disk", || self.pipeline.path("waits").exists());
        run
    }

    fn assert_nothing_is_lost(mut self) {
        fs::remove_file(self.pipeline.path("hangs")).unwrap();
        self.pipeline.set("sources={input: {type: file, path: input.jsonl}}");
        self.pipeline.run_well();
        assert_eq!(self.pipeline.ids(), ["a", "b"]);
    }
}

/// Only this build, with the test kit, looks often enough to find it before the test would be given up.
#[cfg(feature = "testkit")]
#[test]
fn a_ledger_that_hangs_ends_the_process_which_says_so() {
    let mut hanging = Hanging::new();
    hanging.pipeline.set_variable("VECTIDE_LOOK_EVERY_MS", "20");
    let ended = hanging.run(Path::new(env!("CARGO_BIN_EXE_vectide"))).end();
    assert_eq!(ended.code, Some(70), "{}", ended.said);
    assert!(ended.said.contains("does not end a call to write documents"), "{}", ended.said);
    hanging.assert_nothing_is_lost();
}

#[test]
fn told_to_stop_while_the_ledger_hangs_it_ends_with_work_left() {
    let mut hanging = Hanging::new();
    hanging.pipeline.set("shutdown.grace=200ms");
    let run = hanging.run(&binary());
    run.signal("TERM");
    let ended = run.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("the ledger hangs"), "{}", ended.said);
    hanging.assert_nothing_is_lost();
}

/// Else the power could take the whole folder.
#[test]
fn a_new_data_folder_has_its_name_on_the_disk_before_anything_is_in_it() {
    let mut hanging = Hanging::new();
    hanging.pipeline.set("state.path=deep/data");
    let (pipeline, root) = (&hanging.pipeline, hanging.pipeline.path("").canonicalize().unwrap());
    for above in [root.join("deep"), root] {
        pipeline.write("hangs", "");
        let mut command = pipeline.command(&["run", "--until-idle"]);
        command.env("HANGS_AT", above);
        let mut run = pipeline.spawn(command);
        run.wait_until("the folder above is synced", || pipeline.path("waits").exists());
        assert!(!pipeline.path("deep/data/ledger.sqlite").exists());
        drop(run);
        fs::remove_dir_all(pipeline.path("deep")).unwrap();
        fs::remove_file(pipeline.path("waits")).unwrap();
    }
}
