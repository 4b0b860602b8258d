use flate2::write::GzEncoder;

use super::*;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

/// Lines that do not compress well, so that a file cut in half still holds many of them.
fn many_lines() -> String {
    let mut random = fastrand::Rng::with_seed(7);
    (0..20_000).map(|line| format!("{{\"{line}\":\"{:x}\"}}\n", random.u128(..))).collect()
}

#[tokio::test]
async fn compressed_files_of_several_members_are_read_and_resumed() {
    for (name, compress) in [("a.jsonl.gz", gzip as fn(&str) -> Vec<u8>), ("a.jsonl.zst", zstandard)] {
        let folder = Folder::new();
        folder.write(name, [compress("{1}\n{2"), compress("}\n\n{3}\n")].concat(), 1);
        let records = folder.read(name, vec![]).await;
        assert_eq!(texts(&records), ["{1}", "{2}", "{3}"]);
        let again = folder.read(name, vec![committed(&records[0])]).await;
        assert_eq!(texts(&again), ["{2}", "{3}"]);
        assert_eq!(again[1].position.ordinal, 4);
        assert!(folder.read(name, positions(&records)).await.is_empty());
    }
}

#[tokio::test]
async fn zeros_behind_a_gzip_file_are_nothing_and_other_bytes_are_damage() {
    let folder = Folder::new();
    // More than is looked at at once.
    let zeros = vec![0; 200_000];
    folder.write("a.jsonl.gz", [gzip("{1}\n"), gzip("{2}\n"), zeros.clone()].concat(), 1);
    let records = folder.read("a.jsonl.gz", vec![]).await;
    assert_eq!(texts(&records), ["{1}", "{2}"]);
    assert!(records.iter().all(|record| record.why_broken().is_none()));
    folder.write("a.jsonl.gz", [gzip("{1}\n"), zeros, b"x".to_vec()].concat(), 2);
    let records = folder.read("a.jsonl.gz", vec![]).await;
    assert!(records.len() == 2 && records[1].why_broken().is_some(), "{records:?}");
    folder.write("a.jsonl.gz", [], 3);
    let records = folder.read("a.jsonl.gz", vec![]).await;
    assert!(records.len() == 1 && records[0].why_broken().is_some(), "an empty file is no gzip file: {records:?}");
}

#[tokio::test]
async fn a_damaged_compressed_file_gives_what_is_sound_and_one_broken_record_once() {
    let text = many_lines();
    let damaged = |mut bytes: Vec<u8>, cut: bool| {
        let half = bytes.len() / 2;
        if cut {
            bytes.truncate(half)
        } else {
            bytes[half..half + 200].fill(0xFF)
        }
        bytes
    };
    for (name, compress) in [("a.jsonl.gz", gzip as fn(&str) -> Vec<u8>), ("a.jsonl.zst", zstandard)] {
        // Zstandard without a checksum does not tell that bytes were overwritten.
        for &cut in if name.ends_with("gz") { &[true, false][..] } else { &[true] } {
            let folder = Folder::new();
            folder.write(name, damaged(compress(&text), cut), 1);
            folder.write("b.jsonl", "{\"other\":1}\n", 1);
            let records = folder.read("", vec![]).await;
            let broken = records.iter().position(|record| record.why_broken().is_some()).unwrap();
            assert_eq!(broken, records.len() - 2, "{name}: the damage ends the file and not the source");
            assert!(broken > 100, "{name}: {broken}");
            // Only its end tells that gzip decoded overwritten bytes to something else.
            let sound = if cut { broken } else { 100 };
            assert!(records[..sound].iter().zip(text.lines()).all(|(record, line)| record.payload == line), "{name}");
            let reason = records[broken].why_broken().unwrap();
            assert!(reason.contains("decompressed"), "{reason}");
            assert_eq!(records[broken].position.ordinal, broken as u64 + 1);
            assert!(folder.read("", positions(&records)).await.is_empty(), "{name}: the damage is told once");
            let again = folder.read(name, vec![committed(&records[broken - 2])]).await;
            assert_eq!(again.len(), 2, "{name}: the record before the damage, and the damage");
        }
    }
}

