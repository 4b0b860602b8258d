use std::os::unix::fs::MetadataExt;

use tokio::time::Instant;

use super::super::follow::{Descriptors, Follow, GRACE};
use super::super::{POLL, Reader};
use super::*;

#[tokio::test(start_paused = true)]
async fn appended_lines_are_read_when_they_are_whole() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n{2", 1);
    let mut source = folder.open("app.log", vec![]).await;
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
    folder.append("app.log", "}\n{3}\n");
    let more = drain(&mut source).await.unwrap();
    assert_eq!(texts(&more), ["{2}", "{3}"]);
    assert_eq!(more[1].version.as_nanos(), 1_000_000_003, "a version does not change with the file");
    assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
    assert_eq!(source.remaining_bytes(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn files_that_had_nothing_are_left_alone_until_the_next_look() {
    let folder = Folder::followed();
    folder.write("app.log", "", 1);
    let mut source = folder.open("app.log", vec![]).await;
    for _ in 0..3 {
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
        folder.append("app.log", "{1}\n");
        let asked = Instant::now();
        assert!(matches!(source.read(ROOM).await, Ok(Read::Records(_))));
        let waited = asked.elapsed();
        assert!(waited >= POLL && waited < POLL * 2, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_without_a_whole_line_at_first_is_read_as_it_grows() {
    for begun in ["", "{"] {
        let folder = Folder::followed();
        folder.write("app.log", begun, 1);
        let mut source = folder.open("app.log", vec![]).await;
        assert!(drain(&mut source).await.unwrap().is_empty(), "`{begun}` is no line yet");
        folder.append("app.log", if begun.is_empty() { "{1}\n" } else { "1}\n" });
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
        folder.append("app.log", "{2}\n");
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_read_to_its_end_is_read_on_after_a_restart() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let before = folder.read("app.log", vec![]).await;
    let mut source = folder.open("app.log", positions(&before)).await;
    assert!(drain(&mut source).await.unwrap().is_empty());
    folder.append("app.log", "{2}\n");
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_a_file_that_grew() {
    let folder = Folder::followed();
    for first in ["", "{1}\n", &"{1}\n".repeat(40_000)] {
        folder.write("app.log", first, 1);
        let before = folder.read("app.log", vec![]).await;
        folder.append("app.log", "{2}\n");
        assert_eq!(texts(&folder.read("app.log", positions(&before)).await), ["{2}"], "{} bytes before", first.len());
    }
}

#[tokio::test(start_paused = true)]
async fn rotation_by_rename_loses_and_repeats_nothing() {
    for pattern in ["app.log", "app.log*"] {
        let folder = Folder::followed();
        folder.write("app.log", "{1}\n", 1);
        let mut source = folder.open(pattern, vec![]).await;
        let mut records = drain(&mut source).await.unwrap();
        folder.append("app.log", "{2}\n");
        folder.rename("app.log", "app.log.1");
        folder.write("app.log", "{3}\n", 2);
        records.extend(drain(&mut source).await.unwrap());
        assert_eq!(texts(&records), ["{1}", "{2}", "{3}"], "{pattern}");
        assert!(records.windows(2).all(|pair| pair[0].version < pair[1].version), "{pattern}");
        folder.append("app.log", "{4}\n");
        records.extend(drain(&mut source).await.unwrap());
        assert_eq!(texts(&records)[3..], ["{4}"], "{pattern}");
        // The restart knows both, whichever of their positions was committed last.
        assert!(folder.read(pattern, positions(&records)).await.is_empty(), "{pattern}");
        assert_eq!(texts(&folder.read(pattern, positions(&records[..3])).await), ["{4}"], "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_rotations_while_running_or_not_are_followed() {
    for restarts in [false, true] {
        let folder = Folder::followed();
        folder.write("app.log", "{0}\n", 1);
        let mut source = folder.open("app.log*", vec![]).await;
        let mut records = drain(&mut source).await.unwrap();
        for round in 1..5 {
            for age in (1..round).rev() {
                folder.rename(&format!("app.log.{age}"), &format!("app.log.{}", age + 1));
            }
            folder.rename("app.log", "app.log.1");
            folder.write("app.log", format!("{{{round}}}\n"), 1 + round);
            if restarts {
                source = folder.open("app.log*", positions(&records)).await;
            }
            records.extend(drain(&mut source).await.unwrap());
        }
        assert_eq!(texts(&records), ["{0}", "{1}", "{2}", "{3}", "{4}"], "restarts: {restarts}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_renamed_during_a_restart_is_read_on_under_its_new_name() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let before = folder.read("app.log*", vec![]).await;
    folder.append("app.log", "{2}\n");
    folder.rename("app.log", "app.log.1");
    folder.write("app.log", "{3}\n", 2);
    let mut after = folder.read("app.log*", positions(&before)).await;
    after.sort_by_key(|record| record.version);
    assert_eq!(texts(&after), ["{2}", "{3}"]);
}

#[tokio::test(start_paused = true)]
async fn late_lines_of_a_writer_that_keeps_the_old_file_are_read() {
    // How long nothing is read before each look.
    for (pattern, pause) in ["app.log", "app.log*"].into_iter().flat_map(|p| [(p, GRACE / 2), (p, 2 * GRACE)]) {
        let folder = Folder::followed();
        folder.write("app.log", "{1}\n", 1);
        let mut source = folder.open(pattern, vec![]).await;
        let mut records = drain(&mut source).await.unwrap();
        folder.rename("app.log", "app.log.1");
        records.extend(drain(&mut source).await.unwrap());
        for line in ["{2}\n", "{3}\n", "{4}\n"] {
            folder.append("app.log.1", line);
            tokio::time::sleep(pause).await;
            records.extend(drain(&mut source).await.unwrap());
        }
        assert_eq!(texts(&records), ["{1}", "{2}", "{3}", "{4}"], "{pattern}, read every {pause:?}");
        // The last one comes with the first of the next file.
        folder.append("app.log.1", "{5}\n");
        folder.write("app.log", "{6}\n", 2);
        records.extend(drain(&mut source).await.unwrap());
        let mut given = texts(&records);
        given.sort_unstable();
        assert_eq!(given, ["{1}", "{2}", "{3}", "{4}", "{5}", "{6}"], "{pattern}, read every {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_and_written_to_is_read_on_beside_the_one_that_has_its_name() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut source = folder.open("app.log", vec![]).await;
    let mut kept = Kept::new();
    drain_into(&mut source, &mut kept).await.unwrap();
    let mut late = File::options().append(true).open(folder.path("app.log")).unwrap();
    folder.rename("app.log", "away");
    folder.write("app.log", "{2}\n", 2);
    for expected in [&["{late}", "{2}"][..], &["{late}"], &["{late}"]] {
        late.write_all(b"{late}\n").unwrap();
        assert_eq!(texts(&drain_into(&mut source, &mut kept).await.unwrap()), expected);
        tokio::time::sleep(GRACE).await;
    }
    let names = || kept.keys().map(|name| name.strip_prefix(&folder.name("")).unwrap());
    assert!(names().eq(["app.log".to_owned(), format!("app.log (gone, number {})", late.metadata().unwrap().ino())]));
    assert!(folder.read("app.log", kept.into_values().collect()).await.is_empty());
}

/// As when rotation renames a file after it was looked for under its new name, and before it is under its old one.
#[tokio::test(start_paused = true)]
async fn a_file_that_a_scan_misses_is_known_after_a_restart() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut source = folder.open("app.log*", vec![]).await;
    let mut records = drain(&mut source).await.unwrap();
    folder.rename("app.log", "away");
    folder.write("app.log", "{2}\n", 2);
    source.watch().await.unwrap();
    folder.rename("away", "app.log.1");
    records.extend(drain(&mut source).await.unwrap());
    assert_eq!(texts(&records), ["{1}", "{2}"]);
    assert!(folder.read("app.log*", positions(&records)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_file_of_a_rotation_that_was_undone_at_once_is_read() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut source = folder.open("app.log", vec![]).await;
    let mut records = drain(&mut source).await.unwrap();
    folder.rename("app.log", "app.log.1");
    folder.write("app.log", "{2}\n", 2);
    source.watch().await.unwrap();
    folder.rename("app.log.1", "app.log");
    folder.append("app.log", "{3}\n");
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        records.extend(drain(&mut source).await.unwrap());
    }
    let mut given = texts(&records);
    given.sort_unstable();
    assert_eq!(given, ["{1}", "{2}", "{3}"]);
    assert!(folder.read("app.log", positions(&records)).await.is_empty());
}

/// A provider is down for hours, and nothing is read.
#[tokio::test(start_paused = true)]
async fn files_that_are_rotated_away_while_nothing_is_read_are_read_after_it() {
    for pattern in ["app.log", "app.log*"] {
        let folder = Folder::followed();
        folder.write("app.log", "{0}\n", 1);
        let mut source = folder.open(pattern, vec![]).await;
        let mut records = drain(&mut source).await.unwrap();
        folder.append("app.log", "{1}\n");
        for round in 2..6 {
            folder.rename("app.log", &format!("app.log.{round}"));
            folder.write("app.log", format!("{{{round}}}\n"), round);
            tokio::time::sleep(2 * GRACE).await;
            source.watch().await.unwrap();
        }
        records.extend(drain(&mut source).await.unwrap());
        folder.append("app.log", "{6}\n");
        records.extend(drain(&mut source).await.unwrap());
        let mut given = records.clone();
        given.sort_by_key(|record| record.version);
        assert_eq!(texts(&given), ["{0}", "{1}", "{2}", "{3}", "{4}", "{5}", "{6}"], "{pattern}");
        assert!(folder.read(pattern, positions(&records)).await.is_empty(), "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_overwritten_file_is_read_from_the_start_as_newer() {
    // (what happens, the new content)
    let cases = [
        ("copytruncate", "{3}\n"),
        ("longer than before", "{3}\n{4}\n{5}\n{6}\n"),
        ("as long as before", "{3}\n{4}\n"),
    ];
    for (case, content) in cases {
        let folder = Folder::followed();
        folder.write("app.log", "{1}\n{2}\n", 5);
        let mut source = folder.open("app.log", vec![]).await;
        let before = drain(&mut source).await.unwrap();
        folder.write("app.log", content, 6);
        let after = drain(&mut source).await.unwrap();
        assert_eq!(texts(&after), content.lines().collect::<Vec<_>>(), "{case}");
        assert!(after[0].version > before[1].version, "{case}");
        assert!(folder.read("app.log", positions(&after)).await.is_empty(), "{case}: known after a restart");
        assert_eq!(
            folder.read("app.log", positions(&before)).await.len(),
            after.len(),
            "{case}: not taken for the old one"
        );
    }
}

/// As a dump that is made anew: it begins as before for longer than a beginning is compared, and differs behind.
#[tokio::test(start_paused = true)]
async fn another_content_that_begins_the_same_is_read_from_the_start() {
    let same = "{same}\n".repeat(20_000);
    for restarts in [false, true] {
        let folder = Folder::followed();
        folder.write("app.log", format!("{same}{{1}}\n"), 5);
        let mut source = folder.open("app.log", vec![]).await;
        let before = drain(&mut source).await.unwrap();
        assert_eq!(before.len(), 20_001);
        folder.write("app.log", format!("{same}{{2}}\n{{3}}\n"), 6);
        if restarts {
            source = folder.open("app.log", positions(&before)).await;
        }
        let after = drain(&mut source).await.unwrap();
        assert_eq!(texts(&after)[20_000..], ["{2}", "{3}"], "restarts: {restarts}");
        assert!(after[0].version > before[20_000].version, "restarts: {restarts}");
        assert!(folder.read("app.log", positions(&after)).await.is_empty(), "restarts: {restarts}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_made_anew_is_another_one_whatever_its_number() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    if folder.path("app.log").metadata().unwrap().created().is_err() {
        return eprintln!("SKIPPED: the file system of {} does not tell when a file was made", folder.name(""));
    }
    let mut positions = positions(&folder.read("app.log", vec![]).await);
    assert!(folder.read("app.log", positions.clone()).await.is_empty());
    let detail = positions[0].partition.detail.replace("\"born\":", "\"born\":-");
    positions[0] = with_detail(&positions[0], detail);
    assert_eq!(texts(&folder.read("app.log", positions).await), ["{1}"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_on_from_the_middle_of_what_was_read_of_it() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n{2}\n{3", 1);
    let before = folder.read("app.log", vec![]).await;
    folder.append("app.log", "}\n");
    assert_eq!(texts(&folder.read("app.log", positions(&before[..1])).await), ["{2}", "{3}"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_tells_neither_birth_nor_tail_is_understood() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut positions = positions(&folder.read("app.log", vec![]).await);
    let mut detail: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&positions[0].partition.detail).unwrap();
    detail.remove("born");
    assert!(detail.remove("tail").is_some());
    positions[0] = with_detail(&positions[0], serde_json::Value::from(detail).to_string());
    folder.append("app.log", "{2}\n");
    assert_eq!(texts(&folder.read("app.log", positions).await), ["{2}"]);
}

#[tokio::test(start_paused = true)]
async fn files_that_appear_later_are_read() {
    let folder = Folder::followed();
    let mut source = folder.open("", vec![]).await;
    assert!(drain(&mut source).await.unwrap().is_empty(), "an empty folder may be followed");
    folder.write("a.log", "{1}\n", 1);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
    folder.write("b.log", "{2}\n", 1);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_is_read_to_its_end_and_its_name_is_free_again() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n{2}\n", 1);
    let mut source = folder.open("app.log", vec![]).await;
    let Ok(Read::Records(first)) = source.read(Room { records: 1, bytes: 100 }).await else {
        panic!("a line is there")
    };
    fs::remove_file(folder.path("app.log")).unwrap();
    assert_eq!(texts(&first), ["{1}"]);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
    tokio::time::sleep(GRACE).await;
    assert!(drain(&mut source).await.unwrap().is_empty());
    folder.write("app.log", "{3}\n", 2);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{3}"]);
}

#[tokio::test(start_paused = true)]
async fn a_last_line_whose_line_feed_never_came_is_read_when_its_file_is_gone() {
    for (name, content, expected) in
        [("app.log", "{1}\n{2}", "{2}"), ("app.log", "{1}\n\n", ""), ("a.csv", "id\n1\n2", "{\"id\":\"2\"}")]
    {
        let format = if name == "a.csv" { FileFormat::Csv } else { FileFormat::Jsonl };
        let folder = Folder { format: Some(format), ..Folder::followed() };
        folder.write(name, content, 1);
        let mut source = folder.open(name, vec![]).await;
        assert_eq!(drain(&mut source).await.unwrap().len(), 1, "{content}");
        fs::remove_file(folder.path(name)).unwrap();
        assert!(drain(&mut source).await.unwrap().is_empty(), "a writer may still have it open");
        tokio::time::sleep(GRACE).await;
        assert_eq!(texts(&drain(&mut source).await.unwrap()).concat(), expected);
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
        assert_eq!(source.remaining_bytes(), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_line_is_read_too_when_its_whole_folder_is_gone() {
    let paths = ["pods/*/app.log", "pods/one/*.log", "pods/one/app.log"];
    for (path, is_replaced) in paths.into_iter().flat_map(|path| [(path, false), (path, true)]) {
        let folder = Folder::followed();
        fs::create_dir_all(folder.path("pods/one")).unwrap();
        folder.write("pods/one/app.log", "{1}\n{2}", 1);
        let mut source = folder.open(path, vec![]).await;
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
        fs::remove_dir_all(folder.path("pods/one")).unwrap();
        if is_replaced {
            folder.write("pods/one", "no folder", 2);
        }
        assert!(drain(&mut source).await.unwrap().is_empty(), "a writer may still have it open");
        tokio::time::sleep(GRACE).await;
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"], "{path}, replaced by a file: {is_replaced}");
        assert_eq!(source.trouble(), None, "{path}, replaced by a file: {is_replaced}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_on_after_the_last_look_is_read_on_and_the_name_gets_free() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut source = folder.open("app.log", vec![]).await;
    let mut records = drain(&mut source).await.unwrap();
    let mut late = File::options().append(true).open(folder.path("app.log")).unwrap();
    folder.rename("app.log", "away");
    records.extend(drain(&mut source).await.unwrap());
    for (pause, lines) in [(GRACE, "{2}\n"), (2 * GRACE, "{3}\n{4")] {
        tokio::time::sleep(pause).await;
        source.watch().await.unwrap();
        late.write_all(lines.as_bytes()).unwrap();
        records.extend(drain(&mut source).await.unwrap());
    }
    folder.write("app.log", "{5}\n", 2);
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        records.extend(drain(&mut source).await.unwrap());
    }
    assert_eq!(texts(&records), ["{1}", "{2}", "{3}", "{4", "{5}"]);
}

/// How the last line of a file came to be given before its line feed was written.
#[derive(Debug, Clone, Copy)]
enum Early {
    ReadOnce,
    ReadOnceInBetween,
    GoneWhileItWasFollowed,
}

/// The records of a file whose last line is not complete, which is taken for a line.
async fn with_half_a_line(folder: &mut Folder, early: Early) -> Vec<Record> {
    if !matches!(early, Early::ReadOnce) {
        folder.follow = true;
    }
    let mut source = folder.open("a.jsonl", vec![]).await;
    let mut records = drain(&mut source).await.unwrap();
    match early {
        Early::ReadOnce => {}
        Early::ReadOnceInBetween => {
            folder.follow = false;
            records.extend(folder.read("a.jsonl", positions(&records)).await);
        }
        Early::GoneWhileItWasFollowed => {
            folder.rename("a.jsonl", "away");
            for _ in 0..3 {
                records.extend(drain(&mut source).await.unwrap());
                tokio::time::sleep(GRACE).await;
            }
            folder.rename("away", "a.jsonl");
        }
    }
    records
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_taken_for_one_before_it_was_complete_comes_whole_once_it_is() {
    let long = "2".repeat(10_000);
    for early in [Early::ReadOnce, Early::ReadOnceInBetween, Early::GoneWhileItWasFollowed] {
        for (before, half) in [("", "2"), ("{1}\n", "2"), ("{1}\n\n", long.as_str())] {
            let mut folder = Folder::new();
            folder.write("a.jsonl", format!("{before}{{{half}"), 1);
            let records = with_half_a_line(&mut folder, early).await;
            let given = records.last().unwrap();
            assert_eq!(texts(&records).last().unwrap(), &format!("{{{half}"), "{early:?}");
            folder.append("a.jsonl", "}\n{3}\n");
            folder.follow = true;
            let rest = folder.read("a.jsonl", positions(&records)).await;
            assert_eq!(texts(&rest), [format!("{{{half}}}").as_str(), "{3}"], "{early:?}");
            let place = |record: &Record| (record.version, record.position.to_string());
            assert_eq!(place(&rest[0]), place(given), "{early:?}: it is the same line");
            assert_eq!(rest[1].position.ordinal, given.position.ordinal + 1, "{early:?}");
            assert!(folder.read("a.jsonl", positions(&rest)).await.is_empty(), "{early:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_comes_whole_too_when_its_end_is_written_after_the_file_is_gone_and_read_to_its_end() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n{2", 1);
    let mut source = folder.open("app.log", vec![]).await;
    let mut records = drain(&mut source).await.unwrap();
    let mut late = File::options().append(true).open(folder.path("app.log")).unwrap();
    fs::remove_file(folder.path("app.log")).unwrap();
    records.extend(drain(&mut source).await.unwrap());
    tokio::time::sleep(GRACE).await;
    let Ok(Read::Records(last)) = source.read(ROOM).await else { panic!("its last line is read") };
    records.extend(last);
    late.write_all(b"}\n{3}\n").unwrap();
    records.extend(drain(&mut source).await.unwrap());
    assert_eq!(texts(&records), ["{1}", "{2", "{2}", "{3}"]);
    assert_eq!(records.iter().map(|record| record.position.ordinal).collect::<Vec<_>>(), [1, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_last_line_that_lacked_its_line_feed_alone_is_not_given_again_once_it_is_there() {
    for (name, content, rest) in [
        ("a.jsonl", "{1}\n{2}", "\n{3}\n"),
        ("a.jsonl", "{1}\n{2}", "\r\n{3}\r\n"),
        ("a.jsonl", "{1}\n{2}\r", "\n{3}\r\n"),
        ("a.csv", "id\n1\n2", "\n3\n"),
    ] {
        let mut folder = Folder::new();
        folder.write(name, content, 1);
        let records = folder.read(name, vec![]).await;
        assert_eq!(records.len(), 2, "{:?}", texts(&records));
        folder.follow = true;
        let mut source = folder.open(name, positions(&records)).await;
        assert!(drain(&mut source).await.unwrap().is_empty());
        folder.append(name, rest);
        for more in [drain(&mut source).await.unwrap(), folder.read(name, positions(&records)).await] {
            assert_eq!(more.len(), 1, "{:?}", texts(&more));
            assert_eq!(more[0].position.ordinal, records[1].position.ordinal + 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_line_without_a_line_feed_is_given_once_however_often_its_file_goes() {
    for (name, content) in [("a.jsonl", "{1}\n{2}"), ("a.csv", "id\n1\n2")] {
        let folder = Folder { follow: true, ..Folder::new() };
        folder.write(name, content, 1);
        let mut source = folder.open(name, vec![]).await;
        let mut records = Vec::new();
        for (from, to) in [(name, "away"), ("away", name), (name, "away")] {
            folder.rename(from, to);
            for _ in 0..3 {
                records.extend(drain(&mut source).await.unwrap());
                tokio::time::sleep(GRACE).await;
            }
        }
        assert_eq!(records.len(), 2, "{:?}", texts(&records));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_overwritten_before_it_was_read_to_its_end_is_read_from_the_start() {
    let one_line = Room { records: 1, bytes: 100 };
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n{2}\n", 5);
    let mut source = folder.open("app.log", vec![]).await;
    assert!(matches!(source.read(one_line).await, Ok(Read::Records(_))));
    folder.write("app.log", "{3}\n{4}\n{5}\n", 6);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{3}", "{4}", "{5}"]);
}

#[tokio::test(start_paused = true)]
async fn files_are_known_again_when_their_file_system_has_another_number() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut source = folder.open("app.log*", vec![]).await;
    let mut before = drain(&mut source).await.unwrap();
    folder.rename("app.log", "app.log.1");
    folder.write("app.log", "{2}\n", 2);
    before.extend(drain(&mut source).await.unwrap());
    let mounted_anew = |position: Position| {
        let detail = position.partition.detail.replace("\"device\":", "\"device\":7");
        with_detail(&position, detail)
    };
    let positions: Vec<_> = positions(&before).into_iter().map(mounted_anew).collect();
    let mut source = folder.open("app.log*", positions).await;
    folder.append("app.log", "{3}\n");
    let after = drain(&mut source).await.unwrap();
    assert_eq!(texts(&after), ["{3}"]);
    assert!(after[0].position.partition.detail.contains("\"earlier\""), "the rotated one is still known");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_told_for_as_long_as_it_is_so_and_the_others_go_on() {
    let folder = Folder { format: None, ..Folder::followed() };
    folder.write("a.jsonl.gz", "", 1);
    let error = folder.source("a.jsonl.gz").open(vec![]).await.unwrap_err().to_string();
    assert!(error.contains("cannot be followed"), "{error}");
    folder.rename("a.jsonl.gz", "a.parquet");
    folder.write("b.jsonl", "{1}\n", 1);
    folder.write("c.csv", "id,id\n", 1);
    let mut source = folder.open("", vec![]).await;
    let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the sound file is read") };
    assert_eq!(texts(&records), ["{1}"]);
    for _ in 0..2 {
        assert!(matches!(source.read(ROOM).await, Ok(Read::Idle)));
        let trouble = source.trouble().unwrap();
        assert!(trouble.contains("a.parquet") && trouble.contains("c.csv"), "{trouble}");
    }
    fs::remove_file(folder.path("a.parquet")).unwrap();
    folder.write("c.csv", "id\n1\n", 2);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{\"id\":\"1\"}"]);
    assert_eq!(source.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_told_while_no_other_file_is_there_too() {
    let folder = Folder { format: None, ..Folder::followed() };
    folder.write("a.jsonl", "{1}\n", 1);
    folder.write("b.parquet", "", 1);
    let mut source = folder.open("", vec![]).await;
    drain(&mut source).await.unwrap();
    for gone in ["a.jsonl", "b.parquet"] {
        assert!(source.trouble().unwrap().contains("b.parquet"));
        fs::remove_file(folder.path(gone)).unwrap();
        assert!(drain(&mut source).await.unwrap().is_empty());
    }
    assert_eq!(source.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn what_rotation_compressed_is_passed_over() {
    for path in ["", "app.log*"] {
        let folder = Folder::followed();
        folder.write("app.log", "{1}\n", 1);
        let mut source = folder.open(path, vec![]).await;
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
        folder.rename("app.log", "app.log.1");
        folder.write("app.log", "{2}\n", 2);
        folder.write("app.log.2.gz", "compressed", 1);
        let mut records = drain(&mut source).await.unwrap();
        fs::remove_file(folder.path("app.log.1")).unwrap();
        tokio::time::sleep(GRACE).await;
        records.extend(drain(&mut source).await.unwrap());
        assert_eq!((texts(&records), source.trouble()), (vec!["{2}"], None), "{path}");
        fs::remove_file(folder.path("app.log")).unwrap();
        let mut source = folder.open(path, positions(&records)).await;
        assert!(drain(&mut source).await.unwrap().is_empty(), "{path}: between two files there is none");
        folder.write("app.log", "{3}\n", 3);
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{3}"], "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_csv_file_gives_whole_rows() {
    let folder = Folder { format: None, ..Folder::followed() };
    folder.write("a.csv", "id,te", 1);
    let mut source = folder.open("a.csv", vec![]).await;
    assert!(drain(&mut source).await.unwrap().is_empty());
    folder.append("a.csv", "xt\n1,\"two\nlin");
    assert!(drain(&mut source).await.unwrap().is_empty());
    folder.append("a.csv", "es\"\n2,b\n");
    let records = drain(&mut source).await.unwrap();
    assert_eq!(texts(&records), ["{\"id\":\"1\",\"text\":\"two\\nlines\"}", "{\"id\":\"2\",\"text\":\"b\"}"]);
    assert_eq!(records.iter().map(|record| record.position.ordinal).collect::<Vec<_>>(), [2, 4]);
}

#[tokio::test(start_paused = true)]
async fn more_files_than_may_be_open_are_told_and_read_when_others_are_gone() {
    let folder = Folder::followed();
    for name in ["a.log", "b.log", "c.log", "d.log"] {
        folder.write(name, format!("{{{name}}}\n"), 1);
    }
    let follow = Follow::new(folder.settings("*.log"), Descriptors::at_most(2));
    let mut source = FileSource::of(Reader::Follow(Box::new(follow)));
    source.open(vec![]).await.unwrap();
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{a.log}", "{b.log}"]);
    let trouble = source.trouble().unwrap();
    assert!(trouble.contains("2 files") && trouble.contains("c.log") && trouble.contains("ulimit"), "{trouble}");
    for name in ["a.log", "b.log"] {
        fs::remove_file(folder.path(name)).unwrap();
    }
    let mut records = Vec::new();
    while records.len() < 2 {
        records.extend(drain(&mut source).await.unwrap());
    }
    let mut given = texts(&records);
    given.sort_unstable();
    assert_eq!(given, ["{c.log}", "{d.log}"]);
    assert_eq!(source.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_looked_into_is_told_and_no_file_in_it_counts_as_gone() {
    let folder = Folder::followed();
    fs::create_dir(folder.path("in")).unwrap();
    folder.write("in/app.log", "{1}\n{2", 1);
    let mut source = folder.open("in", vec![]).await;
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
    folder.rename("in", "away");
    std::os::unix::fs::symlink("in", folder.path("in")).unwrap();
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        assert!(drain(&mut source).await.unwrap().is_empty(), "its last line is not complete");
    }
    assert!(source.trouble().unwrap().contains("cannot be read"), "{:?}", source.trouble());
    folder.append("away/app.log", "}\n");
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
    fs::remove_file(folder.path("in")).unwrap();
    folder.rename("away", "in");
    assert!(drain(&mut source).await.unwrap().is_empty());
    assert_eq!(source.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_looked_at_does_not_count_as_gone() {
    let folder = Folder::followed();
    fs::create_dir(folder.path("in")).unwrap();
    folder.write("in/app.log", "{1}\n{2", 1);
    let mut source = folder.open("in", vec![]).await;
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
    folder.rename("in/app.log", "away");
    std::os::unix::fs::symlink("app.log", folder.path("in/app.log")).unwrap();
    let mut records = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        records.extend(drain(&mut source).await.unwrap());
    }
    assert!(records.is_empty(), "its last line is not complete");
    fs::remove_file(folder.path("in/app.log")).unwrap();
    for _ in 0..3 {
        tokio::time::sleep(2 * GRACE).await;
        records.extend(drain(&mut source).await.unwrap());
    }
    assert_eq!(texts(&records), ["{2"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_looked_at_is_told_while_it_is_read_on() {
    for path in ["in", "in/*.log"] {
        let folder = Folder::followed();
        fs::create_dir(folder.path("in")).unwrap();
        folder.write("in/app.log", "{1}\n", 1);
        let mut source = folder.open(path, vec![]).await;
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
        folder.rename("in/app.log", "away");
        std::os::unix::fs::symlink("app.log", folder.path("in/app.log")).unwrap();
        for _ in 0..3 {
            tokio::time::sleep(2 * GRACE).await;
            assert!(drain(&mut source).await.unwrap().is_empty(), "{path}");
        }
        folder.append("away", "{2}\n");
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"], "{path}");
        let trouble = source.trouble().unwrap();
        assert!(trouble.contains("in/app.log` cannot be read: "), "{path}: {trouble}");
        fs::remove_file(folder.path("in/app.log")).unwrap();
        folder.rename("away", "in/app.log");
        assert!(drain(&mut source).await.unwrap().is_empty(), "{path}");
        assert_eq!(source.trouble(), None, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_tried_again_and_again_gets_no_newer_by_that() {
    let folder = Folder { format: None, ..Folder::followed() };
    folder.write("a.jsonl", "{1}\n", 1);
    folder.write("c.csv", "id,id\n", 1);
    let mut source = folder.open("", vec![]).await;
    for _ in 0..10 {
        drain(&mut source).await.unwrap();
    }
    folder.write("c.csv", "id\n1\n", 1);
    let records = drain(&mut source).await.unwrap();
    assert_eq!(records[0].version.as_nanos(), 1_000_000_002);
}
