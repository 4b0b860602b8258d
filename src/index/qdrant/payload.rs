//! A document's metadata as the payload of its points, and back: the user's fields as they are, and two of our own.

use serde_json::{Map, Number};

use crate::document::DocumentId;
use crate::index::external::collection::reserved::{CHUNK, DOCUMENT};

use super::messages::{Kind, List, Object, Payload, Value};

/// How deep objects and lists may be in each other: protobuf readers refuse a message a hundred deep, and each level is three.
const MAX_DEPTH: usize = 28;

/// # Errors
/// A sentence that names what Qdrant has no type for.
pub fn write(metadata: &str, document: &DocumentId, chunk: usize) -> Result<Payload, String> {
    let metadata: Map<String, serde_json::Value> =
        serde_json::from_str(metadata).map_err(|error| format!("its metadata is no JSON object: {error}"))?;
    let mut payload = fields(metadata, MAX_DEPTH)?;
    for (name, kind) in
        [(DOCUMENT, Kind::Text(document.to_string())), (CHUNK, Kind::Integer(i64::try_from(chunk).unwrap_or(i64::MAX)))]
    {
        if payload.insert(name.to_owned(), Value { kind: Some(kind) }).is_some() {
            return Err(format!("its metadata has a field `{name}`, which is Vectide's own"));
        }
    }
    Ok(payload)
}

/// The document, the chunk, and the metadata without our own fields; `None` when it is no payload of ours.
pub fn read(mut payload: Payload) -> Option<(DocumentId, usize, serde_json::Value)> {
    let (document, chunk) = (payload.remove(DOCUMENT)?.kind?, payload.remove(CHUNK)?.kind?);
    let (Kind::Text(document), Kind::Integer(chunk)) = (document, chunk) else { return None };
    Some((DocumentId::new(&document).ok()?, usize::try_from(chunk).ok()?, object(payload)))
}

fn fields(json: Map<String, serde_json::Value>, depth: usize) -> Result<Payload, String> {
    json.into_iter()
        .map(|(name, json)| {
            let value = value(json, depth).map_err(|error| format!("{error} in `{name}`"))?;
            Ok((name, value))
        })
        .collect()
}

fn value(json: serde_json::Value, depth: usize) -> Result<Value, String> {
    let deeper = || depth.checked_sub(1).ok_or_else(|| format!("it is nested deeper than {MAX_DEPTH} levels"));
    let kind = match json {
        serde_json::Value::Null => Kind::Null(0),
        serde_json::Value::Bool(boolean) => Kind::Boolean(boolean),
        serde_json::Value::String(text) => Kind::Text(text),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Kind::Integer(integer),
            (None, Some(float)) if number.is_f64() => Kind::Double(float),
            _ => return Err(format!("Qdrant has no type for {number}, which is above {}; it is", i64::MAX)),
        },
        serde_json::Value::Array(list) => {
            let depth = deeper()?;
            let values = list.into_iter().map(|json| value(json, depth)).collect::<Result<_, _>>()?;
            Kind::List(List { values })
        }
        serde_json::Value::Object(json) => Kind::Object(Object { fields: fields(json, deeper()?)? }),
    };
    Ok(Value { kind: Some(kind) })
}

fn object(fields: Payload) -> serde_json::Value {
    fields.into_iter().map(|(name, value)| (name, json(value))).collect::<Map<_, _>>().into()
}

fn json(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::Null(_)) => serde_json::Value::Null,
        Some(Kind::Boolean(boolean)) => boolean.into(),
        Some(Kind::Text(text)) => text.into(),
        Some(Kind::Integer(integer)) => integer.into(),
        Some(Kind::Double(float)) => Number::from_f64(float).into(),
        Some(Kind::List(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::Object(inner)) => object(inner.fields),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write_of(metadata: &serde_json::Value) -> Result<Payload, String> {
        write(&metadata.to_string(), &DocumentId::new("d").unwrap(), 3)
    }

    #[test]
    fn metadata_comes_back_as_it_went() {
        let metadata = json!({
            "text": "a", "whole": 5, "float": 5.0, "min": i64::MIN, "max": i64::MAX, "null": null, "yes": true,
            "list": [1, "a", null, [], {}], "deep": { "a": { "b": [1.5] } }, "": "", "a.b": 1,
        });
        let (document, chunk, found) = read(write_of(&metadata).unwrap()).unwrap();
        assert_eq!((document.as_str(), chunk), ("d", 3));
        assert_eq!(found.to_string(), metadata.to_string());
        assert!(read(Payload::new()).is_none(), "a point of someone else");
    }

    #[test]
    fn what_has_no_type_is_named() {
        let deep = (0..MAX_DEPTH + 1).fold(json!(1), |inner, _| json!([inner]));
        for (metadata, parts) in [
            (json!({"a": {"b": u64::MAX}}), ["18446744073709551615", "in `b` in `a`"]),
            (json!({"vectide_chunk": 1}), ["`vectide_chunk`", "own"]),
            (json!({"a": deep}), ["deeper than 28", "in `a`"]),
        ] {
            let error = write_of(&metadata).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        assert!(write_of(&json!({"a": (0..MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]))})).is_ok());
    }
}