#[tokio::test]
async fn a_compressed_file_that_is_damaged_at_its_beginning_is_one_broken_record_once_in_every_format() {
    for (ending, compress) in [("gz", gzip as fn(&str) -> Vec<u8>), ("zst", zstandard)] {
        let line = format!("id,{}", "x".repeat(200_000));
        let mut cut = compress(&line);
        cut.truncate(cut.len() - 10);
        for content in [Vec::new(), cut] {
            for format in ["jsonl", "csv"] {
                let (folder, name) = (Folder::new(), format!("a.{format}.{ending}"));
                folder.write(&name, &content, 1);
                let records = folder.read(&name, vec![]).await;
                assert!(records.len() == 1 && records[0].why_broken().is_some(), "{name}: {records:?}");
                assert!(folder.read(&name, positions(&records)).await.is_empty(), "{name}: the damage is told once");
            }
        }
    }
}

#[tokio::test]
async fn rows_become_objects() {
    let cases: [(&str, &str, &[&str]); 11] = [
        ("plain", "id,text\n1,a\n2,b\n", &[r#"{"id":"1","text":"a"}"#, r#"{"id":"2","text":"b"}"#]),
        ("an empty value", "id,text\r\n1,\r\n,\r\n", &[r#"{"id":"1"}"#, "{}"]),
        (
            "quotation marks",
            "id,text\n1,\"a, \"\"b\"\"\nc\"\n2,d\"e",
            &[r#"{"id":"1","text":"a, \"b\"\nc"}"#, r#"{"id":"2","text":"d\"e"}"#],
        ),
        ("a byte order mark", "\u{feff}id\n1\n", &[r#"{"id":"1"}"#]),
        ("blank lines", "id\n\n1\n\n", &[r#"{"id":"1"}"#]),
        ("a header line alone", "id,text\n", &[]),
        ("a carriage return in a name", "\"i\rd\"\r\n1\r\n", &[r#"{"i\rd":"1"}"#]),
        ("an empty file", "", &[]),
        ("one column", "\"sku; number\"\na;b|c\n", &[r#"{"sku; number":"a;b|c"}"#]),
        (
            "columns without a name",
            ",id,,text,\n0,1,,a,\n1,2,x,,\"y\"\n",
            &[r#"{"id":"1","text":"a"}"#, r#"{"id":"2"}"#],
        ),
        ("other separators beside a comma", "a;b\tc|d,e\n1,2\n", &[r#"{"a;b\tc|d":"1","e":"2"}"#]),
    ];
    for (case, content, expected) in cases {
        let folder = Folder::new();
        folder.write("a.csv", content, 1);
        assert_eq!(texts(&folder.read("a.csv", vec![]).await), expected, "{case}");
    }
}

#[tokio::test]
async fn values_stand_between_what_is_set_or_between_tabs_where_the_ending_says_so() {
    let quoted = "id;text;price, gross\r\n1;\"a;\"\"b\"\"\n;c\";2,50\r\n2;;\"\"\r\n";
    let expected = [r#"{"id":"1","text":"a;\"b\"\n;c","price, gross":"2,50"}"#, r#"{"id":"2"}"#];
    let tabs = quoted.replace(';', "\t");
    for (name, separator, content) in [
        ("a.csv", Some(";"), quoted.as_bytes().to_vec()),
        ("a.csv.gz", Some(";"), gzip(quoted)),
        ("a.tsv", Some(";"), quoted.as_bytes().to_vec()),
        ("a.csv", Some("tab"), tabs.as_bytes().to_vec()),
        ("a.tsv", None, tabs.as_bytes().to_vec()),
        ("a.tsv.zst", None, zstandard(&tabs)),
    ] {
        let folder = Folder { separator: separator.map(separated_by), ..Folder::new() };
        folder.write(name, content, 1);
        let expected = if separator == Some(";") {
            expected.map(str::to_owned)
        } else {
            expected.map(|row| row.replace("a;", "a\\t").replace(";c", "\\tc"))
        };
        let records = folder.read(name, vec![]).await;
        assert_eq!(texts(&records), expected, "{name}, {separator:?}");
        let again = folder.read(name, vec![committed(&records[0])]).await;
        assert_eq!(texts(&again), expected[1..], "{name}, {separator:?}");
    }
}

#[tokio::test]
async fn a_separator_that_is_set_is_not_doubted_for_commas_in_names() {
    let folder = Folder { separator: Some(separated_by(";")), ..Folder::new() };
    folder.write("a.csv", "id;size (L, W, H)\n1;2\n", 1);
    assert_eq!(texts(&folder.read("a.csv", vec![]).await), [r#"{"id":"1","size (L, W, H)":"2"}"#]);
    folder.write("a.csv", "id,text\n1,a\n", 2);
    let error = drain(&mut folder.open("a.csv", vec![]).await).await.unwrap_err().to_string();
    assert!(error.contains("separated by `,`; set `separator: ','` for this source"), "{error}");
}

#[tokio::test]
async fn a_broken_row_is_kept_as_it_is_and_the_next_ones_are_sound() {
    let cases: [(&[u8], &[u8], &str); 4] = [
        (b"1,2,3", b"1,2,3", "3 columns where the header line has 2"),
        (b"1", b"1", "1 columns where the header line has 2"),
        (b"1,\xFF", b"1,\xFF", "not UTF-8"),
        (b"1,\"\xFF\n\"\r", b"1,\"\xFF\n\"", "the value of column `text` is not UTF-8"),
    ];
    for (row, payload, reason) in cases {
        let folder = Folder::new();
        folder.write("a.csv", [&b"id,text\n"[..], row, b"\n9,z\n"].concat(), 1);
        let records = folder.read("a.csv", vec![]).await;
        assert_eq!(records[0].payload, payload);
        assert!(records[0].why_broken().unwrap().contains(reason), "{:?}", records[0].why_broken());
        assert_eq!(texts(&records[1..]), [r#"{"id":"9","text":"z"}"#]);
    }
    let folder = Folder::new();
    folder.write("a.csv", b"\"a \"\"b\"\"::\"\n\xFF\n", 1);
    let reason = folder.read("a.csv", vec![]).await[0].why_broken().unwrap().to_owned();
    assert_eq!(reason, r#"the value of column `a "b"::` is not UTF-8; save the file as UTF-8"#);
}

#[tokio::test]
async fn an_open_quotation_mark_costs_one_record_and_no_memory() {
    let mut folder = Folder::new();
    folder.write("a.csv", "id\n1\n\"2\n3\n", 1);
    let records = folder.read("a.csv", vec![]).await;
    assert_eq!(records[1].payload, "\"2\n3\n");
    assert!(records[1].why_broken().unwrap().contains("line 3"), "{:?}", records[1].why_broken());
    folder.max_record = 1000;
    folder.write("a.csv", format!("id\n1\n\"2{}", "\n3".repeat(2 << 20)), 1);
    let records = folder.read("a.csv", vec![]).await;
    assert_eq!((records.len(), records[1].payload.len()), (2, 64 << 10));
    let reason = records[1].why_broken().unwrap();
    assert!(
        reason.contains("max_record") && reason.ends_with("close the quotation mark that it may have opened"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_byte_order_mark_hides_no_quotation_mark() {
    let folder = Folder::new();
    folder.write("a.csv", "\u{feff}\"id\nnumber\",\"a,b\"\n1,2\n", 1);
    assert_eq!(texts(&folder.read("a.csv", vec![]).await), [r#"{"id\nnumber":"1","a,b":"2"}"#]);
}

/// Why a file with this content is not read at all.
async fn why_unread(name: &str, content: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    folder.write(name, content, 1);
    drain(&mut folder.open(name, vec![]).await).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_header_line_that_is_no_text_is_not_looked_at_for_line_endings() {
    // Of the one that is too long, what is kept ends inside a character.
    for (header, reason) in [
        ([b"\x1F\x8B\x08\r", &*gzip("id,text\n1,a\n")].concat(), "is compressed, let its name end with `.gz`"),
        (b"id,t\xE4xt\r1,a\n".to_vec(), "save the file as UTF-8"),
        (["i\rd", &"\u{1F980}".repeat(300_000)].concat().into_bytes(), "carriage return alone"),
    ] {
        let error = why_unread("a.csv", header).await;
        assert!(error.contains(reason) && error.len() < 400, "{error}");
    }
}

#[tokio::test]
async fn a_header_line_that_cannot_be_one_is_told_in_a_few_words() {
    let columns = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    for (header, reason) in [
        (columns(16_385), "names 16385 columns; at most 16384"),
        ("x".repeat(256 << 10) + ",y", "has 262146 bytes; at most 262144"),
        ([&*"x".repeat(90_000); 2].join(","), "xxx..` (90000 bytes) twice"),
        ("id,text\r1,a\r2,b".to_owned(), "carriage return alone"),
        ("id,text\r1,a\r".repeat(100_000), "carriage return alone"),
        (",\"\",".to_owned(), "names no column"),
        ("id;text|a".to_owned(), "separated by `;`; set `separator: ';'` for this source"),
        ("id\ttext".to_owned(), "separated by tabs; set `separator: tab` for this source"),
        ("\"id\"|\"text\"".to_owned(), "separated by `|`; set `separator: '|'` for this source"),
        ("id;name;\"weight; kg\";price, gross".to_owned(), "separated by `;`; set"),
        ("\"id\";\"name, long, very\";\"price\"".to_owned(), "separated by `;`; set"),
    ] {
        let error = why_unread("a.csv", format!("{header}\n1,2\n")).await;
        assert!(error.contains(reason) && error.len() < 400, "{error}");
    }
    let folder = Folder::new();
    folder.write("a.csv", format!("{}\n{}\n", columns(16_384), ["1"; 16_384].join(",")), 1);
    assert_eq!(folder.read("a.csv", vec![]).await.len(), 1);
}

#[tokio::test]
async fn a_separator_that_is_set_is_not_doubted_where_it_stands() {
    let mut folder = Folder::new();
    folder.write("a.csv", "sku,weights;gross;net\n1,2\n", 1);
    assert!(drain(&mut folder.open("a.csv", vec![]).await).await.is_err());
    folder.separator = Some(crate::settings::separator::Separator::COMMA);
    assert_eq!(texts(&folder.read("a.csv", vec![]).await), [r#"{"sku":"1","weights;gross;net":"2"}"#]);
}

/// A frame that says that its decoder must remember so many bytes, as `zstd --long` writes it.
fn zstandard_frame(window_log: u32, text: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_zstandard_file_may_ask_for_128_mib_and_no_more() {
    for (window_log, read) in [(27, true), (28, false)] {
        let folder = Folder::new();
        folder.write("a.jsonl.zst", zstandard_frame(window_log, "{1}\n"), 1);
        let records = folder.read("a.jsonl.zst", vec![]).await;
        assert_eq!((records.len(), records[0].why_broken().is_none()), (1, read));
        let reason = records[0].why_broken().unwrap_or_default();
        let told = "too much memory; compress it with a window of at most 128 MiB (`zstd --long=27` or less)";
        assert!(read || reason.contains(told), "{reason}");
    }
}

#[tokio::test]
async fn a_line_that_inflates_without_end_is_one_broken_record_between_sound_ones() {
    for (name, compress) in [("a.jsonl.gz", gzip as fn(&str) -> Vec<u8>), ("a.jsonl.zst", zstandard)] {
        let mut folder = Folder::new();
        folder.max_record = 1_000;
        let zeros = compress(&"0".repeat(8 << 20)).repeat(8);
        folder.write(name, [compress("{1}\n"), zeros, compress("\n{2}\n")].concat(), 1);
        let records = folder.read(name, vec![]).await;
        assert_eq!((&*records[0].payload, &*records[2].payload, records.len()), (&b"{1}"[..], &b"{2}"[..], 3));
        assert!(records[1].why_broken().unwrap().contains("67108864 bytes"), "{:?}", records[1].why_broken());
        assert!((1_000..=64 << 10).contains(&records[1].payload.len()), "{} bytes", records[1].payload.len());
    }
}

/// A record that keeps the memory of what was read with it counts for its own bytes alone.
#[tokio::test]
async fn records_between_what_is_no_record_have_memory_of_their_own() {
    let blank = "\n".repeat(100_000);
    let too_long = "x".repeat(100_000);
    let mut folder = Folder::new();
    folder.max_record = 1000;
    // (the content, whether sound records share their memory)
    let cases = [
        ("{1}\n{2}\n".to_owned(), true),
        (format!("{{1}}\n{blank}{{2}}\n"), false),
        (format!("{{1}}\n{{2}}\n{blank}"), false),
        (format!("{{1}}\n{too_long}\n{{2}}\n"), false),
        (format!("{}{too_long}\n", "{1}\n".repeat(100_000)), true),
    ];
    for (content, share) in cases {
        folder.write("a.jsonl", &content, 1);
        for record in &folder.read("a.jsonl", vec![]).await {
            let shares = !record.payload.is_unique();
            assert_eq!(shares, share && record.why_broken().is_none(), "{}", record.position);
        }
    }
}

#[tokio::test]
async fn rows_are_resumed_with_their_lines_and_the_header() {
    for name in ["a.csv", "a.csv.gz"] {
        let folder = Folder::new();
        let text = "id,text\n1,\"a\nb\"\n\n2,c\n3,d\n";
        folder.write(name, if name == "a.csv" { text.as_bytes().to_vec() } else { gzip(text) }, 1);
        let records = folder.read(name, vec![]).await;
        assert_eq!(records.iter().map(|record| record.position.ordinal).collect::<Vec<_>>(), [2, 5, 6]);
        for done in 0..3 {
            let again = folder.read(name, vec![committed(&records[done])]).await;
            assert_eq!(texts(&again), texts(&records[done + 1..]));
            let versions = |records: &[Record]| records.iter().map(|record| record.version).collect::<Vec<_>>();
            assert_eq!(versions(&again), versions(&records[done + 1..]));
        }
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::basic::{Compression, Encoding, ZstdLevel};
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
    use ::parquet::file::properties::{WriterProperties, WriterVersion};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    use ::parquet::schema::types::ColumnPath;
    use arrow_schema::{DataType, Field, Fields, Schema};

    use super::*;

    /// Row groups of ids, with a title for even ids, and two times.
    fn write(groups: &[std::ops::Range<i64>]) -> Vec<u8> {
        let schema = "message rows { required int64 id; optional binary title (UTF8); \
                      required int64 at (TIMESTAMP(MILLIS,true)); required int64 local (TIMESTAMP(MICROS,false)); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
        for ids in groups {
            let ids = ids.clone().collect::<Vec<_>>();
            let mut group = writer.next_row_group().unwrap();
            for column in 0.. {
                let Some(mut writer) = group.next_column().unwrap() else { break };
                if column == 1 {
                    let even = ids.iter().filter(|id| *id % 2 == 0);
                    let titles = even.map(|id| ByteArray::from(format!("\"{id}\"\n").as_str())).collect::<Vec<_>>();
                    let levels = ids.iter().map(|id| i16::from(id % 2 == 0)).collect::<Vec<_>>();
                    writer.typed::<ByteArrayType>().write_batch(&titles, Some(&levels), None).unwrap();
                } else {
                    let factor = [1, 0, 1_000, 1_000_000][column];
                    let values = ids.iter().map(|id| id * factor).collect::<Vec<_>>();
                    writer.typed::<Int64Type>().write_batch(&values, None, None).unwrap();
                }
                writer.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
        bytes
    }

    fn row(id: i64) -> serde_json::Value {
        let time = format!("1970-01-01T00:{:02}:{:02}Z", id / 60, id % 60);
        let mut row = serde_json::json!({ "id": id, "at": time, "local": time });
        if id % 2 == 0 {
            row["title"] = format!("\"{id}\"\n").into();
        }
        row
    }

    fn rows(records: &[Record]) -> Vec<serde_json::Value> {
        let row = |record: &Record| {
            assert_eq!(record.why_broken(), None);
            serde_json::from_slice(&record.payload).unwrap()
        };
        records.iter().map(row).collect()
    }

    #[tokio::test]
    async fn rows_become_objects_with_times_as_texts_and_are_resumed_by_number() {
        let folder = Folder::new();
        folder.write("a.parquet", write(&[0..3, 3..3, 3..1500]), 1);
        let records = folder.read("a.parquet", vec![]).await;
        assert_eq!(rows(&records), (0..1500).map(row).collect::<Vec<_>>());
        assert_eq!((records[4].position.offset, records[4].position.ordinal), (5, 5));
        for done in [1, 3, 4, 1100, 1500] {
            let again = folder.read("a.parquet", vec![committed(&records[done - 1])]).await;
            assert_eq!(rows(&again), rows(&records[done..]), "after {done} rows");
        }
    }

    #[tokio::test]
    async fn a_time_that_no_calendar_has_makes_its_row_a_broken_record_and_no_text() {
        let schema = "message rows { required int64 at (TIMESTAMP(MILLIS,true)); required int32 day (DATE); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[0, i64::MAX, 0, 1000], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[0, 0, i32::MAX, 1], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let folder = Folder::new();
        folder.write("a.parquet", bytes, 1);
        let records = folder.read("a.parquet", vec![]).await;
        assert_eq!(records.len(), 4);
        for (record, column) in [(&records[1], "at"), (&records[2], "day")] {
            let reason = record.why_broken().unwrap();
            assert!(reason.contains(&format!("column `{column}`")), "{reason}");
            assert!(!String::from_utf8_lossy(&record.payload).contains("ERROR"), "it could be replayed as a text");
        }
        assert!(records[0].why_broken().is_none());
        assert_eq!(texts(&records)[3], r#"{"at":"1970-01-01T00:00:01Z","day":"1970-01-02"}"#);
        assert_eq!(records[3].why_broken(), None);
    }

    #[tokio::test]
    async fn a_damaged_row_group_is_one_broken_record_and_the_next_group_is_read() {
        let folder = Folder::new();
        let mut bytes = write(&[0..1000, 1000..1010]);
        bytes[10..400].fill(0xFF);
        folder.write("a.parquet", bytes, 1);
        let records = folder.read("a.parquet", vec![]).await;
        assert!(records[0].why_broken().unwrap().contains("rows 1 to 1000"), "{:?}", records[0].why_broken());
        assert_eq!(rows(&records[1..]), (1000..1010).map(row).collect::<Vec<_>>());
        assert_eq!(folder.read("a.parquet", vec![committed(&records[0])]).await.len(), 10);
    }

    #[tokio::test]
    async fn values_of_every_kind_come_out_as_they_went_in_however_they_are_encoded() {
        let list = |item: DataType| DataType::new_list(item, true);
        let size =
            Fields::from(vec![Field::new("w", DataType::Float64, true), Field::new("unit", DataType::Utf8, true)]);
        let entry =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)]);
        let vector = Arc::new(Field::new_list_field(DataType::Float32, true));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("title", DataType::LargeUtf8, true),
            Field::new("tags", list(DataType::Utf8), true),
            Field::new("lists", list(list(DataType::Int32)), true),
            Field::new("views", DataType::ListView(Arc::new(Field::new_list_field(DataType::Utf8, true))), true),
            Field::new("raw", DataType::Binary, true),
            Field::new("code", DataType::FixedSizeBinary(2), true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("size", DataType::Struct(size), true),
            Field::new("seen", DataType::Map(Arc::new(Field::new_struct("entries", entry, false)), false), true),
            Field::new("vector", DataType::FixedSizeList(vector, 2), true),
        ]));
        let row = |id: u32| {
            let mut row = serde_json::json!({
                "id": id, "title": format!("a title of many words, {}", id % 7), "tags": ["new", format!("tag \"{id}\""), null],
                "lists": [[1, 2], [], [id]], "views": [format!("view {}", id % 3)], "raw": format!("{id:08x}"), "code": "00ff", "price": 12.25,
                "size": {"w": 1.5, "unit": "kg"}, "seen": {"here": id}, "vector": [0.5, f64::from(id)],
            });
            if id % 5 == 4 {
                row.as_object_mut()
                    .unwrap()
                    .iter_mut()
                    .filter(|(name, _)| *name != "id")
                    .for_each(|(_, value)| drop(value.take()));
            }
            row
        };
        let rows_in: Vec<_> = (0..1_000).map(row).collect();
        let text = rows_in.iter().map(|row| format!("{row}\n")).collect::<String>();
        let batch =
            arrow_json::ReaderBuilder::new(schema).with_batch_size(2_000).build(text.as_bytes()).unwrap().next();
        let batch = batch.unwrap().unwrap();
        let present = rows_in.iter().map(|row| {
            let fields = row.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
        });
        let present: Vec<serde_json::Value> = present.collect();
        let only = |row: &serde_json::Value, schema: &Schema| {
            let mut row = row.clone();
            row.as_object_mut().unwrap().retain(|name, _| schema.field_with_name(name).is_ok());
            row
        };
        for (version, compression) in [
            (WriterVersion::PARQUET_1_0, Compression::UNCOMPRESSED),
            (WriterVersion::PARQUET_1_0, Compression::ZSTD(ZstdLevel::default())),
            (WriterVersion::PARQUET_2_0, Compression::SNAPPY),
        ] {
            for encoding in
                [None, Some(Encoding::PLAIN), Some(Encoding::DELTA_LENGTH_BYTE_ARRAY), Some(Encoding::DELTA_BYTE_ARRAY)]
            {
                let mut properties = WriterProperties::builder()
                    .set_writer_version(version)
                    .set_compression(compression)
                    .set_data_page_row_count_limit(100)
                    .set_write_batch_size(50);
                for column in ["title", "raw", "tags.list.element", "seen.entries.key"] {
                    let path = ColumnPath::from(column.split('.').map(str::to_owned).collect::<Vec<_>>());
                    properties = properties.set_column_dictionary_enabled(path.clone(), encoding.is_none());
                    if let Some(encoding) = encoding {
                        properties = properties.set_column_encoding(path, encoding);
                    }
                }
                let properties = properties.build();
                // Without lists, rows are passed over.
                for columns in [(0..11).collect::<Vec<_>>(), vec![0, 1, 5, 6, 7, 8]] {
                    let batch = batch.project(&columns).unwrap();
                    let present: Vec<_> = present.iter().map(|row| only(row, &batch.schema())).collect();
                    let mut bytes = Vec::new();
                    let mut writer =
                        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.clone())).unwrap();
                    writer.write(&batch).unwrap();
                    writer.close().unwrap();
                    let folder = Folder::new();
                    folder.write("a.parquet", bytes, 1);
                    let records = folder.read("a.parquet", vec![]).await;
                    let case = format!("{version:?}, {compression:?}, {encoding:?}, {columns:?}");
                    assert_eq!(rows(&records), present, "{case}");
                    for done in [99, 100, 777] {
                        let again = folder.read("a.parquet", vec![committed(&records[done - 1])]).await;
                        assert_eq!(rows(&again), present[done..], "{case}, after {done} rows");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_parquet_file_is_an_error_that_names_it() {
        let folder = Folder::new();
        folder.write("a.parquet", "{1}\n", 1);
        let error = drain(&mut folder.open("a.parquet", vec![]).await).await.unwrap_err().to_string();
        assert!(error.contains("a.parquet"), "{error}");
    }
}

/// Another content of this length, which begins the same for as far as beginnings are compared, would be seen if it were read.
#[tokio::test]
async fn a_file_that_was_read_to_its_end_is_not_read_again_though_it_could_not_be_entered_behind_its_records() {
    let rows = "12345\n".repeat(20_000);
    let columns: Vec<String> = (10_000..23_000).map(|number| format!("c{number}")).collect();
    let header = |last: &str| format!("{},{last:>6}\n{}\n", columns.join(","), "1,".repeat(13_000));
    let lines = zstandard(&many_lines());
    // A frame that decoders pass over.
    let padding =
        |length: usize| [&0x184D_2A50_u32.to_le_bytes()[..], &(length as u32).to_le_bytes(), &vec![0; length]].concat();
    let more = zstandard("{new}\n");
    for (name, before, after) in [
        ("a.csv", header("c9").into_bytes(), header("c10000").into_bytes()),
        ("a.csv", format!("id\n{rows}\n\n\n\n").into_bytes(), format!("id\n{rows}1\n2\n").into_bytes()),
        (
            "a.jsonl.zst",
            [lines.clone(), padding(100 + more.len())].concat(),
            [lines.clone(), more.clone(), padding(100)].concat(),
        ),
    ] {
        let folder = Folder::new();
        folder.write(name, &before, 1);
        let mut kept = Kept::new();
        let mut source = folder.open(name, vec![]).await;
        assert!(!drain_into(&mut source, &mut kept).await.unwrap().is_empty(), "{name}");
        folder.write(name, &after, 1);
        assert_eq!(folder.read(name, kept.into_values().collect()).await.len(), 0, "{name}");
    }
}
