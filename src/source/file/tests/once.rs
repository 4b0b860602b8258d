use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

#[tokio::test]
async fn lines_are_given_whatever_their_endings() {
    let cases: [(&str, &[u8], &[&str]); 7] = [
        ("line feeds", b"{1}\n{2}\n", &["{1}", "{2}"]),
        ("CRLF", b"{1}\r\n{2}\r\n", &["{1}", "{2}"]),
        ("no line feed at the end", b"{1}\n{2}", &["{1}", "{2}"]),
        ("a byte order mark", b"\xEF\xBB\xBF{1}\n{2}\n", &["{1}", "{2}"]),
        ("blank lines", b"\n{1}\n \t\r\n\n{2}\n\n", &["{1}", "{2}"]),
        ("an empty file", b"", &[]),
        ("blank lines alone", b"\n\n", &[]),
    ];
    for (case, content, expected) in cases {
        let folder = Folder::new();
        folder.write("a.jsonl", content, 1);
        assert_eq!(texts(&folder.read("a.jsonl", vec![]).await), expected, "{case}");
    }
}

#[tokio::test]
async fn a_record_tells_its_line_and_its_version() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n\n{3}\n", 7);
    let records = folder.read("a.jsonl", vec![]).await;
    assert_eq!(records[1].position.to_string(), format!("{}:3", folder.name("a.jsonl")));
    assert_eq!(records[1].position.offset, 9);
    assert_eq!(records[1].version.as_nanos(), 7_000_000_003);
}

#[tokio::test]
async fn a_restart_goes_on_behind_the_committed_record_with_the_same_versions() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n{2}\n{3}\n", 7);
    let first = folder.read("a.jsonl", vec![]).await;
    let again = folder.read("a.jsonl", vec![committed(&first[0])]).await;
    assert_eq!(texts(&again), ["{2}", "{3}"]);
    for (before, now) in first[1..].iter().zip(&again) {
        assert_eq!((before.version, before.position.ordinal), (now.version, now.position.ordinal));
    }
    assert!(folder.read("a.jsonl", positions(&first)).await.is_empty(), "a file that was read is not read again");
}

#[tokio::test]
async fn a_changed_file_is_read_from_the_start_as_newer_than_before() {
    // (what changed, the new content, the second of its last write)
    let cases = [
        ("content", "{9}\n{2}\n", 8),
        ("size", "{1}\n{2}\n{3}\n", 8),
        ("an older file put back", "{0}\n{2}\n", 3),
        ("content behind the back of the clock", "{8}\n{2}\n", 7),
    ];
    for (case, content, second) in cases {
        let folder = Folder::new();
        folder.write("a.jsonl", "{1}\n{2}\n", 7);
        let before = folder.read("a.jsonl", vec![]).await;
        folder.write("a.jsonl", content, second);
        let after = folder.read("a.jsonl", positions(&before)).await;
        assert_eq!(texts(&after), content.lines().collect::<Vec<_>>(), "{case}");
        assert!(after[0].version > before[1].version, "{case}: what is there now counts");
    }
}

#[tokio::test]
async fn a_format_that_is_corrected_has_the_file_read_from_the_start_as_newer() {
    for follow in [false, true] {
        let wrong = Folder { follow, format: Some(FileFormat::Jsonl), ..Folder::new() };
        wrong.write("a.dat", "id\n1\n2\n", 7);
        let before = wrong.read("a.dat", vec![]).await;
        assert_eq!(texts(&before), ["id", "1", "2"]);
        let right = Folder { format: Some(FileFormat::Csv), ..wrong };
        let after = right.read("a.dat", positions(&before)).await;
        assert_eq!(texts(&after), ["{\"id\":\"1\"}", "{\"id\":\"2\"}"]);
        assert!(after[0].version > before[2].version, "what is read now counts");
        assert!(right.read("a.dat", positions(&after)).await.is_empty());
    }
}

