//! Points as the columns that Milvus takes, and the values of those that it gives.

use crate::index::external::collection::Point;

use super::messages::{Column, DataType, FieldData, Floats, Jsons, Longs, Scalar, Scalars, Strings, Vectors};
use super::schema::{CHUNK, DOCUMENT, ID, METADATA, VECTOR};

/// The columns of these points.
pub fn write(points: &[Point], dimensions: usize) -> Vec<FieldData> {
    let field = |name: &str, data_type: DataType, column| FieldData {
        data_type: data_type.into(),
        name: name.into(),
        column: Some(column),
    };
    let scalars = |scalar| Column::Scalars(Scalars { data: Some(scalar) });
    let texts =
        |text: fn(&Point) -> String| scalars(Scalar::Strings(Strings { data: points.iter().map(text).collect() }));
    let mut numbers = Vec::with_capacity(points.len() * dimensions);
    points.iter().for_each(|point| numbers.extend_from_slice(&point.vector));
    let chunks = points.iter().map(|point| i64::try_from(point.chunk).unwrap_or(i64::MAX)).collect();
    let metadata = points.iter().map(|point| point.metadata.as_bytes().to_vec()).collect();
    vec![
        field(ID, DataType::VarChar, texts(|point| point.id.to_string())),
        field(
            VECTOR,
            DataType::FloatVector,
            Column::Vectors(Vectors { dimensions: dimensions as i64, floats: Some(Floats { data: numbers }) }),
        ),
        field(DOCUMENT, DataType::VarChar, texts(|point| point.document.to_string())),
        field(CHUNK, DataType::Int64, scalars(Scalar::Longs(Longs { data: chunks }))),
        field(METADATA, DataType::Json, scalars(Scalar::Jsons(Jsons { data: metadata }))),
    ]
}

/// The column of this name.
pub fn column<'a>(columns: &'a [FieldData], name: &str) -> Option<&'a FieldData> {
    columns.iter().find(|column| column.name == name)
}

fn scalar(field: &FieldData) -> Option<&Scalar> {
    match &field.column {
        Some(Column::Scalars(scalars)) => scalars.data.as_ref(),
        _ => None,
    }
}

pub fn strings(field: &FieldData) -> Option<&[String]> {
    match scalar(field)? {
        Scalar::Strings(strings) => Some(&strings.data),
        _ => None,
    }
}

pub fn longs(field: &FieldData) -> Option<&[i64]> {
    match scalar(field)? {
        Scalar::Longs(longs) => Some(&longs.data),
        _ => None,
    }
}

pub fn jsons(field: &FieldData) -> Option<&[Vec<u8>]> {
    match scalar(field)? {
        Scalar::Jsons(jsons) => Some(&jsons.data),
        _ => None,
    }
}
