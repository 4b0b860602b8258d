//! What is remembered of files that are gone.

use serde_json::{Value, json};

use super::super::follow::GRACE;
use super::super::gone::REMEMBERED;
use super::*;

fn is_gone(kept: &Kept, name: &str) -> bool {
    let detail: Value = serde_json::from_str(&kept[name].partition.detail).unwrap();
    detail.get("gone") == Some(&json!(true))
}

fn all(kept: &Kept) -> Vec<Position> {
    kept.values().cloned().collect()
}

/// The names that are forgotten before anything is read.
async fn forgotten(mut source: FileSource) -> Vec<String> {
    match source.read(ROOM).await {
        Ok(Read::Forgotten(names)) => names,
        _ => Vec::new(),
    }
}

/// Has a look that is late enough for a file to count as gone, and one that reads what its end was.
async fn let_go(source: &mut FileSource, kept: &mut Kept) {
    for _ in 0..2 {
        assert!(drain_into(source, kept).await.unwrap().is_empty());
        tokio::time::sleep(GRACE).await;
    }
    assert!(drain_into(source, kept).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_read_and_seen_to_go_is_missed_by_no_start_and_one_that_went_unseen_by_one() {
    let folder = Folder::followed();
    for name in ["a.log", "b.log", "c.log"] {
        folder.write(name, format!("{{{name}}}\n"), 1);
    }
    let [a, b] = ["a.log", "b.log"].map(|name| folder.name(name));
    let mut kept = Kept::new();
    let mut source = folder.open("*.log", vec![]).await;
    assert_eq!(drain_into(&mut source, &mut kept).await.unwrap().len(), 3);
    let before = kept[&a].clone();
    fs::remove_file(&a).unwrap();
    let_go(&mut source, &mut kept).await;
    assert!(is_gone(&kept, &a) && !is_gone(&kept, &b));
    assert_eq!((kept[&a].offset, kept[&a].ordinal), (before.offset, before.ordinal));
    fs::remove_file(&b).unwrap();
    for missed in [vec![b.clone()], vec![]] {
        let mut news = Kept::new();
        let mut source = folder.open("*.log", all(&kept)).await;
        assert!(drain_into(&mut source, &mut news).await.unwrap().is_empty());
        assert!(news.keys().eq(&missed) && missed.iter().all(|name| is_gone(&news, name)), "{news:?}");
        kept.extend(news);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_seen_to_go_under_one_name_is_missed_under_none() {
    let folder = Folder::followed();
    folder.write("app.log", "{1}\n", 1);
    let mut kept = Kept::new();
    let mut source = folder.open("app.log*", vec![]).await;
    drain_into(&mut source, &mut kept).await.unwrap();
    folder.rename("app.log", "app.log.1");
    folder.write("app.log", "", 2);
    drain_into(&mut source, &mut kept).await.unwrap();
    fs::remove_file(folder.path("app.log.1")).unwrap();
    let_go(&mut source, &mut kept).await;
    let [now, before] = ["app.log", "app.log.1"].map(|name| is_gone(&kept, &folder.name(name)));
    assert_eq!((now, before), (false, true), "nothing was read of the file that has the name now");
    let mut news = Kept::new();
    let mut source = folder.open("app.log*", all(&kept)).await;
    assert!(drain_into(&mut source, &mut news).await.unwrap().is_empty());
    assert!(news.is_empty(), "{news:?}");
}

/// As when nothing is mounted there yet.
#[tokio::test(start_paused = true)]
async fn where_nothing_is_or_something_cannot_be_looked_at_no_file_counts_as_gone_for_good() {
    let folder = Folder::followed();
    folder.write("a.log", "{1}\n", 1);
    let kept = positions(&folder.read("", vec![]).await);
    folder.rename("a.log", ".away");
    for unseen in [false, true] {
        if unseen {
            folder.write("b.log", "", 1);
            std::os::unix::fs::symlink("c.log", folder.path("c.log")).unwrap();
        }
        let mut news = Kept::new();
        let mut source = folder.open("", kept.clone()).await;
        assert!(drain_into(&mut source, &mut news).await.unwrap().is_empty());
        assert!(news.is_empty(), "{news:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_gone_is_known_when_it_comes_back_and_another_content_is_newer() {
    let folder = Folder::followed();
    folder.write("a.log", "{1}\n", 5);
    folder.write("b.log", "{0}\n", 5);
    let mut kept = Kept::new();
    let mut source = folder.open("*.log", vec![]).await;
    let before = drain_into(&mut source, &mut kept).await.unwrap();
    folder.rename("a.log", "away");
    let_go(&mut source, &mut kept).await;
    folder.rename("away", "a.log");
    assert!(is_gone(&kept, &folder.name("a.log")));
    let mut source = folder.open("*.log", all(&kept)).await;
    assert!(drain(&mut source).await.unwrap().is_empty());
    folder.append("a.log", "{2}\n");
    let mut again = kept.clone();
    assert_eq!(texts(&drain_into(&mut source, &mut again).await.unwrap()), ["{2}"]);
    assert!(!is_gone(&again, &folder.name("a.log")), "it is read on");
    folder.write("other", "{3}\n", 1);
    folder.rename("other", "a.log");
    let after = folder.read("*.log", all(&kept)).await;
    assert_eq!(texts(&after), ["{3}"]);
    assert!(after[0].version > before[0].version, "an older file that is put back counts");
}

#[tokio::test(start_paused = true)]
async fn the_next_file_of_a_name_has_the_last_word_on_its_position() {
    let folder = Folder::followed();
    folder.write("a.log", "{1}\n", 1);
    let mut source = folder.open("a.log", vec![]).await;
    drain(&mut source).await.unwrap();
    folder.rename("a.log", "away");
    drain(&mut source).await.unwrap();
    tokio::time::sleep(GRACE).await;
    // It is parted with, and the next is found, at one look.
    source.watch().await.unwrap();
    folder.write("a.log", "{2}\n{3}\n", 2);
    source.watch().await.unwrap();
    let mut kept = Kept::new();
    assert_eq!(texts(&drain_into(&mut source, &mut kept).await.unwrap()), ["{2}", "{3}"]);
    assert_eq!(kept[&folder.name("a.log")].ordinal, 2);
    assert!(folder.read("a.log", all(&kept)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_files_that_are_gone_those_with_the_newest_records_are_remembered() {
    for follow in [false, true] {
        let folder = Folder { follow, ..Folder::new() };
        folder.write("a.jsonl", "{1}\n", 1);
        let own = positions(&folder.read("", vec![]).await).remove(0);
        let position = |name: &str, inode: Option<usize>, base: usize| {
            let mut detail: Value = serde_json::from_str(&own.partition.detail).unwrap();
            detail["base"] = base.into();
            if let Some(inode) = inode {
                detail["inode"] = inode.into();
            }
            let partition = Partition { name: folder.name(name), detail: detail.to_string() };
            Position { partition: Arc::new(partition), ..own.clone() }
        };
        let name = |number: usize| format!("gone{number}.jsonl");
        let mut committed: Vec<_> =
            (0..REMEMBERED + 2).map(|n| position(&name(n), Some(usize::MAX / 4 + n), n + 1)).collect();
        // It is there, and when it is followed, so is the file that had another name.
        committed.push(position("a.jsonl", None, 0));
        if follow {
            committed.push(position("renamed.jsonl", None, 0));
        }
        let mut source = folder.open("", committed.clone()).await;
        let Ok(Read::Forgotten(mut names)) = source.read(ROOM).await else { panic!("nothing is forgotten") };
        names.sort_unstable();
        assert_eq!(names, [0, 1].map(|n| folder.name(&name(n))), "follow: {follow}");
        let mut news = Kept::new();
        assert!(drain_into(&mut source, &mut news).await.unwrap().is_empty());
        assert_eq!(news.len(), if follow { REMEMBERED } else { 0 }, "those that went unseen are missed once");
        assert!(names.iter().all(|name| !news.contains_key(name)));
        std::os::unix::fs::symlink("b.jsonl", folder.path("b.jsonl")).unwrap();
        assert!(forgotten(folder.open("", committed.clone()).await).await.is_empty(), "something cannot be looked at");
        fs::remove_file(folder.path("b.jsonl")).unwrap();
        fs::remove_file(folder.path("a.jsonl")).unwrap();
        if follow {
            assert!(forgotten(folder.open("", committed).await).await.is_empty(), "nothing is there");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_file_is_still_read_under_is_not_forgotten_with_the_file_that_had_it_before() {
    let folder = Folder::followed();
    folder.write("a.log", "{1}\n{2}\n", 1);
    let own = positions(&folder.read("", vec![]).await).remove(0);
    let gone = |number: usize| {
        let mut detail: Value = serde_json::from_str(&own.partition.detail).unwrap();
        (detail["base"], detail["inode"], detail["gone"]) =
            (number.into(), (usize::MAX / 4 + number).into(), true.into());
        let name = if number == 0 { "a.log".to_owned() } else { format!("gone{number}.log") };
        let partition = Partition { name: folder.name(&name), detail: detail.to_string() };
        Position { partition: Arc::new(partition), ..own.clone() }
    };
    let mut source = folder.open("", (0..=REMEMBERED).map(gone).collect()).await;
    let one_line = Room { records: 1, bytes: 1000 };
    let Ok(Read::Records(first)) = source.read(one_line).await else { panic!("there are lines") };
    fs::remove_file(folder.path("a.log")).unwrap();
    folder.write("b.log", "", 1);
    source.watch().await.unwrap();
    let Ok(Read::Records(second)) = source.read(one_line).await else { panic!("it is not read to its end") };
    assert_eq!((texts(&first), texts(&second)), (vec!["{1}"], vec!["{2}"]));
    assert_eq!(second[0].position.partition.name, own.partition.name);
}

#[tokio::test(start_paused = true)]
async fn files_that_come_and_go_while_they_are_followed_are_forgotten_too() {
    let folder = Folder::followed();
    folder.write("stays.log", "{0}\n", 1);
    let mut kept = Kept::new();
    let mut source = folder.open("", vec![]).await;
    drain_into(&mut source, &mut kept).await.unwrap();
    for round in 0..4 {
        let names: Vec<String> = (0..REMEMBERED / 3).map(|number| format!("{round}-{number}.log")).collect();
        names.iter().for_each(|name| folder.write(name, format!("{{{round}}}\n"), 2 + round));
        assert_eq!(drain_into(&mut source, &mut kept).await.unwrap().len(), names.len());
        names.iter().for_each(|name| fs::remove_file(folder.path(name)).unwrap());
        let_go(&mut source, &mut kept).await;
        drain_into(&mut source, &mut kept).await.unwrap();
    }
    let left = kept.keys().filter(|name| name.starts_with(&folder.name("0-"))).count();
    assert_eq!((left, kept.len()), (REMEMBERED - 3 * (REMEMBERED / 3), 1 + REMEMBERED));
}
