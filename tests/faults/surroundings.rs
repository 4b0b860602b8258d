//! Files, folders and disks that fail: each gives a clear message, nothing is lost, and what is sound goes on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rusqlite::{Connection, TransactionBehavior};

use crate::pipeline::{Ended, Pipeline, binary, sound};

/// What `EX_SOFTWARE` is: it did not work.
const FAILED: Option<i32> = Some(70);
/// What `EX_CONFIG` is.
const MISCONFIGURED: Option<i32> = Some(78);

fn assert_says(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(ended.said.contains(word), "it should say `{word}`: {}", ended.said);
    }
}

/// A pipeline that has read one document.
fn with_one_document() -> Pipeline {
    let pipeline = Pipeline::new();
    pipeline.write("input.jsonl", sound("a"));
    pipeline.run_well();
    pipeline
}

#[test]
fn a_file_that_is_not_there_is_named_and_the_other_source_is_read() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources={input: {type: file, path: input.jsonl}, gone: {type: file, path: gone.jsonl}}");
    pipeline.write("input.jsonl", sound("a"));
    let ended = pipeline.run();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["source gone: there is no file `gone.jsonl`"]);
    assert_eq!(pipeline.ids(), ["a"]);
}

#[test]
fn a_file_that_vanished_leaves_its_documents() {
    let pipeline = with_one_document();
    fs::remove_file(pipeline.path("input.jsonl")).unwrap();
    let ended = pipeline.run();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["there is no file `input.jsonl`"]);
    assert_eq!(pipeline.ids(), ["a"]);
}

#[test]
fn a_followed_file_may_vanish_and_come_back() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut run = pipeline.start();
    run.wait_until("the first file is read", || pipeline.indexed() == 1);
    fs::remove_file(pipeline.path("input.jsonl")).unwrap();
    run.wait_to_hear("a file is gone; it was read to its end");
    pipeline.write("input.jsonl", sound("b") + &sound("c"));
    run.wait_until("the new file is read", || pipeline.indexed() == 3);
    run.signal("TERM");
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_are_read() {
    for (name, content, reason) in [
        ("b.csv", "id,id\n1,2\n", "the header line names the column `id` twice"),
        ("b.parquet", "no Parquet at all", "Parquet"),
    ] {
        let mut pipeline = Pipeline::new();
        pipeline.set("sources.input.path=files");
        pipeline.write("files/a.jsonl", sound("a"));
        pipeline.write(&format!("files/{name}"), content);
        pipeline.write("files/c.jsonl", sound("c"));
        let ended = pipeline.run();
        assert_eq!(ended.code, FAILED, "{}", ended.said);
        assert_says(&ended, &[&format!("`files/{name}` cannot be read"), reason]);
        assert_eq!(pipeline.ids(), ["a", "c"], "{name}");
    }
}

#[test]
fn a_damaged_compressed_file_is_a_dead_letter_behind_what_can_be_read_of_it() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.path=files");
    let lines: String = (0..10_000).map(|number| sound(&format!("b{number}"))).collect();
    let mut damaged = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    damaged.truncate(damaged.len() / 2);
    pipeline.write("files/b.jsonl.zst", damaged);
    pipeline.write("files/c.jsonl", sound("c"));
    pipeline.run_well();
    let letters = pipeline.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].letter.reason.contains("cannot be decompressed further"), "{}", letters[0].letter.reason);
    let ids = pipeline.ids();
    assert!(ids.contains(&"b0".to_owned()) && ids.contains(&"c".to_owned()), "{}", ids.len());
}

