//! The columns of a Parquet file as they are decoded, and those that no row could be made of.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::timezone::Tz;
use arrow_schema::{DataType, FieldRef, Fields};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::pages;
use crate::document::quoted;

/// The most columns: each takes some memory before it has a value.
const MAX_COLUMNS: usize = 16_384;

/// The longest values of a type that gives all its values, and those that are missing, one length.
const MAX_FIXED: i32 = 64 << 10;

/// What the columns are decoded as.
///
/// # Errors
/// No rows can be made of them, or none that say what the file means: the reason.
pub(super) fn of(metadata: &ArrowReaderMetadata) -> Result<Fields, String> {
    let schema = metadata.parquet_schema();
    check_sizes(schema)?;
    check_compression(metadata)?;
    let fields = metadata.schema().fields();
    check(fields, &mut Vec::new())?;
    let mut leaves = schema.columns().iter();
    Ok(fields.iter().map(|field| as_views(field, &mut leaves)).collect())
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

/// Refuses what makes every row broken, or says something else than the file. The path leads to the fields.
fn check<'a>(fields: &'a Fields, path: &mut Vec<&'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    fields.iter().try_for_each(|field| {
        path.push(field.name());
        if !seen.insert(field.name()) {
            return Err(format!("it names the column {} twice; rename or remove one of the two", shown(path)));
        }
        check_type(field.data_type(), path)?;
        path.pop();
        Ok(())
    })
}

fn check_type<'a>(data_type: &'a DataType, path: &mut Vec<&'a str>) -> Result<(), String> {
    match data_type {
        DataType::Struct(fields) => check(fields, path),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => check_type(item.data_type(), path),
        DataType::Map(entries, _) => {
            let DataType::Struct(entry) = entries.data_type() else { return Ok(()) };
            if entry.first().is_some_and(|key| key.data_type().is_nested()) {
                let path = shown(path);
                return Err(format!(
                    "the keys of its map {path} hold other values, so they name no fields; leave it out"
                ));
            }
            entry.iter().try_for_each(|field| check_type(field.data_type(), path))
        }
        // The decoder leaves their months out.
        DataType::Interval(_) => {
            let path = shown(path);
            Err(format!(
                "its column {path} has intervals, which are not read; leave it out, or write their parts as numbers"
            ))
        }
        _ => Ok(()),
    }
}

fn shown(path: &[&str]) -> String {
    quoted(&path.join("."))
}

/// The columns that hold values, in the order of the schema.
type Leaves<'a> = std::slice::Iter<'a, ColumnDescPtr>;

/// A field whose texts refer to the page or the dictionary that they are in: a value that is used in many rows is held once.
fn as_views(field: &FieldRef, leaves: &mut Leaves) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(view(field.data_type(), leaves)))
}

fn view(data_type: &DataType, leaves: &mut Leaves) -> DataType {
    match data_type {
        // A list of a fixed size fills itself up where it is missing; the others are all the same as JSON.
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(as_views(item, leaves)),
        DataType::Map(entries, sorted) => DataType::Map(as_views(entries, leaves), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| as_views(field, leaves)).collect()),
        value => value_view(value, leaves.next().is_some_and(is_enum)),
    }
}

fn value_view(data_type: &DataType, is_enum: bool) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary if is_enum => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => value_view(values, is_enum),
        // The instants are sound whatever the zone is called.
        DataType::Timestamp(unit, Some(zone)) if zone.parse::<Tz>().is_err() => {
            DataType::Timestamp(*unit, Some("UTC".into()))
        }
        other => other.clone(),
    }
}

/// Whether these are texts that the decoder takes for bytes.
fn is_enum(column: &ColumnDescPtr) -> bool {
    column.converted_type() == ConvertedType::ENUM || matches!(column.logical_type_ref(), Some(LogicalType::Enum))
}
