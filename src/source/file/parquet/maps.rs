//! Maps as JSON objects, whatever their keys are.

use arrow_array::{Array, MapArray};
use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{Encoder, EncoderOptions};
use arrow_schema::{ArrowError, FieldRef};

/// What writes the maps of a column: arrow's own takes texts alone for keys.
pub(super) fn encoder<'a>(
    field: &'a FieldRef,
    maps: &'a MapArray,
    options: &'a EncoderOptions,
) -> Result<NullableEncoder<'a>, ArrowError> {
    let keys = make_encoder(field, maps.keys(), options)?;
    let values = make_encoder(field, maps.values(), options)?;
    if keys.has_nulls() {
        return Err(ArrowError::JsonError(format!("a key of the map `{}` is missing", field.name())));
    }
    Ok(NullableEncoder::new(Box::new(Maps { ends: maps.value_offsets(), keys, values }), maps.logical_nulls()))
}

struct Maps<'a> {
    /// Where the entries of a map begin, and those of the next.
    ends: &'a [i32],
    keys: NullableEncoder<'a>,
    values: NullableEncoder<'a>,
}

impl Encoder for Maps<'_> {
    fn encode(&mut self, row: usize, json: &mut Vec<u8>) {
        json.push(b'{');
        let mut is_first = true;
        // Offsets are never negative.
        for entry in self.ends[row] as usize..self.ends[row + 1] as usize {
            // As a field of a row that has no value.
            if self.values.is_null(entry) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                json.push(b',');
            }
            let from = json.len();
            self.keys.encode(entry, json);
            // Numbers, and true and false, become texts.
            if json.get(from) != Some(&b'"') {
                json.insert(from, b'"');
                json.push(b'"');
            }
            json.push(b':');
            self.values.encode(entry, json);
        }
        json.push(b'}');
    }
}