/// A limit on the size of files stands for a disk that is full: to write beyond either fails, and it needs no rights of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_waited_for() {
    let pipeline = Pipeline::new();
    let lines: Vec<String> = (0..2000).map(|number| sound(&format!("{number:04}"))).collect();
    pipeline.write("input.jsonl", lines.concat());
    let limited = "ulimit -S -f 512; exec \"$0\" \"$@\"";
    let vectide = pipeline.command(&["run", "--until-idle"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", limited]).arg(vectide.get_program()).args(vectide.get_args()).current_dir(pipeline.path(""));
    let mut run = pipeline.spawn(shell);
    run.wait_to_hear("waiting until it can");
    assert!(run.said().contains("ledger.sqlite"), "{}", run.said());
    let more = Command::new("prlimit").args(["--pid", &run.id().to_string(), "--fsize=unlimited"]).status().unwrap();
    assert!(more.success());
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(pipeline.ids().len(), 2000);
    assert_eq!(pipeline.dead_letters(), []);
}

#[test]
fn a_data_folder_that_may_not_be_written_to_is_named() {
    let pipeline = with_one_document();
    let before = pipeline.documents();
    let folder = pipeline.path("data");
    for path in [&folder, &folder.join("ledger.sqlite"), &folder.join("lock")] {
        fs::set_permissions(path, Permissions::from_mode(if path.is_dir() { 0o555 } else { 0o444 })).unwrap();
    }
    let mut command = pipeline.command(&["run", "--until-idle"]);
    if fs::write(folder.join("probe"), "").is_ok() {
        // The superuser may write everywhere: run as nobody, a program that nobody may read.
        fs::remove_file(folder.join("probe")).unwrap();
        let program = pipeline.path("vectide");
        fs::copy(binary(), &program).unwrap();
        for path in [&pipeline.path(""), &program] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        command = pipeline.command_of(&program, &["run", "--until-idle"]);
        command.uid(65534).gid(65534);
    }
    let ended = pipeline.spawn(command).end();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/lock", "make the folder writable for this user, or set `state.path` to one that is"]);
    assert_eq!(pipeline.documents(), before);
}

#[test]
fn a_file_where_the_data_folder_should_be_is_named() {
    let pipeline = Pipeline::new();
    pipeline.write("input.jsonl", sound("a"));
    pipeline.write("data", "a file");
    let ended = pipeline.run();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data", "a file is in the way: set `state.path` to a folder"]);
}

#[test]
fn a_dry_run_over_an_index_is_refused_and_leaves_it_as_it_was() {
    let mut pipeline = with_one_document();
    let discard = "index={type: discard}";
    let looked = pipeline.command(&["--set", discard, "search", "stockings"]).output().unwrap();
    assert!(String::from_utf8_lossy(&looked.stderr).contains("the index keeps nothing"), "{looked:?}");
    pipeline.set(discard);
    let refused = pipeline.run();
    assert_eq!(refused.code, MISCONFIGURED, "{}", refused.said);
    let reason =
        "it holds an index of 1 document, and `index.type: discard` would empty it: set `state.path` to another folder";
    assert_says(&refused, &["data/ledger.sqlite", reason]);
    let checked = pipeline.command(&["check", "--connect"]).output().unwrap();
    assert!(String::from_utf8_lossy(&checked.stdout).contains(reason), "{checked:?}");
    pipeline.set("index={type: embedded}");
    assert_eq!(pipeline.ids(), ["a"]);
}

#[test]
fn a_corrupt_graph_costs_time_and_no_data() {
    let pipeline = with_one_document();
    let graph = pipeline.path("data/graph.usearch");
    let sound = fs::read(&graph).unwrap();
    let mut damaged = sound.clone();
    damaged[50] ^= 1;
    for (case, spoilt) in [("cut off", sound[..100].to_vec()), ("damaged", damaged), ("no graph", vec![7; 5000])] {
        fs::write(&graph, spoilt).unwrap();
        let searched = pipeline.command(&["search", "stockings for cold feet", "--json"]).output().unwrap();
        let hits: serde_json::Value = serde_json::from_slice(&searched.stdout).unwrap();
        assert_eq!(hits["hits"][0]["id"], "a", "{case}: a search goes on without the graph");
        let ended = pipeline.run_well();
        assert_says(&ended, &["making the search graph anew", "data/graph.usearch", case]);
        let ended = pipeline.run_well();
        assert!(!ended.said.contains("making the search graph anew"), "{case}: the new graph is sound");
    }
}

#[test]
fn a_graph_that_cannot_be_saved_costs_time_and_no_data() {
    let pipeline = Pipeline::new();
    pipeline.write("input.jsonl", sound("a"));
    pipeline.write("data/graph.saving/in the way", "");
    let ended = pipeline.run_well();
    assert_says(&ended, &["cannot save the search graph as data/graph.usearch", "the next start takes longer"]);
    assert_eq!(pipeline.ids(), ["a"]);
}

#[test]
fn a_corrupt_ledger_is_told_and_left_as_it_is() {
    let pipeline = with_one_document();
    let ledger = pipeline.path("data/ledger.sqlite");
    let sound = fs::read(&ledger).unwrap();
    for (case, damaged) in [("no database", vec![7; 20_000]), ("nothing but its head", sound[..100].to_vec())] {
        fs::write(&ledger, &damaged).unwrap();
        let ended = pipeline.run();
        assert_eq!(ended.code, FAILED, "{case}: {}", ended.said);
        assert_says(&ended, &["data/ledger.sqlite", "damaged"]);
        assert_eq!(fs::read(&ledger).unwrap(), damaged, "{case}");
    }
    fs::write(&ledger, sound).unwrap();
    pipeline.run_well();
}

#[test]
fn a_ledger_that_is_damaged_inside_ends_the_run() {
    let pipeline = Pipeline::new();
    let lines: String = (0..500).map(|number| sound(&number.to_string())).collect();
    pipeline.write("input.jsonl", lines);
    pipeline.run_well();
    let ledger = pipeline.path("data/ledger.sqlite");
    let mut bytes = fs::read(&ledger).unwrap();
    let pages = bytes.len() / 8192;
    for page in 4..pages {
        bytes[page * 8192..(page + 1) * 8192].fill(7);
    }
    fs::write(&ledger, bytes).unwrap();
    pipeline.append("input.jsonl", sound("new"));
    let ended = pipeline.run();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/ledger.sqlite", "damaged"]);
}

#[test]
fn a_ledger_without_its_vectors_is_told_and_left_as_it_is() {
    let pipeline = with_one_document();
    let vectors = pipeline.path("data/vectors.bin");
    let sound = fs::read(&vectors).unwrap();
    fs::remove_file(&vectors).unwrap();
    for ended in [pipeline.run(), pipeline.spawn(pipeline.command(&["search", "stockings for cold feet"])).end()] {
        assert_eq!(ended.code, FAILED, "{}", ended.said);
        assert_says(&ended, &["data/ledger.sqlite", "data/vectors.bin, which holds its vectors, is missing"]);
        assert!(!vectors.exists());
    }
    fs::write(&vectors, sound).unwrap();
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["a"]);
}

