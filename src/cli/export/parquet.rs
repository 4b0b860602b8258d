//! Documents as the rows of a Parquet file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_json::ReaderBuilder;
use parquet::arrow::{ArrowWriter, parquet_to_arrow_schema};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use serde::Serialize;

use super::pages::Pages;
use crate::view::{ChunkView, ExportedDocument};

/// Texts of JSON for what differs from document to document; a version is a text to keep all its digits.
const SCHEMA: &str = "
message document {
  required binary id (STRING);
  required binary version (STRING);
  required binary fields (STRING);
  optional binary metadata (STRING);
  required group chunks (LIST) {
    repeated group list {
      required group element {
        required binary fingerprint (STRING);
        optional group vector (LIST) {
          repeated group list {
            required float element;
          }
        }
      }
    }
  }
}";

/// What is gathered in memory before it is written as a row group.
const GROUP_BYTES: usize = 64 << 20;

#[derive(Serialize)]
struct Row {
    id: String,
    version: String,
    fields: String,
    metadata: Option<String>,
    chunks: Vec<ChunkView>,
}

impl Row {
    fn new(document: ExportedDocument) -> Result<Self, serde_json::Error> {
        let ExportedDocument { id, version, fields, metadata, chunks } = document;
        Ok(Self {
            id,
            version: version.to_string(),
            fields: serde_json::to_string(&fields)?,
            metadata: (!metadata.is_null()).then(|| metadata.to_string()),
            chunks,
        })
    }
}

/// Writes all pages as one file.
pub fn write(pages: Pages<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let schema = SchemaDescriptor::new(Arc::new(parse_message_type(SCHEMA)?));
    let schema = Arc::new(parquet_to_arrow_schema(&schema, None)?);
    let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(compression).build();
    // As the error of the output that it is.
    let told = |error| match error {
        ParquetError::External(cause) => cause.downcast().map_or_else(io::Error::other, |error| *error),
        error => io::Error::other(error),
    };
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(told)?;
    let mut decoder = ReaderBuilder::new(schema).build_decoder()?;
    for page in pages {
        let rows = page?.into_iter().map(Row::new).collect::<Result<Vec<_>, _>>()?;
        decoder.serialize(&rows)?;
        if let Some(batch) = decoder.flush()? {
            writer.write(&batch).map_err(told)?;
        }
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(told)?;
        }
    }
    writer.close().map_err(told)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_json::writer::LineDelimitedWriter;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::{Value, json};

    use super::super::pages::tests::filled;
    use super::*;
    use crate::ledger::Points;
    use crate::settings::document::VersionUnit;

    #[test]
    fn a_file_holds_what_the_lines_hold() {
        let (_folder, ledger) = filled(Points::Here);
        let mut file = Vec::new();
        write(Pages::new(&ledger, true, VersionUnit::Milliseconds), &mut file).unwrap();
        let mut lines = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut lines);
        for batch in ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap() {
            writer.write(&batch.unwrap()).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        let rows: Vec<Value> =
            lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let documents = Pages::new(&ledger, false, VersionUnit::Auto).map(|page| page.unwrap().len()).sum::<usize>();
        assert_eq!(rows.len(), documents);
        assert_eq!(
            rows[1],
            json!({
                "id": "p00001", "version": "1500", "fields": "{\"n\":1}", "metadata": "{\"n\":1}",
                "chunks": [{"fingerprint": "01".repeat(32), "vector": [1.0, 0.5]}],
            })
        );
        assert_eq!((rows[7].get("metadata"), &rows[7]["chunks"]), (None, &json!([])), "it waits for its text");
    }
}
