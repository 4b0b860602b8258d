//! Points as the columns that Milvus takes and gives.

use serde_json::Value;

use crate::document::DocumentId;
use crate::index::collection::Point;

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

/// Points of the columns of an answer; `None` when they are none of ours.
pub fn read(columns: &[FieldData], dimensions: usize) -> Option<Vec<Point>> {
    // An answer without rows may be one without columns.
    let Some(ids) = column(columns, ID) else { return columns.is_empty().then(Vec::new) };
    let ids = strings(ids)?;
    let numbers = match &column(columns, VECTOR)?.column {
        Some(Column::Vectors(Vectors { floats: Some(floats), .. })) => floats.data.as_slice(),
        _ => &[],
    };
    let (documents, chunks) = (strings(column(columns, DOCUMENT)?)?, longs(column(columns, CHUNK)?)?);
    let metadata = jsons(column(columns, METADATA)?)?;
    let each = ids.iter().enumerate().map(|(at, id)| {
        // As text it may have other spaces or another form of a number than the one that was written.
        let metadata: Value = serde_json::from_slice(metadata.get(at)?).ok()?;
        Some(Point {
            id: id.parse().ok()?,
            document: DocumentId::new(documents.get(at)?).ok()?,
            chunk: usize::try_from(*chunks.get(at)?).ok()?,
            metadata: metadata.to_string().into(),
            vector: numbers.get(at * dimensions..(at + 1) * dimensions)?.into(),
        })
    });
    each.collect()
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
