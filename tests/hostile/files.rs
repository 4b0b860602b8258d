//! Files of any bytes, in every format: reading them ends, and how it is cut into reads changes nothing.

use std::path::Path;

use vectide::document::decode::decode;
use vectide::settings::ByteSize;
use vectide::settings::source::FileSettings;
use vectide::source::file::FileSource;
use vectide::source::{Position, Read, Room, Source};
use vectide::testkit::hostile::attack;

/// Short, so that many lines are too long.
const MAX_RECORD: u64 = 2_000;

/// The most records that are read again in small pieces: each piece of a compressed file begins at its start.
const FEW: usize = 60;

#[test]
fn lines() {
    attack("lines", |input| read_every_way("a.jsonl", input));
}

#[test]
fn tables() {
    attack("table", |input| read_every_way("a.csv", input));
}

#[test]
fn compressed_lines_and_tables() {
    attack("compressed", |input| {
        let ending = if input.starts_with(b"\x1f\x8b") { "gz" } else { "zst" };
        read_every_way(&format!("a.jsonl.{ending}"), input);
        read_every_way(&format!("a.csv.{ending}"), input);
    });
}

#[cfg(feature = "parquet")]
#[test]
fn parquet() {
    attack("parquet", |input| read_every_way("a.parquet", input));
}

/// What tells a record from others, and whether it can be used.
type Seen = (Vec<u8>, u64, u64, Option<String>);

fn read_every_way(name: &str, input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, input).unwrap();
        let all = [(1_000, 1 << 20, false)];
        let (whole, error) = read(&path, &all).await;
        for (payload, .., broken) in &whole {
            match broken {
                Some(reason) => assert!(!reason.is_empty() && reason.len() < 1_500, "{reason}"),
                None => assert!(decode(payload).map_or_else(|reason| !reason.is_empty(), |_| true)),
            }
        }
        let offsets: Vec<u64> = whole.iter().map(|(_, offset, ..)| *offset).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "positions grow");
        if whole.len() <= FEW {
            let pieces = [(1, 1, true), (3, 64, false), (2, 4_000, true), (7, 200, false)];
            assert_eq!(read(&path, &pieces).await, (whole, error), "in pieces");
        }
    });
}

/// Reads to the end, or to the first error, in rooms of these sizes; opens the file anew after some of them.
async fn read(path: &Path, pieces: &[(usize, usize, bool)]) -> (Vec<Seen>, Option<String>) {
    let mut source = open(path, vec![]).await;
    let mut seen = Vec::new();
    for &(records, bytes, reopen) in pieces.iter().cycle() {
        match source.read(Room { records, bytes }).await {
            Ok(Read::Records(records)) => {
                let last = records[records.len() - 1].position.clone();
                seen.extend(records.into_iter().map(|record| {
                    let position = &record.position;
                    (record.payload.to_vec(), position.offset, position.ordinal, record.why_broken().map(str::to_owned))
                }));
                if reopen {
                    source = open(path, vec![last]).await;
                }
            }
            Ok(_) => return (seen, None),
            Err(error) => return (seen, Some(error.to_string())),
        }
    }
    unreachable!("pieces are repeated without end")
}

async fn open(path: &Path, committed: Vec<Position>) -> FileSource {
    let settings = FileSettings {
        path: path.display().to_string(),
        format: None,
        separator: None,
        follow: false,
        operation: None,
        max_record: ByteSize::bytes(MAX_RECORD),
    };
    let mut source = FileSource::new(&settings);
    source.open(committed).await.unwrap();
    source
}
