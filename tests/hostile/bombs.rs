//! Parquet files of a few kilobytes or megabytes that stand for gigabytes. Each is read by a process that may not have so much.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use parquet::schema::parser::parse_message_type;
use vectide::settings::ByteSize;
use vectide::settings::source::FileSettings;
use vectide::source::file::FileSource;
use vectide::source::{Read, Record, Room, Source, SourceError};

/// What the process that reads may have, in KiB: its threads, what is budgeted for a file, and no more than that again.
const MEMORY: u32 = 2 << 20;

/// Set in that process.
const ALONE: &str = "VECTIDE_HOSTILE_ALONE";

const TEXTS: &str = "message rows { required binary a (UTF8); }";
const LISTS: &str =
    "message rows { required group a (LIST) { repeated group list { required binary element (UTF8); } } }";

/// Runs the test in a process with bounded memory; says whether this is that process.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let run = format!("ulimit -v {MEMORY} && exec \"$0\" --exact \"$1\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(run).arg(std::env::current_exe().unwrap()).arg(test).env(ALONE, "1");
    let done = shell.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "{said}");
    false
}

#[test]
fn a_value_that_is_used_in_every_row_is_held_once() {
    if !alone("bombs::a_value_that_is_used_in_every_row_is_held_once") {
        return;
    }
    let file = parquet(
        TEXTS,
        Compression::UNCOMPRESSED,
        100_000,
        vec![dictionary(16 << 20), data(100_000, indices(&[(100_000, 0)]))],
    );
    let records = read(file.clone(), 100);
    assert_eq!(records.len(), 100_000);
    for record in records {
        assert_eq!(record.payload.len(), 100);
        assert!(record.why_broken().unwrap().contains("more than the 100 bytes"));
    }
    // Where the rows are sound, as many are read as there is room for.
    let sound = read_some(file, 32 << 20, Some(3));
    assert!(sound.iter().all(|record| record.why_broken().is_none() && record.payload.len() > 16 << 20));
    assert_eq!(sound.len(), 3);
}

#[test]
fn a_list_that_repeats_a_value_is_a_row_that_is_too_long_and_the_next_is_read() {
    if !alone("bombs::a_list_that_repeats_a_value_is_a_row_that_is_too_long_and_the_next_is_read") {
        return;
    }
    let levels = [levels(&[(1, 0), (99_999, 1), (1, 0)]), levels(&[(100_001, 1)])].concat();
    let values = indices(&[(100_000, 0), (1, 1)]);
    let file = parquet(
        LISTS,
        Compression::UNCOMPRESSED,
        2,
        vec![dictionary(1 << 20), data(100_001, [levels, values].concat())],
    );
    let records = read(file, 16 << 20);
    assert_eq!(records.len(), 2);
    assert!(records[0].why_broken().unwrap().contains("max_record"), "{:?}", records[0].why_broken());
    assert_eq!(records[0].payload.len(), 64 << 10);
    assert_eq!((records[1].why_broken(), &*records[1].payload), (None, &br#"{"a":["end"]}"#[..]));
}

#[test]
fn what_would_not_fit_into_memory_is_told_and_not_decoded() {
    if !alone("bombs::what_would_not_fit_into_memory_is_told_and_not_decoded") {
        return;
    }
    let zeros = zstd::bulk::compress(&vec![0; 16 << 20], 1).unwrap().repeat(256);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&[0; 16 << 20]).unwrap();
    let gzip = gzip.finish().unwrap().repeat(256);
    let endless =
        [levels(&[(1, 0), (i32::MAX.cast_unsigned() - 1, 1)]), levels(&[(i32::MAX.cast_unsigned(), 1)])].concat();
    let endless = data(i32::MAX.cast_unsigned(), [endless, indices(&[(i32::MAX.cast_unsigned(), 0)])].concat());
    let shared = [levels(&[(1, 0), (9_999, 1)]), levels(&[(10_000, 1)]), prefixes(10_000, 1 << 20)].concat();
    let shared = encoded(10_000, shared, Encoding::DELTA_BYTE_ARRAY);
    let lengths = encoded(1, lengths(u64::from(u32::MAX)), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    for (case, file) in [
        ("a page that inflates", parquet(TEXTS, Compression::ZSTD(Default::default()), 1, vec![data(1, zeros)])),
        ("a page of gzip that inflates", parquet(TEXTS, Compression::GZIP(Default::default()), 1, vec![data(1, gzip)])),
        ("a run of values without end", parquet(LISTS, Compression::UNCOMPRESSED, 1, vec![dictionary(8), endless])),
        ("prefixes of the value before", parquet(LISTS, Compression::UNCOMPRESSED, 1, vec![shared])),
        ("more lengths than values", parquet(TEXTS, Compression::UNCOMPRESSED, 1, vec![lengths])),
    ] {
        let records = read(file, 16 << 20);
        assert_eq!(records.len(), 1, "{case}");
        let reason = records[0].why_broken().unwrap();
        assert!(reason.contains("rows 1 to 1 cannot be read"), "{case}: {reason}");
        assert!(reason.contains("512 MiB") || reason.contains("more lengths than values"), "{case}: {reason}");
    }
}

#[test]
fn columns_that_are_nested_without_end_do_not_end_the_process() {
    if !alone("bombs::columns_that_are_nested_without_end_do_not_end_the_process") {
        return;
    }
    const LEVELS: u64 = 1_000_000;
    // A version, and a list of elements that have a name and one child each.
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
    footer.extend(varint(LEVELS));
    footer.extend([0x48, 1, b'a', 0x15, 0x02, 0].repeat(LEVELS as usize));
    footer.push(0);
    let length = (footer.len() as u32).to_le_bytes();
    let told = try_read([b"PAR1", &footer[..], &length, b"PAR1"].concat(), 16 << 20, None).unwrap_err().to_string();
    assert!(told.contains("nested more than 200 levels"), "{told}");
}

#[test]
fn a_wide_file_whose_columns_have_large_dictionaries_is_read() {
    if !alone("bombs::a_wide_file_whose_columns_have_large_dictionaries_is_read") {
        return;
    }
    // All dictionaries are held at once: 80 MB of numbers.
    const COLUMNS: usize = 1_000;
    let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values((0..10_000).map(f64::from)));
    let rows = RecordBatch::try_from_iter((0..COLUMNS).map(|column| (format!("c{column}"), numbers.clone()))).unwrap();
    let compression = Compression::ZSTD(Default::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    let records = read_some(writer.into_inner().unwrap(), 16 << 20, Some(500));
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.why_broken(), None);
        let row: Vec<_> = (0..COLUMNS).map(|column| format!("\"c{column}\":{number}.0")).collect();
        assert_eq!(record.payload, format!("{{{}}}", row.join(",")));
    }
}