#[tokio::test]
async fn a_separator_that_is_corrected_has_csv_read_from_the_start_as_newer_and_nothing_else() {
    for follow in [false, true] {
        let wrong = Folder { follow, separator: Some(separated_by("|")), ..Folder::new() };
        wrong.write("a.csv", "id|x;y\n1|2;3\n", 7);
        wrong.write("b.jsonl", "{1}\n", 7);
        let before = wrong.read("", vec![]).await;
        assert_eq!(texts(&before), [r#"{"id":"1","x;y":"2;3"}"#, "{1}"]);
        let right = Folder { separator: Some(separated_by(";")), ..wrong };
        let after = right.read("", positions(&before)).await;
        assert_eq!(texts(&after), [r#"{"id|x":"1|2","y":"3"}"#]);
        assert!(after[0].version > before[0].version, "what is read now counts");
        let kept = vec![committed(&after[0]), committed(&before[1])];
        assert!(right.read("", kept).await.is_empty());
    }
}

#[tokio::test]
async fn a_file_whose_position_cannot_be_understood_is_read_from_the_start() {
    for follow in [false, true] {
        let folder = Folder { follow, format: Some(FileFormat::Jsonl), ..Folder::new() };
        folder.write("a.dat", "{1}\n{2}\n", 7);
        let first = folder.read("a.dat", vec![]).await;
        let position = committed(&first[0]);
        let other = with_detail(&position, position.partition.detail.replace("\"format\":\"jsonl\",", ""));
        for (position, rest) in [(position, &["{2}"][..]), (other, &["{1}", "{2}"])] {
            assert_eq!(texts(&folder.read("a.dat", vec![position]).await), rest, "follow: {follow}");
        }
    }
}

#[tokio::test]
async fn files_of_one_time_follow_each_other_also_after_a_restart() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n{2}\n{3}\n", 7);
    let first = folder.read("*.jsonl", vec![]).await;
    folder.write("b.jsonl", "{4}\n{5}\n", 7);
    let second = folder.read("*.jsonl", positions(&first)).await;
    let both = folder.read("*.jsonl", vec![]).await;
    assert_eq!((texts(&second), texts(&both)), (vec!["{4}", "{5}"], vec!["{1}", "{2}", "{3}", "{4}", "{5}"]));
    let versions: Vec<_> = both.iter().map(|record| record.version).collect();
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    assert_eq!(second[0].version, both[3].version);
    // Also when they are known, and both came anew.
    folder.write("a.jsonl", "{6}\n{7}\n", 8);
    folder.write("b.jsonl", "{8}\n", 8);
    let anew = folder.read("*.jsonl", positions(&both)).await;
    assert_eq!(texts(&anew), ["{6}", "{7}", "{8}"]);
    let versions: Vec<_> = both.iter().chain(&anew).map(|record| record.version).collect();
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
}

#[tokio::test]
async fn a_file_written_just_after_a_long_one_is_newer_than_all_of_it() {
    let folder = Folder::new();
    let write = |name: &str, content: &str, nanos: u32| {
        folder.write(name, content, 7);
        let file = File::options().write(true).open(folder.path(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(7, nanos)).unwrap();
    };
    write("a.jsonl", "{1}\n{2}\n{3}\n", 0);
    write("b.jsonl", "{4}\n", 1);
    let both = folder.read("*.jsonl", vec![]).await;
    assert_eq!(texts(&both), ["{1}", "{2}", "{3}", "{4}"]);
    assert!(both[3].version > both[2].version);
    // Also when the long one was read before.
    let before = folder.read("a.jsonl", vec![]).await;
    let after = folder.read("*.jsonl", positions(&before)).await;
    assert_eq!((texts(&after), after[0].version), (vec!["{4}"], both[3].version));
    // What had a time in the future stays there, and takes no other along.
    folder.write("c.jsonl", "{5}\n", 1000);
    let ahead = folder.read("c.jsonl", vec![]).await;
    write("c.jsonl", "{6}\n", 500);
    write("d.jsonl", "{7}\n", 501);
    let last = folder.read("[cd].jsonl", positions(&ahead)).await;
    assert!(last[0].version > ahead[0].version);
    assert_eq!(last[1].version.as_nanos(), 7_000_000_502);
}

#[tokio::test(start_paused = true)]
async fn files_whose_names_differ_where_they_are_not_utf_8_are_known_apart() {
    for follow in [false, true] {
        let folder = Folder { follow, ..Folder::new() };
        for name in [&b"gr\xE4sse.jsonl"[..], b"gr\xF6sse.jsonl", br"gr\xF6sse.jsonl"] {
            fs::write(folder.dir.path().join(OsStr::from_bytes(name)), "{}\n").unwrap();
        }
        let records = folder.read("*.jsonl", vec![]).await;
        let places: Vec<_> = records.iter().map(|record| record.position.to_string()).collect();
        let expected = [r"gr\x5CxF6sse.jsonl:1", r"gr\xE4sse.jsonl:1", r"gr\xF6sse.jsonl:1"].map(|at| folder.name(at));
        assert_eq!(places, expected);
        assert!(folder.read("*.jsonl", positions(&records)).await.is_empty());
    }
}

#[tokio::test]
async fn what_a_source_of_another_kind_noted_under_the_name_is_no_file() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n", 7);
    let partition = Arc::new(Partition { name: "journal".into(), detail: String::new() });
    let journal = Position { partition, offset: 9, ordinal: 9 };
    assert_eq!(texts(&folder.read("a.jsonl", vec![journal]).await), ["{1}"]);
}

#[tokio::test]
async fn a_file_in_the_place_of_another_is_read_though_its_length_and_time_are_the_same() {
    let folder = Folder::new();
    let lines = |price: u32| format!("{}\n{{\"price\":{price}}}\n", "x".repeat(70_000));
    folder.write("a.jsonl", lines(10), 1);
    let first = folder.read("a.jsonl", Vec::new()).await;
    folder.write("b.jsonl", lines(12), 1);
    folder.rename("b.jsonl", "a.jsonl");
    let second = folder.read("a.jsonl", positions(&first)).await;
    assert_eq!(texts(&second)[1], "{\"price\":12}");
    assert!(second[0].version > first[1].version);
    assert!(folder.read("a.jsonl", positions(&second)).await.is_empty());
}

#[tokio::test]
async fn files_are_read_in_the_order_of_their_paths_and_others_left_alone() {
    let folder = Folder::new();
    for name in ["b.jsonl", "a.ndjson", "notes.txt", ".hidden.jsonl"] {
        folder.write(name, format!("{name}\n"), 1);
    }
    fs::create_dir(folder.path("c.jsonl")).unwrap();
    assert_eq!(texts(&folder.read("", vec![]).await), ["a.ndjson", "b.jsonl"]);
    assert_eq!(texts(&folder.read("*.jsonl", vec![]).await), ["b.jsonl"]);
    assert_eq!(texts(&folder.read("**/*.jsonl", vec![]).await), ["b.jsonl"]);
    assert_eq!(texts(&folder.read(".h*.jsonl", vec![]).await), [".hidden.jsonl"]);
    fs::create_dir_all(folder.path(".trash/.old")).unwrap();
    fs::create_dir(folder.path("shop")).unwrap();
    for name in [".trash/gone.jsonl", ".trash/.old/older.jsonl", "shop/d.jsonl"] {
        folder.write(name, format!("{name}\n"), 1);
    }
    for (glob, found) in [
        ("**/*.jsonl", &["b.jsonl", "shop/d.jsonl"][..]),
        ("*/*.jsonl", &["shop/d.jsonl"]),
        (".trash/*.jsonl", &[".trash/gone.jsonl"]),
        (".t*/*.jsonl", &[".trash/gone.jsonl"]),
    ] {
        assert_eq!(texts(&folder.read(glob, vec![]).await), found, "{glob}");
    }
}

#[tokio::test]
async fn links_that_lead_in_a_circle_have_no_file_read_twice() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("in/a")).unwrap();
    for link in ["self", "me"] {
        std::os::unix::fs::symlink(".", folder.path("in").join(link)).unwrap();
    }
    folder.write("in/a/x.jsonl", "{1}\n", 1);
    let records = folder.read("in/**/*.jsonl", vec![]).await;
    assert_eq!(texts(&records), ["{1}"]);
    assert_eq!(records[0].position.partition.name, folder.name("in/a/x.jsonl"));
}

#[tokio::test]
async fn a_finished_source_stays_finished_and_knows_what_was_left() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n{2}\n", 1);
    folder.write("b.jsonl", "{3}\n", 1);
    let mut source = folder.open("", vec![]).await;
    assert_eq!(source.remaining_bytes(), Some(12));
    drain(&mut source).await.unwrap();
    assert_eq!(source.remaining_bytes(), Some(0));
    assert!(matches!(source.read(ROOM).await, Ok(Read::Finished)));
}

