//! A point as a record, and back: what is declared as metadata for filters, and all of the metadata as one text.

use serde_json::{Map, Value};

use crate::document::DocumentId;
use crate::index::external::collection::Point;
use crate::index::external::collection::reserved::{CHUNK, DOCUMENT, METADATA};
use crate::index::external::typed::Fields;

use super::{filter, wire};

/// Before a field's name: it is an empty list there, which Pinecone may not tell from none.
pub const EMPTY: &str = "vectide_empty_";
/// The most bytes of metadata that a record may have, as JSON.
const MAX_METADATA: usize = 40 << 10;

/// The record of a point.
///
/// # Errors
/// Names what Pinecone cannot keep of it.
pub fn of<'a>(point: &'a Point, fields: &Fields) -> Result<wire::Record<'a>, String> {
    let mut metadata = Map::new();
    for (field, values) in fields.read(&point.metadata)? {
        // Only a list has none.
        if values.is_empty() {
            metadata.insert(filter::empty(&field.name), true.into());
        } else {
            metadata.insert(field.name.clone(), values.to_json(field.kind.is_list()));
        }
    }
    metadata.insert(DOCUMENT.into(), point.document.as_str().into());
    metadata.insert(CHUNK.into(), point.chunk.into());
    metadata.insert(METADATA.into(), (*point.metadata).into());
    let size = super::json(&metadata).len();
    if size > MAX_METADATA {
        return Err(format!(
            "its metadata take {size} bytes, with the document's id, and Pinecone keeps at most {MAX_METADATA}: list fewer in `document.metadata`"
        ));
    }
    Ok(wire::Record { id: point.id.to_string(), values: &point.vector, metadata })
}

/// The document and the chunk that a record is of; `None` for a record of others.
pub fn chunk_of(metadata: &Map<String, Value>) -> Option<(DocumentId, usize)> {
    let document = DocumentId::new(metadata.get(DOCUMENT)?.as_str()?).ok()?;
    // Every number comes back as a float.
    Some((document, metadata.get(CHUNK)?.as_f64()? as usize))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use crate::document::Vector;

    use super::*;

    fn fields(yaml: &str) -> Fields {
        Fields::new(&serde_yaml::from_str(yaml).unwrap())
    }

    fn point(metadata: &Value) -> Point {
        let vector: Vector = [0.1_f32, -1.0].into();
        Point {
            id: Uuid::nil(),
            document: DocumentId::new("d").unwrap(),
            chunk: 3,
            metadata: metadata.to_string().into(),
            vector,
        }
    }

    #[test]
    fn a_record_has_what_is_declared_and_all_of_the_metadata_as_a_text() {
        let fields = fields("{ price: number, tags: 'text[]', none: 'text[]', sale: boolean }");
        let metadata =
            json!({"price": 3, "tags": ["a"], "none": [], "sale": null, "nested": {"x": null}, "big": u64::MAX});
        let point = point(&metadata);
        let record = serde_json::to_value(of(&point, &fields).unwrap()).unwrap();
        let expected = json!({
            "price": 3.0, "tags": ["a"], "vectide_empty_none": true,
            "vectide_document": "d", "vectide_chunk": 3, "vectide_metadata": metadata.to_string(),
        });
        assert_eq!(record["metadata"], expected);
        let text = String::from_utf8(super::super::json(&of(&point, &fields).unwrap())).unwrap();
        assert!(text.contains("\"values\":[0.1,-1.0]"), "written as the shortest text of a 32-bit float: {text}");
    }

    #[test]
    fn what_a_record_cannot_hold_is_named() {
        let fields = fields("{ price: number }");
        let error = of(&point(&json!({"price": "cheap"})), &fields).err().unwrap();
        assert!(error.contains("`price` is \"cheap\""), "{error}");
        let error = of(&point(&json!({"text": "x".repeat(MAX_METADATA)})), &fields).err().unwrap();
        assert!(error.contains("at most 40960"), "{error}");
        assert!(of(&point(&json!({"text": "x".repeat(MAX_METADATA - 100)})), &fields).is_ok());
    }
}
