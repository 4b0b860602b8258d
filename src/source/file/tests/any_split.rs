use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Reads a file in rooms of these sizes, and opens it anew after each of them where `reopen` says so.
async fn in_pieces(folder: &Folder, name: &str, pieces: &[(usize, usize, bool)]) -> Vec<Record> {
    let mut source = folder.open(name, vec![]).await;
    let mut records = Vec::<Record>::new();
    for &(count, bytes, reopen) in pieces.iter().cycle() {
        match source.read(Room { records: count, bytes }).await.unwrap() {
            Read::Records(more) => {
                assert!(more.len() <= count);
                assert!(more.len() == 1 || more.iter().map(|record| record.payload.len()).sum::<usize>() <= bytes);
                records.extend(more);
            }
            _ => return records,
        }
        if reopen {
            source = folder.open(name, positions(&records)).await;
        }
    }
    records
}

fn seen(records: &[Record]) -> Vec<(Vec<u8>, u64, u64, i128, bool)> {
    let seen = |record: &Record| {
        let position = &record.position;
        let version = record.version.as_nanos();
        (record.payload.to_vec(), position.offset, position.ordinal, version, record.why_broken().is_some())
    };
    records.iter().map(seen).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However a file is read, and wherever reading is taken up again, it gives the same records in the same order.
    #[test]
    fn any_split_of_reads_gives_every_record_in_order(
        lines in vec("(\\{[a-z]{0,9}\\}|[a-z]{20,60}|\"?[a-z,\r\n\"]{0,6}| )", 0..12),
        ending in prop_oneof![Just("\n"), Just("\r\n")],
        ended in any::<bool>(),
        compressed in any::<bool>(),
        pieces in vec((1usize..5, 1usize..60, any::<bool>()), 1..8),
    ) {
        let mut text = lines.join(ending);
        if ended {
            text.push_str(ending);
        }
        let mut folder = Folder::new();
        folder.max_record = 30;
        let compressed_ending = if compressed { ".zst" } else { "" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for (ending, header) in [("jsonl", ""), ("csv", "one,two\n")] {
                let name = format!("a.{ending}{compressed_ending}");
                let content = format!("{header}{text}").into_bytes();
                folder.write(&name, if compressed { zstd::encode_all(&content[..], 1).unwrap() } else { content.clone() }, 1);
                let whole = folder.read(&name, vec![]).await;
                let pieces = in_pieces(&folder, &name, &pieces).await;
                assert_eq!(seen(&whole), seen(&pieces), "{name}");
                if ending == "jsonl" {
                    let expected = text.split('\n').filter(|line| !line.trim_ascii().is_empty()).count();
                    assert_eq!(whole.len(), expected);
                }
            }
        });
    }
}
