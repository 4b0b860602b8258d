//! One open file as records, whatever its format.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use memchr::memrchr;
use serde::{Deserialize, Serialize};

use super::csv;
use super::decompress::Compression;
use super::identity;
use super::kind::Kind;
#[cfg(feature = "parquet")]
use super::parquet;
use crate::settings::source::FileFormat;
use crate::source::batch::Batch;
use crate::source::lines::{Boundary, Cut, Cutter};
use crate::source::place::Place;

/// How much is searched at once for the start of a line.
const BLOCK: u64 = 4 << 10;

/// Where reading goes on: behind the record that ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Bytes, or rows of a Parquet file.
    pub offset: u64,
    /// The line or row.
    pub ordinal: u64,
}

type Input = Box<dyn Read + Send>;

/// An open file.
pub(super) enum Content {
    Lines(Box<Cutter<Input>>),
    Csv(Box<csv::Rows<Input>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Rows>),
}

impl Content {
    /// An open file whose records behind the mark are read.
    ///
    /// # Errors
    /// The file cannot be read, or is not what its name says: the reason, without the name.
    pub fn open(file: &Arc<File>, kind: Kind, max_record: usize, from: Mark) -> Result<Self, String> {
        Self::open_as(file, kind, max_record, from, |cutter| cutter)
    }

    /// The same for a file that grows: what stands behind the last line feed is not read yet.
    pub fn open_growing(file: &Arc<File>, kind: Kind, max_record: usize, from: Mark) -> Result<Self, String> {
        // Before anything is read: the end that the file has now is not its last.
        Self::open_as(file, kind, max_record, from, Cutter::growing)
    }

    fn open_as(
        file: &Arc<File>,
        kind: Kind,
        max_record: usize,
        from: Mark,
        manner: fn(Cutter<Input>) -> Cutter<Input>,
    ) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let seekable = kind.format == FileFormat::Jsonl && kind.compression == Compression::None;
        let start = if seekable { line_start(file, from).map_err(said)? } else { Mark::default() };
        file.as_ref().seek(SeekFrom::Start(start.offset)).map_err(said)?;
        // A small file needs no large buffer; a compressed one is longer inside.
        let size = file.metadata().map_err(said)?.len();
        let expected = if kind.compression == Compression::None { size } else { size.saturating_mul(8) };
        match kind.format {
            FileFormat::Jsonl => {
                let input = kind.compression.decompress(Arc::clone(file)).map_err(said)?;
                let mut cutter = manner(Cutter::new(input, Boundary::Line, max_record, start.offset, start.ordinal));
                cutter.expect(expected);
                Ok(Self::Lines(Box::new(cutter)))
            }
            // Always from the start: the header line is there, and only the line feeds before a row tell its line.
            FileFormat::Csv => {
                let separator = kind.separator.as_byte();
                let input = kind.compression.decompress(Arc::clone(file)).map_err(said)?;
                let mut cutter = manner(Cutter::new(input, Boundary::row(separator), max_record, 0, 0));
                cutter.expect(expected);
                Ok(Self::Csv(Box::new(csv::Rows::new(cutter, kind, from.offset))))
            }
            #[cfg(feature = "parquet")]
            FileFormat::Parquet if kind.compression == Compression::None => {
                let file = file.try_clone().map_err(said)?;
                Ok(Self::Parquet(Box::new(parquet::Rows::open(file, max_record, from.offset)?)))
            }
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => {
                Err("a Parquet file is compressed inside; decompress it, and drop the `.gz` or `.zst` from its name"
                    .into())
            }
            #[cfg(not(feature = "parquet"))]
            FileFormat::Parquet => Err("this build cannot read Parquet; build it with `--features parquet`".into()),
        }
    }

    /// Adds the records behind `given` to the batch while there is room; says whether the end was reached.
    pub fn read(&mut self, batch: &mut Batch, place: &Place, given: &mut Mark) -> Result<bool, String> {
        while !batch.is_full() {
            let (cut, payload) = match self {
                Self::Lines(cutter) => match cutter.next().map_err(|error| error.to_string())? {
                    Some(cut) => (cut, None),
                    None => return Ok(true),
                },
                Self::Csv(rows) => match rows.next()? {
                    Some((cut, json)) => (cut, Some(json)),
                    None => return Ok(true),
                },
                #[cfg(feature = "parquet")]
                Self::Parquet(rows) => match rows.next() {
                    Some(cut) => (cut, None),
                    None => return Ok(true),
                },
            };
            // It was given, though its line feed may have come since.
            if cut.end - cut.ending <= given.offset {
                continue;
            }
            let length = payload.as_ref().map_or(cut.bytes.len(), |payload| payload.len());
            if !batch.fits(length) {
                match self {
                    Self::Lines(cutter) => cutter.put_back(cut),
                    Self::Csv(rows) => rows.cutter.put_back(cut),
                    #[cfg(feature = "parquet")]
                    Self::Parquet(rows) => rows.put_back(cut),
                }
                return Ok(false);
            }
            *given = Mark { offset: cut.end, ordinal: cut.line };
            batch.push(place.record(Cut { bytes: payload.unwrap_or(cut.bytes), ..cut }));
        }
        Ok(false)
    }

    /// What cuts the records out of a text file.
    fn cutter(&mut self) -> Option<&mut Cutter<Input>> {
        match self {
            Self::Lines(cutter) => Some(cutter),
            Self::Csv(rows) => Some(&mut rows.cutter),
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => None,
        }
    }

    /// How far an uncompressed text file was read.
    pub fn read_to(&mut self) -> u64 {
        self.cutter().map_or(0, |cutter| cutter.read_to())
    }

    /// A file that grew does so no more: what stands behind its last line feed is a record.
    pub fn end(&mut self) {
        self.cutter().into_iter().for_each(Cutter::end);
    }

    /// Says how many bytes there are to read, so that no more memory is taken for them.
    pub fn expect(&mut self, bytes: u64) {
        self.cutter().into_iter().for_each(|cutter| cutter.expect(bytes));
    }

    /// How many of the bytes of the file on disk are left to read.
    pub fn remaining(&self, file: &File, size: u64) -> u64 {
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => {
                let share = u128::from(size) * u128::from(rows.left()) / u128::from(rows.total().max(1));
                u64::try_from(share).unwrap_or(size)
            }
            Self::Lines(_) | Self::Csv(_) => {
                let mut file = file;
                size.saturating_sub(file.stream_position().unwrap_or(size))
            }
        }
    }
}

/// Where the line begins that the mark lies in. What stood behind the last line feed may have been taken for a line before its end was
/// written: the whole line comes once more, at the same place in the order.
fn line_start(file: &File, mark: Mark) -> std::io::Result<Mark> {
    let mut end = mark.offset;
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        let block = identity::bytes(file, from, end - from)?;
        if (block.len() as u64) < end - from {
            // It is shorter than what was read of it: reading on finds that out.
            return Ok(mark);
        }
        if let Some(found) = memrchr(b'\n', &block) {
            end = from + found as u64 + 1;
            break;
        }
        end = from;
    }
    Ok(if end == mark.offset { mark } else { Mark { offset: end, ordinal: mark.ordinal.saturating_sub(1) } })
}
