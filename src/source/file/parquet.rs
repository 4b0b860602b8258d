//! Rows of a Parquet file as JSON objects.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use bytes::Bytes;
use memchr::memchr;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::lines::{Cut, KEPT};

/// How many rows are decoded at once at most. A value that is written once may be in all of them.
const ROWS: u64 = 256;

/// How many bytes of rows are decoded at once, by what a row of the group has on average.
const BYTES: u64 = 4 << 20;

/// The rows of a file, a row group at a time.
pub(super) struct Rows {
    file: File,
    metadata: ArrowReaderMetadata,
    /// The longest row that is read, as JSON.
    max: usize,
    /// The row group that is read, and the first row behind it.
    group: usize,
    group_end: u64,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows decoded and not given yet, one JSON object a line.
    decoded: Bytes,
    /// Rows given or passed over.
    row: u64,
    held: Option<Cut>,
}

impl Rows {
    /// The rows behind the first `row` ones.
    ///
    /// # Errors
    /// The file is not Parquet, or cannot be read.
    pub fn open(file: File, max: usize, row: u64) -> Result<Self, String> {
        let metadata =
            guarded(|| ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| error.to_string()))?;
        let groups = metadata.metadata().row_groups().iter();
        let rows = groups
            .map(|group| u64::try_from(group.num_rows()).ok())
            .try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
        if rows.is_none_or(|rows| i64::try_from(rows).is_err()) {
            return Err("it has a number of rows that no file can have".to_owned());
        }
        let mut rows =
            Self { file, metadata, max, group: 0, group_end: 0, reader: None, decoded: Bytes::new(), row, held: None };
        rows.group_end = rows.group_rows();
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
            if let Some(end) = memchr(b'\n', &self.decoded) {
                let bytes = self.decoded.split_to(end);
                self.decoded = self.decoded.slice(1..);
                self.row += 1;
                return Some(self.cut(bytes));
            }
            while self.row >= self.group_end {
                if !self.next_group() {
                    return None;
                }
            }
            match guarded(|| self.decode()) {
                Ok(Some(decoded)) => self.decoded = decoded,
                Ok(None) => return Some(self.damage("it holds fewer rows than the file says")),
                Err(reason) => return Some(self.damage(&reason)),
            }
        }
    }

    /// Gives a row back, to be the next again.
    pub fn put_back(&mut self, cut: Cut) {
        self.held = Some(cut);
    }

    fn cut(&self, row: Bytes) -> Cut {
        let (length, kept, max) = (row.len(), row.len().min(KEPT), self.max);
        let too_long = || {
            format!(
                "the row has {length} bytes as JSON, more than the {max} that `max_record` allows; its first {kept} bytes are kept. \
                 Raise `max_record`"
            )
        };
        let broken = (length > max).then(too_long);
        let bytes = if broken.is_some() { row.slice(..kept) } else { row };
        Cut { bytes, end: self.row, line: self.row, broken }
    }

    fn group_rows(&self) -> u64 {
        let metadata = self.metadata.metadata();
        let rows = (self.group < metadata.num_row_groups()).then(|| metadata.row_group(self.group).num_rows());
        rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
    }

    fn next_group(&mut self) -> bool {
        if self.group >= self.metadata.metadata().num_row_groups() {
            return false;
        }
        self.group += 1;
        self.group_end += self.group_rows();
        self.reader = None;
        self.group < self.metadata.metadata().num_row_groups()
    }

    fn damage(&mut self, reason: &str) -> Cut {
        let (line, end) = (self.row + 1, self.group_end.max(self.row + 1));
        self.row = end;
        self.reader = None;
        let broken =
            format!("rows {line} to {end} cannot be read: {reason}; replace the file by a sound one to have them");
        Cut { bytes: Bytes::new(), end, line, broken: Some(broken) }
    }

    fn decode(&mut self) -> Result<Option<Bytes>, String> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open_group()?,
        };
        let Some(batch) = self.reader.insert(reader).next() else { return Ok(None) };
        let batch = batch.map_err(|error| error.to_string())?;
        let mut json = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_timestamp_format("%Y-%m-%dT%H:%M:%S%.fZ".to_owned())
            .build::<_, LineDelimited>(&mut json);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|error| error.to_string())?;
        Ok(Some(json.into()))
    }

    /// The rest of the row group.
    fn open_group(&self) -> Result<ParquetRecordBatchReader, String> {
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        let rows = self.group_rows();
        let passed = self.row - (self.group_end - rows);
        let bytes = u64::try_from(self.metadata.metadata().row_group(self.group).total_byte_size()).unwrap_or(0);
        let at_once = (BYTES / (bytes / rows.max(1)).max(1)).clamp(1, ROWS);
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![self.group])
            .with_offset(usize::try_from(passed).unwrap_or(usize::MAX))
            .with_batch_size(usize::try_from(at_once).unwrap_or(1))
            .build()
            .map_err(|error| error.to_string())
    }
}

/// The decoder takes the numbers in a file for what they say, and panics where they make no sense.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves half done is dropped with the reader, or with the file.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the file is damaged, so that its decoder gave up".to_owned()))
}