#[test]
fn vectors_that_are_removed_meanwhile_end_the_run() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut run = pipeline.start();
    run.wait_until("the first document is there", || pipeline.indexed() == 1);
    fs::remove_file(pipeline.path("data/vectors.bin")).unwrap();
    pipeline.append("input.jsonl", sound("b"));
    let ended = run.end();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/vectors.bin", "removed, moved away or replaced while it was in use"]);
}

#[test]
fn a_ledger_that_is_removed_meanwhile_ends_the_run() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut run = pipeline.start();
    run.wait_until("the first document is there", || pipeline.indexed() == 1);
    fs::remove_dir_all(pipeline.path("data")).unwrap();
    pipeline.append("input.jsonl", sound("b"));
    let ended = run.end();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/ledger.sqlite", "removed, moved away or replaced while it was in use"]);
    pipeline.run_well();
    assert_eq!(pipeline.ids(), ["a", "b"]);
}

/// As when somebody empties the folder and begins anew beside a process that runs.
#[test]
fn a_ledger_that_is_replaced_meanwhile_ends_the_run() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut run = pipeline.start();
    run.wait_until("the first document is there", || pipeline.indexed() == 1);
    let other = with_one_document();
    fs::remove_dir_all(pipeline.path("data")).unwrap();
    fs::rename(other.path("data"), pipeline.path("data")).unwrap();
    pipeline.append("input.jsonl", sound("b"));
    let ended = run.end();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/ledger.sqlite", "removed, moved away or replaced while it was in use"]);
}

#[test]
fn a_ledger_that_another_program_locked_is_told_at_the_start() {
    let pipeline = with_one_document();
    let mut theirs = Connection::open(pipeline.path("data/ledger.sqlite")).unwrap();
    let _lock = theirs.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let ended = pipeline.run();
    assert_eq!(ended.code, FAILED, "{}", ended.said);
    assert_says(&ended, &["data/ledger.sqlite", "another process is writing to it"]);
}

#[test]
fn a_ledger_that_another_program_locks_meanwhile_is_waited_for() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut run = pipeline.start();
    run.wait_until("the first document is there", || pipeline.indexed() == 1);
    let mut theirs = Connection::open(pipeline.path("data/ledger.sqlite")).unwrap();
    let lock = theirs.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    pipeline.append("input.jsonl", sound("b"));
    run.wait_to_hear("another process is writing to it");
    lock.rollback().unwrap();
    run.wait_until("the second document is there", || pipeline.indexed() == 2);
    run.signal("TERM");
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn a_second_process_on_one_data_folder_is_refused_and_the_first_goes_on() {
    let mut pipeline = Pipeline::new();
    pipeline.set("sources.input.follow=true");
    pipeline.write("input.jsonl", sound("a"));
    let mut first = pipeline.start();
    first.wait_until("the first document is there", || pipeline.indexed() == 1);
    let second = pipeline.run();
    assert_eq!(second.code, FAILED, "{}", second.said);
    assert_says(&second, &[&format!("process {} is running on data", first.id())]);
    pipeline.append("input.jsonl", sound("b"));
    first.wait_until("the second document is there", || pipeline.indexed() == 2);
}