#[tokio::test]
async fn a_path_that_stands_for_nothing_is_an_error_until_it_does() {
    let folder = Folder::new();
    for path in ["a.jsonl", "*.jsonl", ""] {
        let mut source = folder.source(path);
        let error = source.open(vec![]).await.unwrap_err().to_string();
        assert!(error.contains(folder.dir.path().to_str().unwrap()), "{error}");
        assert!(source.open(vec![]).await.is_err(), "{path}: it is looked for again");
        folder.write("a.jsonl", "{1}\n", 1);
        source.open(vec![]).await.unwrap();
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{1}"]);
        fs::remove_file(folder.path("a.jsonl")).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_after_the_others_and_tried_again() {
    let folder = Folder::new();
    folder.write("a.csv", "id,id\n1,2\n", 1);
    folder.write("b.jsonl", "{1}\n", 1);
    let mut source = folder.open("", vec![]).await;
    let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the sound file is read") };
    assert_eq!(texts(&records), ["{1}"]);
    for _ in 0..2 {
        let error = source.read(ROOM).await.unwrap_err().to_string();
        assert!(error.contains("a.csv") && error.contains("`id` twice"), "{error}");
    }
    folder.write("a.csv", "id\n1\n", 2);
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{\"id\":\"1\"}"]);
}

#[tokio::test(start_paused = true)]
async fn of_many_files_that_cannot_be_read_the_first_are_named_and_the_others_counted() {
    for follow in [false, true] {
        let folder = Folder { follow, ..Folder::new() };
        folder.write("a.jsonl", "{1}\n", 1);
        (10..22).for_each(|number| folder.write(&format!("b{number}.csv"), "id,id\n1,2\n", 1));
        let mut source = folder.open("", vec![]).await;
        let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the sound file is read") };
        assert_eq!(texts(&records), ["{1}"]);
        let told = match source.read(ROOM).await {
            Err(error) => error.to_string(),
            Ok(_) => source.trouble().unwrap(),
        };
        assert!(told.contains("b19.csv") && !told.contains("b20.csv") && told.ends_with("; and 2 more"), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_told_and_not_opened() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n", 1);
    let _pipe = std::os::unix::net::UnixListener::bind(folder.path("b.jsonl")).unwrap();
    let mut source = folder.open("*.jsonl", vec![]).await;
    let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the file is read") };
    assert_eq!(texts(&records), ["{1}"]);
    for is_replaced in [false, true] {
        if is_replaced {
            fs::remove_file(folder.path("b.jsonl")).unwrap();
            folder.write("b.jsonl", "{2}\n", 1);
        }
        let error = source.read(ROOM).await.unwrap_err().to_string();
        assert!(error.contains("b.jsonl` is no file"), "{error}");
    }
    assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"]);
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_read_once_it_can_be() {
    for (broken, path, pattern) in [("b.jsonl", "b.jsonl", "*.jsonl"), ("in", "in/b.jsonl", "*/*.jsonl")] {
        let folder = Folder::new();
        fs::create_dir(folder.path("a")).unwrap();
        for sound in ["a.jsonl", "a/a.jsonl"] {
            folder.write(sound, "{1}\n", 1);
        }
        std::os::unix::fs::symlink(broken, folder.path(broken)).unwrap();
        let mut source = folder.open(pattern, vec![]).await;
        let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the sound file is read") };
        assert_eq!(texts(&records), ["{1}"]);
        assert!(source.read(ROOM).await.is_err(), "{pattern}");
        fs::remove_file(folder.path(broken)).unwrap();
        fs::create_dir_all(folder.path(path).parent().unwrap()).unwrap();
        folder.write(path, "{2}\n", 1);
        assert!(source.read(ROOM).await.is_err(), "{pattern}: as of the last look");
        assert_eq!(texts(&drain(&mut source).await.unwrap()), ["{2}"], "{pattern}");
    }
}

#[tokio::test]
async fn a_file_that_was_read_is_not_read_again_because_its_folder_could_not_be_looked_into_for_a_while() {
    for (appended, expected) in [("", &[][..]), ("{3}\n", &["{1}", "{3}"])] {
        let folder = Folder::new();
        for name in ["a", "b", "c"] {
            fs::create_dir(folder.path(name)).unwrap();
        }
        folder.write("a/a.jsonl", "{1}\n", 1);
        folder.write("b/b.jsonl", "{2}\n", 1);
        // What fails at every look has the source look again.
        let _pipe = std::os::unix::net::UnixListener::bind(folder.path("c/c.jsonl")).unwrap();
        let mut source = folder.open("*/*.jsonl", vec![]).await;
        let Ok(Read::Records(before)) = source.read(ROOM).await else { panic!("the files are read") };
        assert_eq!(texts(&before), ["{1}", "{2}"]);
        folder.rename("a", "away");
        std::os::unix::fs::symlink("a", folder.path("a")).unwrap();
        assert!(source.read(ROOM).await.is_err());
        fs::remove_file(folder.path("a")).unwrap();
        folder.rename("away", "a");
        folder.append("a/a.jsonl", appended);
        assert!(source.read(ROOM).await.is_err(), "as of the last look");
        let after = match source.read(ROOM).await {
            Ok(Read::Records(records)) => records,
            Ok(_) => panic!("one path can still not be read"),
            Err(_) => Vec::new(),
        };
        assert_eq!(texts(&after), expected);
        assert!(after.iter().all(|record| record.version > before[1].version), "what is there now counts");
    }
}

#[tokio::test]
async fn a_file_that_vanishes_before_it_is_opened_is_told_and_then_forgotten() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{1}\n", 1);
    folder.write("b.jsonl", "{2}\n", 1);
    let mut source = folder.open("", vec![]).await;
    fs::remove_file(folder.path("a.jsonl")).unwrap();
    let Ok(Read::Records(records)) = source.read(ROOM).await else { panic!("the other file is read") };
    assert_eq!(texts(&records), ["{2}"]);
    assert!(source.read(ROOM).await.unwrap_err().to_string().contains("a.jsonl"));
    assert!(matches!(source.read(ROOM).await, Ok(Read::Finished)));
}

#[tokio::test]
async fn a_long_line_is_one_broken_record_and_the_next_line_is_sound() {
    for (length, max) in [(10 << 20, 1 << 20), (5000, 1000)] {
        let mut folder = Folder::new();
        folder.max_record = max;
        folder.write("a.jsonl", format!("{{1}}\n{}\n{{3}}\n", "x".repeat(length)), 1);
        let records = folder.read("a.jsonl", vec![]).await;
        assert_eq!(records.len(), 3);
        assert_eq!(records[1].payload.len(), length.min(64 << 10));
        let reason = records[1].why_broken().unwrap();
        assert!(reason.contains(&length.to_string()) && reason.contains("max_record"), "{reason}");
        assert!(reason.contains("A replay has no more") && reason.ends_with("be given another name"), "{reason}");
        assert_eq!((&records[2].payload[..], records[2].position.ordinal), (&b"{3}"[..], 3));
        let again = folder.read("a.jsonl", vec![committed(&records[1])]).await;
        assert_eq!(texts(&again), ["{3}"]);
        // Raised, it is told nothing new under its name, and everything under another, which has no positions.
        folder.max_record = length as u64;
        assert!(folder.read("a.jsonl", positions(&records)).await.is_empty());
        let whole = folder.read("a.jsonl", vec![]).await;
        assert_eq!((whole[1].payload.len(), whole[1].why_broken()), (length, None));
    }
}

#[tokio::test]
async fn room_is_kept_except_for_a_single_large_record() {
    let folder = Folder::new();
    folder.write("a.jsonl", "1234\n1234\n123456789012\n1\n", 1);
    let mut source = folder.open("a.jsonl", vec![]).await;
    let mut lengths = Vec::new();
    while let Read::Records(records) = source.read(Room { records: 3, bytes: 10 }).await.unwrap() {
        lengths.push(records.iter().map(|record| record.payload.len()).collect::<Vec<_>>());
    }
    assert_eq!(lengths, [vec![4, 4], vec![12], vec![1]]);
}
