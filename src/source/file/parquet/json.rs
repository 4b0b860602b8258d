//! Rows as JSON, each written no further than a record may be long.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryViewArray, StringViewArray};
use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use arrow_schema::{ArrowError, DataType, FieldRef};

/// How rows are written: nothing is added once a row is longer than `max`, so that one that comes out longer is not whole.
pub(super) fn options(max: usize) -> EncoderOptions {
    PLAIN.clone().with_encoder_factory(Arc::new(Limit { max }))
}

static PLAIN: LazyLock<EncoderOptions> =
    LazyLock::new(|| EncoderOptions::default().with_timestamp_format("%Y-%m-%dT%H:%M:%S%.fZ".to_owned()));

#[derive(Debug)]
struct Limit {
    max: usize,
}

impl EncoderFactory for Limit {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let value: Value<'a> = match array.data_type() {
            // What holds other values is written by its values.
            data_type if data_type.is_nested() => return Ok(None),
            DataType::Utf8View => Value::Text(array.as_string_view()),
            DataType::BinaryView => Value::Bytes(array.as_binary_view()),
            _ => Value::Other(make_encoder(field, array, &PLAIN)?),
        };
        Ok(Some(NullableEncoder::new(Box::new(Limited { value, max: self.max }), array.logical_nulls())))
    }
}

/// A column's values, each written as far as there is room.
struct Limited<'a> {
    value: Value<'a>,
    max: usize,
}

enum Value<'a> {
    Text(&'a StringViewArray),
    /// Written in hexadecimal.
    Bytes(&'a BinaryViewArray),
    Other(NullableEncoder<'a>),
}

impl Encoder for Limited<'_> {
    fn encode(&mut self, row: usize, json: &mut Vec<u8>) {
        // Enough of a value to come out over the limit.
        let Some(room) = (self.max + 4).checked_sub(json.len()) else { return };
        match &mut self.value {
            Value::Text(texts) => {
                let text = texts.value(row);
                let text = &text[..text.floor_char_boundary(room)];
                serde_json::to_writer(json, text).expect("a text is JSON, and memory takes it");
            }
            Value::Bytes(values) => {
                let bytes = values.value(row);
                json.push(b'"');
                for byte in &bytes[..bytes.len().min(room)] {
                    write!(json, "{byte:02x}").expect("memory takes what is written");
                }
                json.push(b'"');
            }
            Value::Other(encoder) => encoder.encode(row, json),
        }
    }
}
