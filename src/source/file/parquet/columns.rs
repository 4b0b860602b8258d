//! The columns of a Parquet file as they are decoded, and those that no row could be made of.

use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Fields};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::schema::types::SchemaDescriptor;

use super::pages;
use crate::document::quoted;

/// The most columns: each takes some memory before it has a value.
const MAX_COLUMNS: usize = 16_384;

/// The longest values of a type that gives all its values, and those that are missing, one length.
const MAX_FIXED: i32 = 64 << 10;

/// What the columns are decoded as.
///
/// # Errors
/// Rows could be made of none of them, or of none as they are meant: the reason.
pub(super) fn of(metadata: &ArrowReaderMetadata) -> Result<Fields, String> {
    let schema = metadata.parquet_schema();
    check_sizes(schema)?;
    check_compression(metadata)?;
    Ok(metadata.schema().fields().iter().map(as_views).collect())
}

fn check_sizes(schema: &SchemaDescriptor) -> Result<(), String> {
    if schema.num_columns() > MAX_COLUMNS {
        return Err(format!("it has {} columns; at most {MAX_COLUMNS}", schema.num_columns()));
    }
    if let Some(column) = schema.columns().iter().find(|column| column.type_length() > MAX_FIXED) {
        let (name, length) = (quoted(&column.path().string()), column.type_length());
        return Err(format!("the values of its column {name} have {length} bytes each; at most {MAX_FIXED}"));
    }
    Ok(())
}

fn check_compression(metadata: &ArrowReaderMetadata) -> Result<(), String> {
    let mut chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
    let Some(chunk) = chunks.find(|chunk| !pages::inflates(chunk.compression())) else { return Ok(()) };
    let (name, compression) = (quoted(&chunk.column_path().string()), chunk.compression().to_string());
    // Without the level, which the file does not tell.
    let compression = compression.split('(').next().unwrap_or_default();
    Err(format!(
        "its column {name} is compressed with {compression}, which is not read; write the file with Snappy, gzip, Zstandard or no \
         compression"
    ))
}

/// A field whose texts refer to the page or the dictionary that they are in: a value that is used in many rows is held once.
fn as_views(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(view(field.data_type())))
}

fn view(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => view(values),
        // A list of a fixed size fills itself up where it is missing; the others are all the same as JSON.
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(as_views(item)),
        DataType::Map(entries, sorted) => DataType::Map(as_views(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(as_views).collect()),
        other => other.clone(),
    }
}
