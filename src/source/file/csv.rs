//! Rows of a CSV file as JSON objects.

use std::collections::HashSet;
use std::io::Read;

use bytes::{BufMut, Bytes, BytesMut};
use csv_core::{ReadRecordResult, Terminator};

use super::kind::Kind;
use crate::document::quoted;
use crate::source::lines::{Cut, Cutter};

/// How much memory rows share.
const SHARED: usize = 64 << 10;

/// The longest header line, in bytes. Every row repeats the names in its JSON object, so that short rows under long names would grow
/// a thousandfold.
const MAX_HEADER: usize = 256 << 10;

/// The most columns: as many as a spreadsheet has.
const MAX_COLUMNS: usize = 16_384;

const NOT_UTF_8: &str = "the header line is not UTF-8; save the file as UTF-8, or, if it is compressed, let its name end with `.gz` or `.zst`";

/// The rows of a file behind its header line.
pub(super) struct Rows<R> {
    pub cutter: Cutter<R>,
    is_separator_set: bool,
    /// None until the header line is read.
    columns: Option<Vec<Column>>,
    /// Rows that end at or before this offset were given before.
    from: u64,
    fields: Fields,
    json: BytesMut,
}

struct Column {
    /// Empty where the header line gives none, as after a last comma that a spreadsheet leaves behind: what stands there is no field.
    name: String,
    /// The name as JSON with its colon.
    key: String,
}

impl<R: Read> Rows<R> {
    /// The rows that end behind `from`. The cutter begins at the header line.
    pub fn new(cutter: Cutter<R>, kind: Kind, from: u64) -> Self {
        let fields = Fields::new(kind.separator.as_byte());
        Self { cutter, is_separator_set: kind.is_separator_set, columns: None, from, fields, json: BytesMut::new() }
    }

    /// The next row, as it is in the file, and as JSON unless it is broken.
    ///
    /// # Errors
    /// The file could not be read, or its header line makes no columns.
    pub fn next(&mut self) -> Result<Option<(Cut, Bytes)>, String> {
        if self.columns.is_none() {
            let Some(header) = self.cutter.next().map_err(|error| error.to_string())? else { return Ok(None) };
            if self.cutter.is_damaged() {
                // As of any file that cannot be decompressed: a broken record, once.
                let payload = header.bytes.clone();
                return Ok((header.end > self.from).then_some((header, payload)));
            }
            self.columns = Some(columns(&header, &mut self.fields, self.is_separator_set)?);
            self.cutter.advance_to(self.from).map_err(|error| error.to_string())?;
        }
        let Some(mut cut) = self.cutter.next().map_err(|error| error.to_string())? else { return Ok(None) };
        let columns = self.columns.as_deref().unwrap_or_default();
        if cut.broken.is_none() {
            self.fields.split(&cut.bytes);
            cut.broken = self.fields.write(columns, &mut self.json).err();
        }
        let payload = if cut.broken.is_some() { cut.bytes.clone() } else { self.json.split().freeze() };
        self.json.clear();
        Ok(Some((cut, payload)))
    }
}

fn columns(header: &Cut, fields: &mut Fields, is_separator_set: bool) -> Result<Vec<Column>, String> {
    if !is_text(&header.bytes) {
        return Err(NOT_UTF_8.to_owned());
    }
    if has_carriage_returns(&header.bytes) {
        return Err("its lines end with a carriage return alone; save it with line feeds".to_owned());
    }
    if let Some(reason) = &header.broken {
        return Err(format!("the header line is broken: {reason}"));
    }
    if header.bytes.len() > MAX_HEADER {
        let length = header.bytes.len();
        return Err(format!("the header line has {length} bytes; at most {MAX_HEADER} are allowed"));
    }
    if let Some(other) = other_separator(&header.bytes, fields.separator, is_separator_set) {
        let (between, set) = match other {
            '\t' => ("tabs".to_owned(), "tab".to_owned()),
            other => (format!("`{other}`"), format!("'{other}'")),
        };
        return Err(format!("its columns seem to be separated by {between}; set `separator: {set}` for this source"));
    }
    fields.split(&header.bytes);
    if fields.count > MAX_COLUMNS {
        let count = fields.count;
        return Err(format!("the header line names {count} columns; at most {MAX_COLUMNS} are allowed"));
    }
    let mut seen = HashSet::new();
    let mut columns = Vec::new();
    for name in fields.iter() {
        let name = std::str::from_utf8(name).map_err(|_| NOT_UTF_8.to_owned())?;
        if !name.is_empty() && !seen.insert(name) {
            let name = quoted(name);
            return Err(format!("the header line names the column {name} twice; rename or remove one of the two"));
        }
        columns.push(Column { name: name.to_owned(), key: format!("{}:", serde_json::Value::from(name)) });
    }
    if seen.is_empty() {
        return Err("the header line names no column; let the file begin with the names of its columns".to_owned());
    }
    Ok(columns)
}

