//! What the columns of a Parquet file become, and which are refused before a row is read.

use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use parquet::schema::parser::parse_message_type;

use super::*;

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