/// A file of one column: a row group with these pages.
fn parquet(schema: &str, compression: Compression, rows: u64, pages: Vec<Page>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    let column = file.schema_descr().column(0);
    let mut written = TrackedWrite::new(Vec::new());
    let (mut data, mut dictionary, mut values) = (None, None, 0);
    for page in pages {
        let (is_dictionary, length) = (page.is_dictionary_page(), page.buffer().len());
        let spec = SerializedPageWriter::new(&mut written).write_page(CompressedPage::new(page, length)).unwrap();
        let first = if is_dictionary { &mut dictionary } else { &mut data };
        first.get_or_insert(i64::try_from(spec.offset).unwrap());
        values += i64::from(spec.num_values);
    }
    let bytes: Bytes = written.into_inner().unwrap().into();
    let length = i64::try_from(bytes.len()).unwrap();
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(compression)
        .set_num_values(values)
        .set_total_compressed_size(length)
        .set_total_uncompressed_size(length)
        .set_data_page_offset(data.unwrap())
        .set_dictionary_page_offset(dictionary)
        .build()
        .unwrap();
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: rows,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    let mut group = file.next_row_group().unwrap();
    group.append_column(&bytes, close).unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}

/// A text of this length, and `end`.
fn dictionary(length: usize) -> Page {
    let text = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_le_bytes(), text].concat();
    let buf = [text(&vec![b'x'; length]), text(b"end")].concat().into();
    Page::DictionaryPage { buf, num_values: 2, encoding: Encoding::PLAIN, is_sorted: false }
}

fn data(values: u32, buf: Vec<u8>) -> Page {
    encoded(values, buf, Encoding::RLE_DICTIONARY)
}

fn encoded(num_values: u32, buf: Vec<u8>, encoding: Encoding) -> Page {
    let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
    Page::DataPage { buf: buf.into(), num_values, encoding, def_level_encoding, rep_level_encoding, statistics: None }
}

/// Runs of numbers of one bit.
fn runs(runs: &[(u32, u8)]) -> Vec<u8> {
    runs.iter().flat_map(|(times, number)| [varint(u64::from(*times) << 1), vec![*number]].concat()).collect()
}

fn levels(of: &[(u32, u8)]) -> Vec<u8> {
    let runs = runs(of);
    [&u32::try_from(runs.len()).unwrap().to_le_bytes()[..], &runs].concat()
}

fn indices(of: &[(u32, u8)]) -> Vec<u8> {
    [vec![1], runs(of)].concat()
}

/// Texts of which the first has this length, and the others are the same again.
fn prefixes(count: u64, length: u32) -> Vec<u8> {
    let steps =
        |steps: [u32; 2]| steps.into_iter().chain([steps[1]; 126]).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    // Numbers are steps from the one before, less the smallest step of their 128: here four times 32 of them, of 32 bits.
    let list = |first: i64, least: i64, others: [u32; 2]| {
        let zigzag = |number: i64| varint(((number << 1) ^ (number >> 63)).cast_unsigned());
        let same = [zigzag(0), vec![0; 4]].concat().repeat(usize::try_from(count / 128).unwrap());
        [varint(128), varint(4), varint(count), zigzag(first), zigzag(least), vec![32; 4], steps(others), same].concat()
    };
    let prefixes = list(0, 0, [length, 0]);
    let suffixes = list(length.into(), -i64::from(length), [0, length]);
    [prefixes, suffixes, vec![b'x'; length as usize]].concat()
}

/// The beginning of a list of so many numbers.
fn lengths(count: u64) -> Vec<u8> {
    [varint(128), varint(4), varint(count), varint(0)].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read(file: Vec<u8>, max_record: u64) -> Vec<Record> {
    read_some(file, max_record, None)
}

/// Reads to the end, or until there are so many.
fn read_some(file: Vec<u8>, max_record: u64, wanted: Option<usize>) -> Vec<Record> {
    try_read(file, max_record, wanted).unwrap()
}

fn try_read(file: Vec<u8>, max_record: u64, wanted: Option<usize>) -> Result<Vec<Record>, SourceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    assert!(file.len() < 64 << 20, "a small file");
    std::fs::write(&path, file).unwrap();
    let settings = FileSettings {
        path: path.display().to_string(),
        format: None,
        separator: None,
        follow: false,
        operation: None,
        max_record: ByteSize::bytes(max_record),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut source = FileSource::new(&settings);
        source.open(vec![]).await.unwrap();
        let mut seen = Vec::new();
        while let Read::Records(records) = source.read(Room { records: 1_000, bytes: 1 << 20 }).await? {
            seen.extend(records);
            if wanted.is_some_and(|wanted| seen.len() >= wanted) {
                break;
            }
        }
        Ok(seen)
    })
}
