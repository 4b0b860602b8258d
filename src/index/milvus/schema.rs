//! What a collection of Vectide's looks like.

use crate::document::change::MAX_ID_BYTES;
use crate::index::external::collection::CollectionError;
use crate::settings::index::Metric;

use super::messages::{self, CollectionSchema, DataType, FieldSchema, KeyValue};

pub const ID: &str = "id";
pub const VECTOR: &str = "vector";
pub const DOCUMENT: &str = "document";
pub const CHUNK: &str = "chunk";
pub const METADATA: &str = "metadata";

/// The bytes of an id as text.
const ID_BYTES: usize = 36;

/// Whether a collection can have this name.
pub fn is_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The metric as Milvus calls it.
pub fn metric_type(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "COSINE",
        Metric::Dot => "IP",
        Metric::L2 => "L2",
    }
}

pub fn fields(dimensions: usize) -> Vec<FieldSchema> {
    let field = |name: &str, data_type: DataType| FieldSchema {
        name: name.into(),
        data_type: data_type.into(),
        ..FieldSchema::default()
    };
    let text = |name: &str, bytes: usize| FieldSchema {
        type_params: vec![KeyValue::new("max_length", bytes)],
        ..field(name, DataType::VarChar)
    };
    vec![
        FieldSchema { is_primary_key: true, ..text(ID, ID_BYTES) },
        FieldSchema { type_params: vec![KeyValue::new("dim", dimensions)], ..field(VECTOR, DataType::FloatVector) },
        text(DOCUMENT, MAX_ID_BYTES),
        field(CHUNK, DataType::Int64),
        field(METADATA, DataType::Json),
    ]
}

/// Whether a collection has the fields that points need.
pub fn check_fields(schema: &CollectionSchema, dimensions: usize) -> Result<(), CollectionError> {
    let unfit = |what: String| Err(CollectionError::Unfit(format!("{what}; choose another `index.collection`")));
    for wanted in fields(dimensions) {
        let name = &wanted.name;
        let Some(found) = schema.fields.iter().find(|field| &field.name == name) else {
            return unfit(format!("it has no field `{name}`, so Vectide did not make it"));
        };
        if found.data_type != wanted.data_type || found.is_primary_key != wanted.is_primary_key || found.auto_id {
            return unfit(format!("its field `{name}` is of another type than the one Vectide makes"));
        }
        let dim = |field: &FieldSchema| messages::value(&field.type_params, "dim").map(str::to_owned);
        if let (Some(found), Some(wanted)) = (dim(found), dim(&wanted))
            && found != wanted
        {
            return unfit(format!("its vectors have {found} dimensions, and those of the embedding have {wanted}"));
        }
    }
    Ok(())
}
