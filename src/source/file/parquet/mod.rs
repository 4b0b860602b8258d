//! Rows of a Parquet file as JSON objects.
//!
//! `footer` and `pages` bound what is decoded at a time, `json` what is written of it. `columns` tells what the columns are decoded as,
//! `maps` writes those that arrow does not.

mod columns;
mod footer;
mod json;
mod maps;
mod pages;

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{Array, StructArray};
use arrow_json::EncoderOptions;
use arrow_json::writer::make_encoder;
use arrow_schema::Field;
use bytes::Bytes;
use parquet::arrow::array_reader::RowGroups as _;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowSelection, RowSelector};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};

use self::pages::{Bodies, Budget, RowGroup};
use crate::source::lines::{Cut, KEPT, READ_WHOLE};

/// How many rows are decoded at once at most.
const ROWS: u64 = 256;

/// How many bytes of rows are decoded at once, by what a row of the group has on average.
const BYTES: u64 = 4 << 20;

/// The rows of a file, a row group at a time.
pub(super) struct Rows {
    file: File,
    metadata: ArrowReaderMetadata,
    levels: FieldLevels,
    options: EncoderOptions,
    /// What the encoder could not write.
    unwritable: json::Unwritable,
    /// The longest row that is read, as JSON.
    max: usize,
    /// The row group that is read, and the first row behind it.
    group: usize,
    group_end: u64,
    /// How many rows of the group are decoded at once.
    at_once: u64,
    reader: Option<Reader>,
    /// Rows written and not given yet.
    written: VecDeque<Row>,
    /// Rows given or passed over.
    row: u64,
    held: Option<Cut>,
}

/// A row group that is decoded.
struct Reader {
    batches: ParquetRecordBatchReader,
    budget: Budget,
    /// Rows that were given before and are decoded again.
    passed: usize,
    /// Rows decoded, and the next of them to be written.
    batch: StructArray,
    at: usize,
}

/// A row as JSON, or the beginning of one that is too long, or what could be written of it.
struct Row {
    json: Bytes,
    too_long: bool,
    /// Why a value of it is missing.
    unwritable: Option<String>,
}

