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

/// The rows of a text without a header line, each as its fields.
fn rows(text: &str, separator: Separator) -> Vec<Vec<String>> {
    let mut reader = csv_core::ReaderBuilder::new();
    let mut reader = reader.delimiter(separator.as_byte()).terminator(csv_core::Terminator::Any(b'\n')).build();
    let (mut input, mut rows, mut fields) = (text.as_bytes(), Vec::new(), Vec::new());
    let (mut field, mut length) = ([0; 1000], 0);
    loop {
        let (result, read, written) = reader.read_field(input, &mut field[length..]);
        (input, length) = (&input[read..], length + written);
        match result {
            // The next call, with nothing, says that this is all.
            csv_core::ReadFieldResult::InputEmpty => {}
            csv_core::ReadFieldResult::Field { record_end } => {
                fields.push(String::from_utf8(field[..std::mem::take(&mut length)].to_vec()).unwrap());
                if record_end {
                    rows.push(std::mem::take(&mut fields));
                }
            }
            csv_core::ReadFieldResult::End => return rows,
            csv_core::ReadFieldResult::OutputFull => panic!("no field is that long"),
        }
    }
}

/// These are the records of these rows. Some may be broken: too long, of another width, or never closed.
fn assert_rows(records: &[Record], rows: &[Vec<String>]) {
    assert_eq!(records.len(), rows.len());
    for (record, fields) in records.iter().zip(rows) {
        match (record.why_broken(), &fields[..]) {
            (None, [one, two]) => {
                let value: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
                let value = |name: &str| value.get(name).map_or("", |value| value.as_str().unwrap()).to_owned();
                assert_eq!([&value("one"), &value("two")], [one, two]);
            }
            (None, _) => panic!("{fields:?} is no row"),
            (Some(reason), [one, two]) => {
                assert!(one.len() + two.len() > 10 || reason.contains("never closed"), "{fields:?}: {reason}");
            }
            (Some(_), _) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However a file is read, and wherever reading is taken up again, it gives the same records in the same order.
    #[test]
    fn any_split_of_reads_gives_every_record_in_order(
        lines in vec("(\\{[a-z]{0,9}\\}|[a-z]{20,60}|\"?[a-z,;\r\n\"]{0,6}| )", 0..12),
        ending in prop_oneof![Just("\n"), Just("\r\n")],
        ended in any::<bool>(),
        compressed in any::<bool>(),
        separator in prop_oneof![Just(","), Just(";")].prop_map(separated_by),
        pieces in vec((1usize..5, 1usize..60, any::<bool>()), 1..8),
    ) {
        let mut text = lines.join(ending);
        if ended {
            text.push_str(ending);
        }
        let mut folder = Folder::new();
        folder.max_record = 30;
        folder.separator = Some(separator);
        let compressed_ending = if compressed { ".zst" } else { "" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for (ending, header) in [("jsonl", String::new()), ("csv", format!("one{separator}two\n"))] {
                let name = format!("a.{ending}{compressed_ending}");
                let content = format!("{header}{text}").into_bytes();
                folder.write(&name, if compressed { zstd::encode_all(&content[..], 1).unwrap() } else { content.clone() }, 1);
                let whole = folder.read(&name, vec![]).await;
                let pieces = in_pieces(&folder, &name, &pieces).await;
                assert_eq!(seen(&whole), seen(&pieces), "{name}");
                if ending == "jsonl" {
                    let expected = text.split('\n').filter(|line| !line.trim_ascii().is_empty()).count();
                    assert_eq!(whole.len(), expected);
                } else if !text.contains('\r') {
                    assert_rows(&whole, &rows(&text, separator));
                }
            }
        });
    }
}
