//! A process that is told to stop under load: it finishes what it read as long as it may, says whether work is left, and the next
//! one does that.

use std::collections::HashSet;
use std::io::Write;
use std::process::Stdio;

use crate::pipeline::{Ended, Pipeline, Running, sound};
use crate::provider::Provider;
use crate::story::Story;
use crate::telling::{Telling, Through};

const EVENTS: usize = 3000;

/// A run under load that is told to stop while nobody answers its calls, and has heard it.
fn stopping(telling: &mut Telling, provider: &Provider) -> Running {
    provider.close_at(100);
    let mut run = telling.start();
    run.wait_until("calls are out", || provider.sent().len() >= 100);
    telling.signal(&run, "TERM");
    run.wait_to_hear("stopping: no more is read");
    run
}

fn assert_ends(run: Running, code: i32) -> Ended {
    let ended = run.end();
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    ended
}

#[test]
fn told_to_stop_it_finishes_what_it_read_and_the_next_run_does_the_rest() {
    for through in Through::ALL {
        let story = Story::new(2, EVENTS);
        let provider = Provider::new();
        let mut telling = Telling::new(&story, through, &provider);
        let run = stopping(&mut telling, &provider);
        provider.open();
        assert_ends(run, 0);
        let paid = provider.sent().len();
        assert_eq!(provider.kept_by(&telling.pipeline).len(), paid, "what was paid for is kept");
        telling.assert_kept();
        telling.finish();
        let sent = provider.sent();
        assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len(), "no text is paid for twice");
    }
}

#[test]
fn when_its_time_is_over_it_ends_with_work_left_and_the_next_run_does_it() {
    for through in Through::ALL {
        let story = Story::new(3, EVENTS);
        let provider = Provider::new();
        let mut telling = Telling::new(&story, through, &provider);
        telling.pipeline.set("shutdown.grace=200ms");
        let run = stopping(&mut telling, &provider);
        let ended = assert_ends(run, 3);
        assert!(ended.said.contains("with work left"), "{}", ended.said);
        provider.open();
        telling.assert_kept();
        telling.pipeline.set("shutdown.grace=1h");
        telling.finish();
    }
}

#[test]
fn told_to_stop_twice_it_ends_at_once_with_work_left_and_the_next_run_does_it() {
    for through in Through::ALL {
        let story = Story::new(4, EVENTS);
        let provider = Provider::new();
        let mut telling = Telling::new(&story, through, &provider);
        // Longer than the test waits.
        telling.pipeline.set("shutdown.grace=1h");
        let run = stopping(&mut telling, &provider);
        telling.signal(&run, "INT");
        assert_ends(run, 3);
        provider.open();
        telling.assert_kept();
        telling.finish();
    }
}

#[test]
fn told_to_stop_while_it_waits_for_standard_input_it_ends() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources={input: {type: stdin}}");
    let mut command = pipeline.command(&["run"]);
    command.stdin(Stdio::piped());
    let mut run = pipeline.spawn(command);
    let mut input = run.input();
    input.write_all(sound("a").as_bytes()).unwrap();
    run.wait_until("the line is indexed", || pipeline.indexed() == 1);
    run.signal("TERM");
    assert_ends(run, 0);
}

/// One process after the other under callers that never pause, and that are answered by whichever they reach.
#[test]
fn restarted_under_load_it_loses_nothing_and_answers_with_success_or_later() {
    const RESTARTS: usize = 10;
    let story = Story::new(5, EVENTS);
    let provider = Provider::new();
    let mut telling = Telling::new(&story, Through::Http, &provider);
    for restart in 1..RESTARTS {
        let mut run = telling.start();
        let part = story.lines.len() * restart / RESTARTS;
        run.wait_until("a part is accepted", || telling.callers().accepted().len() >= part);
        telling.signal(&run, "TERM");
        assert_ends(run, 0);
        telling.assert_kept();
    }
    assert!(!telling.callers().are_done(), "the last process has something to do");
    // Finishing checks the answers too.
    telling.finish();
}