impl Rows {
    /// The rows behind the first `row` ones.
    ///
    /// # Errors
    /// The file is not Parquet, or cannot be read.
    pub fn open(file: File, max: usize, row: u64) -> Result<Self, String> {
        footer::check(&file)?;
        let metadata =
            guarded(|| ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| error.to_string()))?;
        let groups = metadata.metadata().row_groups().iter();
        let rows = groups
            .map(|group| u64::try_from(group.num_rows()).ok())
            .try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
        if rows.is_none_or(|rows| i64::try_from(rows).is_err()) {
            return Err("it has a number of rows that no file can have".to_owned());
        }
        let fields = columns::of(&metadata)?;
        let levels = guarded(|| {
            parquet_to_arrow_field_levels(metadata.parquet_schema(), ProjectionMask::all(), Some(&fields))
                .map_err(|error| error.to_string())
        })?;
        let unwritable = json::Unwritable::default();
        let mut rows = Self {
            file,
            levels,
            metadata,
            options: json::options(max, &unwritable),
            unwritable,
            max,
            group: 0,
            group_end: 0,
            at_once: 0,
            reader: None,
            written: VecDeque::new(),
            row,
            held: None,
        };
        rows.group_end = rows.group_rows();
        rows.at_once = rows.group_at_once();
        while rows.row >= rows.group_end && rows.next_group() {}
        Ok(rows)
    }

    /// Rows not given yet.
    pub fn left(&self) -> u64 {
        self.total().saturating_sub(self.row)
    }

    /// Rows in all.
    pub fn total(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The next row. A row group that cannot be decoded further is one broken record that stands for the rest of it.
    pub fn next(&mut self) -> Option<Cut> {
        if let Some(cut) = self.held.take() {
            return Some(cut);
        }
        loop {
            if let Some(row) = self.written.pop_front() {
                self.row += 1;
                return Some(self.cut(row));
            }
            while self.row >= self.group_end {
                if !self.next_group() {
                    return None;
                }
            }
            match guarded(|| self.write()) {
                Ok(true) => {}
                Ok(false) => return Some(self.damage("it holds fewer rows than the file says")),
                // What is too much at once, or broken behind other rows, may be read a row at a time.
                Err(_) if self.at_once > 1 => (self.reader, self.at_once) = (None, 1),
                Err(reason) => return Some(self.damage(&reason)),
            }
        }
    }

    /// Gives a row back, to be the next again.
    pub fn put_back(&mut self, cut: Cut) {
        self.held = Some(cut);
    }

    fn cut(&self, row: Row) -> Cut {
        let (kept, max) = (row.json.len(), self.max);
        let too_long = || {
            format!(
                "the row has more than the {max} bytes as JSON that `max_record` allows; its first {kept} bytes are kept. \
                 {READ_WHOLE}"
            )
        };
        let broken = row.too_long.then(too_long).or(row.unwritable);
        Cut { broken, bytes: row.json, end: self.row, ending: 0, line: self.row }
    }

    fn group_rows(&self) -> u64 {
        let metadata = self.metadata.metadata();
        let rows = (self.group < metadata.num_row_groups()).then(|| metadata.row_group(self.group).num_rows());
        rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
    }

    fn group_at_once(&self) -> u64 {
        let metadata = self.metadata.metadata();
        let group = (self.group < metadata.num_row_groups()).then(|| metadata.row_group(self.group).total_byte_size());
        let bytes = group.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        (BYTES / (bytes / self.group_rows().max(1)).max(1)).clamp(1, ROWS)
    }

    fn next_group(&mut self) -> bool {
        if self.group >= self.metadata.metadata().num_row_groups() {
            return false;
        }
        self.group += 1;
        self.group_end += self.group_rows();
        self.at_once = self.group_at_once();
        self.reader = None;
        self.group < self.metadata.metadata().num_row_groups()
    }

    fn damage(&mut self, reason: &str) -> Cut {
        let (line, end) = (self.row + 1, self.group_end.max(self.row + 1));
        self.row = end;
        self.reader = None;
        let broken = format!(
            "rows {line} to {end} cannot be read: {reason}; replace the file by one that can be read to have them"
        );
        Cut { bytes: Bytes::new(), end, ending: 0, line, broken: Some(broken) }
    }

    /// Writes the next rows, at least one; says whether there was one.
    fn write(&mut self) -> Result<bool, String> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open_group()?,
        };
        if !reader.decode()? {
            return Ok(false);
        }
        let field = Arc::new(Field::new_struct("", reader.batch.fields().clone(), false));
        let mut encoder = make_encoder(&field, &reader.batch, &self.options).map_err(|error| error.to_string())?;
        let (mut written, mut bytes) = (VecDeque::new(), 0);
        while reader.at < reader.batch.len() && bytes < BYTES {
            let mut json = Vec::new();
            encoder.encode(reader.at, &mut json);
            let unwritable = self.unwritable.take();
            let too_long = json.len() > self.max;
            if too_long {
                json.truncate(KEPT.min(self.max));
                json.shrink_to_fit();
            }
            bytes += json.len() as u64;
            written.push_back(Row { json: json.into(), too_long, unwritable });
            reader.at += 1;
        }
        drop(encoder);
        self.written = written;
        self.reader = Some(reader);
        Ok(true)
    }

    fn open_group(&self) -> Result<Reader, String> {
        let budget = Budget::new();
        let group = RowGroup {
            file: Arc::new(Bodies(self.file.try_clone().map_err(|error| error.to_string())?)),
            metadata: Arc::clone(self.metadata.metadata()),
            group: self.group,
            at_once: usize::try_from(self.at_once).unwrap_or(1),
            budget: budget.clone(),
        };
        let given = usize::try_from(self.row - (self.group_end - self.group_rows())).unwrap_or(usize::MAX);
        let left = group.num_rows().saturating_sub(given);
        // Whole pages are passed over unopened. Those of a list do not say how many rows they have: each would be opened, and all would
        // stay charged until the first row is read. So where there are lists, rows that were given are decoded again.
        let skips = given > 0 && !self.has_lists();
        let selection = skips.then(|| RowSelection::from(vec![RowSelector::skip(given), RowSelector::select(left)]));
        let batches = ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &group, group.at_once, selection)
            .map_err(|error| error.to_string())?;
        let passed = if skips { 0 } else { given };
        Ok(Reader { batches, budget, passed, batch: StructArray::new_empty_fields(0, None), at: 0 })
    }

    fn has_lists(&self) -> bool {
        self.metadata.parquet_schema().columns().iter().any(|column| column.max_rep_level() > 0)
    }
}

impl Reader {
    /// Sees to it that a row is decoded that was not given before; says whether there is one.
    fn decode(&mut self) -> Result<bool, String> {
        while self.at == self.batch.len() {
            self.budget.next_rows();
            self.batch = StructArray::new_empty_fields(0, None);
            let Some(batch) = self.batches.next() else { return Ok(false) };
            self.batch = batch.map_err(|error| error.to_string())?.into();
            self.at = self.passed.min(self.batch.len());
            self.passed -= self.at;
        }
        Ok(true)
    }
}

/// The decoder takes the numbers in a file for what they say, and panics where they make no sense.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves half done is dropped with the reader, or with the file.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the file is damaged, so that its decoder gave up".to_owned()))
}
