//! What the columns of a Parquet file become, and which are refused before a row is read.

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Int64Builder, MapBuilder, StringBuilder,
};
use arrow_array::{
    ArrayRef, DurationMillisecondArray, DurationSecondArray, Int32Array, RecordBatch, StructArray,
    TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use parquet::schema::parser::parse_message_type;

use super::*;

/// A file of these columns, as arrow writes them.
fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

/// A file of this schema, without a row.
fn empty(schema: &str) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap().into_inner().unwrap()
}

/// A file of the numbers 1 and 2 whose one page is these bytes.
fn compressed(compression: Compression, page: Vec<u8>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message rows { required int32 id; }").unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let column = file.schema_descr().column(0);
    let length = page.len();
    let page = Page::DataPage {
        buf: page.into(),
        num_values: 2,
        encoding: Encoding::PLAIN,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    let mut written = TrackedWrite::new(Vec::new());
    SerializedPageWriter::new(&mut written).write_page(CompressedPage::new(page, length)).unwrap();
    let bytes = Bytes::from(written.into_inner().unwrap());
    let length = i64::try_from(bytes.len()).unwrap();
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(compression)
        .set_num_values(2)
        .set_total_compressed_size(length)
        .set_total_uncompressed_size(length)
        .set_data_page_offset(0)
        .build()
        .unwrap();
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: 2,
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

async fn read(file: Vec<u8>) -> Vec<Record> {
    let folder = Folder::new();
    folder.write("a.parquet", file, 1);
    folder.read("a.parquet", vec![]).await
}

async fn refused(file: Vec<u8>) -> String {
    let folder = Folder::new();
    folder.write("a.parquet", file, 1);
    drain(&mut folder.open("a.parquet", vec![]).await).await.unwrap_err().to_string()
}

#[track_caller]
fn assert_rows(records: &[Record], rows: &[&str]) {
    assert!(records.iter().all(|record| record.why_broken().is_none()), "{:?}", records[0].why_broken());
    assert_eq!(texts(records), rows);
}

#[tokio::test]
async fn pages_in_gzip_are_read_in_one_member_or_several() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let gzipped = |page| compressed(Compression::GZIP(Default::default()), page);
    for page in [gzip(&[1, 0, 0, 0, 2, 0, 0, 0]), [gzip(&[1, 0, 0]), gzip(&[0, 2, 0, 0, 0])].concat()] {
        assert_rows(&read(gzipped(page)).await, &[r#"{"id":1}"#, r#"{"id":2}"#]);
    }
    let records = read(gzipped(vec![0; 8])).await;
    assert!(records[0].why_broken().unwrap().contains("rows 1 to 2 cannot be read"), "{:?}", records[0].why_broken());
}

#[tokio::test]
async fn a_compression_that_is_not_read_refuses_the_file_and_no_rows() {
    for (compression, name) in [
        (Compression::LZ4_RAW, "`id` is compressed with LZ4_RAW, which is not read"),
        (Compression::BROTLI(Default::default()), "`id` is compressed with BROTLI, which is not read"),
    ] {
        let error = refused(compressed(compression, vec![0; 8])).await;
        assert!(error.contains("a.parquet") && error.contains(name) && error.contains("gzip"), "{error}");
    }
}

/// Three maps: one of three keys, the second without a value, an empty one, and none.
fn maps(keys: impl ArrayBuilder) -> ArrayRef {
    let mut values = Int64Builder::new();
    values.extend([Some(10), None, Some(30)]);
    let mut maps = MapBuilder::new(None, keys, values);
    [true, true, false].into_iter().for_each(|there| maps.append(there).unwrap());
    Arc::new(maps.finish())
}

#[tokio::test]
async fn the_keys_of_maps_become_texts() {
    let mut numbers = Int64Builder::new();
    numbers.extend([1, 2, -3].map(Some));
    let mut booleans = BooleanBuilder::new();
    booleans.extend([true, true, false].map(Some));
    let mut days = Date32Builder::new();
    days.extend([0, 1, 2].map(Some));
    let mut bytes = BinaryBuilder::new();
    bytes.extend([b"a", b"b", b"c"].map(Some));
    let mut words = StringBuilder::new();
    words.extend(["a\"", "b", "c"].map(Some));
    for (maps, first) in [
        (maps(numbers), r#"{"m":{"1":10,"-3":30}}"#),
        (maps(booleans), r#"{"m":{"true":10,"false":30}}"#),
        (maps(days), r#"{"m":{"1970-01-01":10,"1970-01-03":30}}"#),
        (maps(bytes), r#"{"m":{"61":10,"63":30}}"#),
        (maps(words), r#"{"m":{"a\"":10,"c":30}}"#),
    ] {
        assert_rows(&read(file(vec![("m", maps)])).await, &[first, r#"{"m":{}}"#, "{}"]);
    }
}

#[tokio::test]
async fn instants_in_a_zone_of_no_known_name_are_those_of_utc() {
    for (zone, time) in [
        ("", "1970-01-01T00:00:01Z"),
        ("GMT+3", "1970-01-01T00:00:01Z"),
        ("Not/A_Zone", "1970-01-01T00:00:01Z"),
        ("+05:30", "1970-01-01T05:30:01+05:30"),
    ] {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_000]).with_timezone(zone));
        let within =
            StructArray::from(vec![(Arc::new(Field::new("at", times.data_type().clone(), true)), times.clone())]);
        let row = format!(r#"{{"at":"{time}","within":{{"at":"{time}"}}}}"#);
        assert_rows(&read(file(vec![("at", times), ("within", Arc::new(within))])).await, &[&row]);
    }
}

#[tokio::test]
async fn an_enum_is_a_text_and_other_bytes_are_hexadecimal() {
    let schema = "message rows { required binary kind (ENUM); required group kinds (LIST) { repeated group list { required binary \
                  element (ENUM); } } required binary raw; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for levels in [None, Some(([1], [0])), None] {
        let mut column = group.next_column().unwrap().unwrap();
        let (defined, repeated) = levels.as_ref().map(|(defined, repeated)| (&defined[..], &repeated[..])).unzip();
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("SHOES")], defined, repeated).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    let records = read(file.into_inner().unwrap()).await;
    assert_rows(&records, &[r#"{"kind":"SHOES","kinds":["SHOES"],"raw":"53484f4553"}"#]);
}

#[tokio::test]
async fn a_duration_that_is_too_long_to_write_makes_its_row_a_broken_record() {
    let seconds: ArrayRef = Arc::new(DurationSecondArray::from(vec![90, i64::MAX, 0]));
    let milliseconds: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![1, 1, i64::MIN]));
    let records = read(file(vec![("s", seconds), ("ms", milliseconds)])).await;
    assert_rows(&records[..1], &[r#"{"s":"PT90S","ms":"PT0.001S"}"#]);
    for (record, column) in [(&records[1], "s"), (&records[2], "ms")] {
        let reason = record.why_broken().unwrap();
        assert!(reason.contains(&format!("column `{column}`")) && reason.contains("out of range"), "{reason}");
        assert!(!String::from_utf8_lossy(&record.payload).contains("invalid"), "it could be replayed as a text");
    }
}

#[tokio::test]
async fn columns_that_cannot_be_written_as_they_are_meant_refuse_the_file() {
    let cases = [
        (
            "message rows { required int32 a; optional fixed_len_byte_array(12) rent (INTERVAL); }",
            "its column `rent` has intervals, which are not read",
        ),
        (
            "message rows { required group a { required group b (LIST) { repeated group list { optional \
             fixed_len_byte_array(12) element (INTERVAL); } } } }",
            "its column `a.b` has intervals",
        ),
        (
            "message rows { required group m (MAP) { repeated group key_value { required group key { required int32 a; } \
             required int32 value; } } }",
            "the keys of its map `m` hold other values",
        ),
        ("message rows { required group a { required int32 b; required binary b; } }", "names the column `a.b` twice"),
    ];
    for (schema, reason) in cases {
        let error = refused(empty(schema)).await;
        assert!(error.contains("a.parquet") && error.contains(reason), "{error}");
    }
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let error = refused(file(vec![("id", numbers.clone()), ("id", numbers)])).await;
    assert!(error.contains("names the column `id` twice; rename or remove one of the two"), "{error}");
}