/// Whether these bytes are UTF-8. What is kept of a header line that is too long may end inside a character.
fn is_text(header: &[u8]) -> bool {
    std::str::from_utf8(header).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Whether lines end with these alone: all of the file would be a header line, and no row.
fn has_carriage_returns(header: &[u8]) -> bool {
    unquoted(header).any(|(at, byte)| byte == b'\r' && header.get(at + 1).is_some_and(|next| *next != b'\n'))
}

/// The bytes that stand outside quotation marks, with their places.
fn unquoted(header: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut quoted = false;
    header.iter().enumerate().filter_map(move |(at, &byte)| {
        quoted ^= byte == b'"';
        (!quoted).then_some((at, byte))
    })
}

/// What seems to separate the columns of a header line instead, as it stands there more often: no row would be of any use. A comma is part
/// of many a name, so it only counts where nothing else separates. What a person has set is only doubted where it stands nowhere.
fn other_separator(header: &[u8], separator: u8, is_set: bool) -> Option<char> {
    let often = |one| unquoted(header).filter(|(_, byte)| *byte == one).count();
    let counts = [(b',', often(b',').min(1)), (b'|', often(b'|')), (b'\t', often(b'\t')), (b';', often(b';'))];
    let (other, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let own = often(separator);
    (most > own && (own == 0 || !is_set)).then(|| char::from(other))
}

/// The fields of one row, their memory used again for the next.
struct Fields {
    separator: u8,
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Fields {
    fn new(separator: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(separator).terminator(Terminator::Any(b'\n')).build();
        Self { separator, reader, text: Vec::new(), ends: vec![0; 16], count: 0 }
    }

    /// Splits one row, which has no line feed at its end.
    fn split(&mut self, row: &[u8]) {
        self.reader.reset();
        self.text.resize(self.text.len().max(row.len()), 0);
        let (mut input, mut written, mut ended) = (row, 0, 0);
        loop {
            let (result, read, wrote, ends) =
                self.reader.read_record(input, &mut self.text[written..], &mut self.ends[ended..]);
            input = &input[read..];
            written += wrote;
            ended += ends;
            match result {
                // No input left: the next call, with nothing, says so.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2 + 64, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.count = ended;
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends[..self.count].iter().map(move |&end| {
            let field = &self.text[start..end];
            start = end;
            field
        })
    }

    /// Writes the row as a JSON object; an empty value is a field that is not there.
    fn write(&self, columns: &[Column], json: &mut BytesMut) -> Result<(), String> {
        if self.count != columns.len() {
            let (expected, found) = (columns.len(), self.count);
            return Err(format!("the row has {found} columns where the header line has {expected}"));
        }
        json.reserve(SHARED.min(self.text.len() * 2 + 256));
        let mut before = b'{';
        for (column, value) in columns.iter().zip(self.iter()) {
            if value.is_empty() || column.name.is_empty() {
                continue;
            }
            let value = std::str::from_utf8(value).map_err(|_| {
                format!("the value of column {} is not UTF-8; save the file as UTF-8", quoted(&column.name))
            })?;
            json.put_u8(before);
            json.put_slice(column.key.as_bytes());
            serde_json::to_writer(json.writer(), value).map_err(|error| error.to_string())?;
            before = b',';
        }
        if before == b'{' {
            json.put_u8(before);
        }
        json.put_u8(b'}');
        Ok(())
    }
}
