//! A process that is told to stop under load: it finishes what it read as long as it may, says whether work is left, and the next
//! one does that.

use std::collections::HashSet;
#[cfg(feature = "qdrant")]
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

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
        telling.assert_stops(run);
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
        let mut run = stopping(&mut telling, &provider);
        run.wait_to_hear("a second signal ends the process at once");
        telling.signal(&run, "INT");
        assert_ends(run, 3);
        provider.open();
        telling.assert_kept();
        telling.finish();
    }
}

/// As on a terminal that was stopped, or with a pipe whose reader was.
#[cfg(target_os = "linux")]
#[test]
fn told_to_stop_twice_it_ends_though_nobody_takes_what_it_says() {
    use std::fs::{File, read_to_string};
    use std::os::unix::fs::OpenOptionsExt;

    let mut pipeline = Pipeline::new();
    pipeline.set("sources={input: {type: stdin}}");
    assert!(Command::new("mkfifo").arg(pipeline.path("full")).status().unwrap().success());
    const NONBLOCKING: i32 = 0o4000;
    let mut full =
        File::options().read(true).write(true).custom_flags(NONBLOCKING).open(pipeline.path("full")).unwrap();
    while full.write(&[b' '; 4096]).is_ok() {}
    let vectide = pipeline.command(&["run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" "$@" 2> full"#]).arg(vectide.get_program()).args(vectide.get_args());
    shell.current_dir(pipeline.path("")).stdin(Stdio::piped());
    let mut run = pipeline.spawn(shell);
    let (status, id) = (format!("/proc/{}/status", run.id()), run.id().to_string());
    run.wait_until("it listens for signals", || {
        let status = read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        const TERM: u64 = 1 << 14;
        u64::from_str_radix(caught.trim(), 16).unwrap() & TERM != 0
    });
    // Once it is at work, again and again, because it cannot say when it heard the first.
    let again = "sleep 1; while kill -TERM $0 2> /dev/null; do sleep 0.2; done";
    let mut signals = Command::new("sh").args(["-c", again, &id]).spawn().unwrap();
    assert_ends(run, 3);
    signals.wait().unwrap();
}

/// On a terminal, which `script` makes and keeps a copy of.
#[cfg(target_os = "linux")]
#[test]
fn told_to_stop_twice_it_leaves_no_progress_on_the_terminal() {
    // It takes calls and answers none.
    let provider = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pipeline = Pipeline::new();
    pipeline.write("input.jsonl", sound("a"));
    let address = provider.local_addr().unwrap();
    pipeline.set(format!("embedding={{provider: openai, model: m, dimensions: 8, base_url: \"http://{address}/\"}}"));
    let vectide = pipeline.command(&["run"]);
    let words = [vectide.get_program()].into_iter().chain(vectide.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", &format!("exec {}", line.join(" ")), "copy"]);
    script.current_dir(pipeline.path("")).stdin(Stdio::piped());
    for (name, _) in vectide.get_envs() {
        script.env_remove(name);
    }
    let mut run = pipeline.spawn(script);
    let mut keys = run.input();
    let copy = || String::from_utf8_lossy(&std::fs::read(pipeline.path("copy")).unwrap_or_default()).into_owned();
    const CTRL_C: &[u8] = b"\x03";
    run.wait_until("the progress is shown", || copy().contains("\r\x1b[2K"));
    keys.write_all(CTRL_C).unwrap();
    run.wait_until("it heard", || copy().contains("a second signal ends the process at once"));
    keys.write_all(CTRL_C).unwrap();
    assert_ends(run, 3);
    let copy = copy();
    let (_, behind) = copy.split_once("stopped at once by a second signal").expect(&copy);
    let (_, shown) = behind.split_once('\n').unwrap();
    let left = shown.rsplit("\x1b[2K").next().unwrap().trim();
    assert!(left.is_empty() || left.starts_with("Script done"), "{copy:?}");
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

/// The configuration is a pipe that says nothing until the signal was heard.
#[cfg(target_os = "linux")]
#[test]
fn told_to_stop_before_it_has_its_settings_it_ends_as_later() {
    let pipeline = Pipeline::new();
    let settings = std::fs::read(pipeline.path("config.yaml")).unwrap();
    let pipe = pipeline.path("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut run = pipeline.spawn(pipeline.command(&["--config", "pipe.yaml", "run"]));
    let status = PathBuf::from(format!("/proc/{}/status", run.id()));
    let caught = move || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let signals = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(signals.trim(), 16).unwrap_or_default()
    };
    const TERM_AND_INT: u64 = 1 << 14 | 1 << 1;
    run.wait_until("it listens", || caught() & TERM_AND_INT == TERM_AND_INT);
    run.signal("TERM");
    run.wait_to_hear("told to stop");
    std::fs::write(pipe, settings).unwrap();
    assert_ends(run, 3);
    assert!(!pipeline.path("data").exists() || pipeline.indexed() == 0);
}

#[test]
fn told_to_stop_before_everything_is_read_a_run_until_idle_says_that_work_is_left() {
    let story = Story::new(6, EVENTS);
    let provider = Provider::new();
    let mut telling = Telling::new(&story, Through::File, &provider);
    provider.close_at(100);
    let mut run = telling.start_until_idle();
    run.wait_until("calls are out", || provider.sent().len() >= 100);
    telling.signal(&run, "TERM");
    run.wait_to_hear("stopping: no more is read");
    provider.open();
    assert_stops_with_work_left(run);
    telling.finish();
}

fn assert_stops_with_work_left(run: Running) {
    let ended = assert_ends(run, 3);
    assert!(ended.said.contains("Stopped after") && ended.said.contains("with work left"), "{}", ended.said);
    assert!(!ended.said.contains("nothing new"), "{}", ended.said);
}

/// A pipeline whose index nobody serves.
#[cfg(feature = "qdrant")]
fn without_index() -> Pipeline {
    let mut pipeline = Pipeline::new();
    // Of this port nobody takes connections: it belongs to a service of the last century.
    pipeline.set("index={type: qdrant, url: 'http://127.0.0.1:1'}");
    pipeline.write("input.jsonl", sound("a"));
    pipeline
}

#[cfg(feature = "qdrant")]
#[test]
fn told_to_stop_while_it_waits_for_the_index_a_run_until_idle_says_that_work_is_left() {
    let pipeline = without_index();
    let mut run = pipeline.spawn(pipeline.command(&["run", "--until-idle"]));
    run.wait_to_hear("the index cannot be used");
    run.signal("TERM");
    assert_stops_with_work_left(run);
}

#[cfg(feature = "qdrant")]
#[test]
fn an_event_that_was_accepted_and_is_not_settled_is_work_left() {
    let mut pipeline = without_index();
    pipeline.set("sources={api: {type: http}}");
    pipeline.set("server.listen=127.0.0.1:0");
    let mut run = pipeline.start();
    let mut caller = TcpStream::connect(run.wait_for_address()).unwrap();
    let event = sound("a");
    let length = event.len();
    write!(
        caller,
        "POST /v1/events HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{event}"
    )
    .unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    run.signal("TERM");
    assert_stops_with_work_left(run);
}

/// As `timeout` does it: to the process, and to the group that it is in.
#[test]
fn two_signals_in_a_moment_are_one() {
    let story = Story::new(6, EVENTS);
    let provider = Provider::new();
    let mut telling = Telling::new(&story, Through::File, &provider);
    provider.close_at(100);
    let mut run = telling.start();
    run.wait_until("calls are out", || provider.sent().len() >= 100);
    // It gets both when it goes on.
    for signal in ["STOP", "TERM", "INT", "CONT"] {
        telling.signal(&run, signal);
    }
    run.wait_to_hear("a second signal ends the process at once");
    provider.open();
    telling.assert_stops(run);
    telling.finish();
}

#[test]
fn a_second_signal_ends_a_process_that_is_about_to_end_by_itself() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources={input: {type: stdin}}");
    pipeline.set("server.listen=127.0.0.1:0");
    let mut command = pipeline.command(&["run", "--until-idle"]);
    command.stdin(Stdio::piped());
    let mut run = pipeline.spawn(command);
    let (input, address) = (run.input(), run.wait_for_address());
    let mut caller = TcpStream::connect(address).unwrap();
    // The rest of this request is waited for, some seconds.
    caller.write_all(b"POST /v1/search HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{").unwrap();
    drop(input);
    let taken_in = || TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok();
    run.wait_until("no more connections are taken in", || !taken_in());
    run.signal("TERM");
    run.wait_to_hear("a second signal ends the process at once");
    run.signal("INT");
    assert_ends(run, 3);
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
        telling.assert_stops(run);
        telling.assert_kept();
    }
    assert!(!telling.callers().are_done(), "the last process has something to do");
    // Finishing checks the answers too.
    telling.finish();
}
