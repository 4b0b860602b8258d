//! Rows as JSON, each written no further than a record may be long.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryViewArray, StringViewArray};
use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use arrow_schema::{ArrowError, DataType, FieldRef};
use parking_lot::Mutex;

use super::maps;

/// How rows are written: nothing is added once a row is longer than `max`, so that one that comes out longer is not whole. What cannot
/// be written is noted, and left out of the row.
pub(super) fn options(max: usize, unwritable: &Unwritable) -> EncoderOptions {
    PLAIN.clone().with_encoder_factory(Arc::new(Limit { max, unwritable: unwritable.clone() }))
}

/// The first column of a row with a value that cannot be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwritable(Arc<Mutex<Option<String>>>);

impl Unwritable {
    /// The name of the column, if there was one since the last call, and what is wrong with it.
    pub fn take(&self) -> Option<String> {
        self.0.lock().take()
    }

    fn note(&self, column: &str, why: &str) {
        self.0.lock().get_or_insert_with(|| {
            format!(
                "the value of the row's column `{column}` is no date, time or duration that can be written ({why}); it is left out of \
                 what is kept of the row. Correct it where the file is made"
            )
        });
    }
}

static PLAIN: LazyLock<EncoderOptions> =
    LazyLock::new(|| EncoderOptions::default().with_timestamp_format("%Y-%m-%dT%H:%M:%S%.fZ".to_owned()));

#[derive(Debug)]
struct Limit {
    max: usize,
    unwritable: Unwritable,
}

impl EncoderFactory for Limit {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let value: Value<'a> = match array.data_type() {
            DataType::Map(..) => return maps::encoder(field, array.as_map(), options).map(Some),
            // What holds other values is written by its values.
            data_type if data_type.is_nested() => return Ok(None),
            DataType::Utf8View => Value::Text(array.as_string_view()),
            DataType::BinaryView => Value::Bytes(array.as_binary_view()),
            _ => Value::Other(make_encoder(field, array, &PLAIN)?),
        };
        let limited = Limited { value, column: field.name(), max: self.max, unwritable: self.unwritable.clone() };
        Ok(Some(NullableEncoder::new(Box::new(limited), array.logical_nulls())))
    }
}

/// A column's values, each written as far as there is room.
struct Limited<'a> {
    value: Value<'a>,
    column: &'a str,
    max: usize,
    unwritable: Unwritable,
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
            Value::Other(encoder) => {
                let from = json.len();
                encoder.encode(row, json);
                if let Some(why) = why_unwritable(&json[from..]) {
                    self.unwritable.note(self.column, &why);
                    json.truncate(from);
                }
            }
        }
    }
}

/// Arrow writes why it cannot write a date, a time or a duration in its place: of texts, which are none of these, it never does.
fn why_unwritable(json: &[u8]) -> Option<String> {
    let text = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let why = if text == b"<invalid>" { Some(&b"it is out of range"[..]) } else { text.strip_prefix(b"ERROR: ") };
    why.map(|why| String::from_utf8_lossy(why).into_owned())
}
