//! The pages of a row group, each looked at before anything is decoded from it.
//!
//! A few bytes can stand for any number of values of any length: compressed, as a run, or by a prefix shared with the value before.
//! So what a page and its values may take is charged to a budget first, and a page that the budget does not hold is refused.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use parking_lot::Mutex;
use parquet::arrow::array_reader::RowGroups;
use parquet::basic::{Compression, ConvertedType, Encoding, LogicalType, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::data_type::Int32Type;
use parquet::decoding::{Decoder, DeltaBitPackDecoder};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

/// What the pages that are held, and the values decoded from them at a time, may take in bytes.
const BUDGET: usize = 512 << 20;

/// The longest page, as it lies in the file, that is read.
const MAX_BODY: usize = 64 << 20;

/// What a value takes beside its bytes: its view or number, its levels, and room to grow.
const VALUE: usize = 64;

/// The budget of a row group that is read.
#[derive(Clone)]
pub(super) struct Budget(Arc<Mutex<Charges>>);

struct Charges {
    left: usize,
    /// What pages held that others took the place of. The rows under way may still refer to them.
    replaced: usize,
}

impl Budget {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Charges { left: BUDGET, replaced: 0 })))
    }

    /// Begins the next rows: those before are gone.
    pub fn next_rows(&self) {
        let mut charges = self.0.lock();
        charges.left += std::mem::take(&mut charges.replaced);
    }

    fn left(&self) -> usize {
        self.0.lock().left
    }

    fn replace(&self, bytes: usize) {
        self.0.lock().replaced += bytes;
    }
}

/// Whether pages that are compressed like this can be read.
pub(super) fn inflates(compression: Compression) -> bool {
    use Compression::{GZIP, SNAPPY, UNCOMPRESSED, ZSTD};
    matches!(compression, UNCOMPRESSED | SNAPPY | GZIP(_) | ZSTD(_))
}

/// A row group as its columns' pages.
pub(super) struct RowGroup {
    /// Shared by all columns: a file may have more of them than a process may have open files.
    pub file: Arc<Bodies>,
    pub metadata: Arc<ParquetMetaData>,
    pub group: usize,
    /// How many rows are decoded at a time.
    pub at_once: usize,
    pub budget: Budget,
}

impl RowGroups for RowGroup {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.row_group(self.group).num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let chunk = self.metadata.row_group(self.group).column(column);
        // Read as if they were not compressed: inflating them is bounded here.
        let raw = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let pages = Pages {
            raw: SerializedPageReader::new(Arc::clone(&self.file), &raw, self.num_rows(), None)?,
            compression: chunk.compression(),
            column: chunk.column_descr_ptr(),
            at_once: self.at_once,
            budget: self.budget.clone(),
            dictionary: 0,
            charged: 0,
        };
        Ok(Box::new(Column(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// A column of one row group.
struct Column(Option<Box<dyn PageReader>>);

impl Iterator for Column {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for Column {}

/// A file that gives no body of a page over the limit.
pub(super) struct Bodies(pub File);

impl Length for Bodies {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Bodies {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length <= MAX_BODY {
            self.0.get_bytes(start, length)
        } else {
            Err(ParquetError::General(format!("a page has {length} bytes; at most {MAX_BODY} are read")))
        }
    }
}

/// The pages of a column, inflated and charged.
struct Pages {
    raw: SerializedPageReader<Bodies>,
    compression: Compression,
    column: ColumnDescPtr,
    at_once: usize,
    budget: Budget,
    /// The length of the dictionary page in bytes.
    dictionary: usize,
    /// What the page that is held was charged.
    charged: usize,
}

impl Pages {
    fn open(&mut self, page: Page) -> Result<Page> {
        Ok(match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.inflate(buf, 0)?;
                self.charge(self.decoded_bytes().saturating_mul(num_values as usize))?;
                self.dictionary = buf.len();
                // It is held as long as the row group is read.
                self.charged = 0;
                Page::DictionaryPage { buf, num_values, encoding, is_sorted }
            }
            Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics } => {
                self.budget.replace(std::mem::take(&mut self.charged));
                let buf = self.inflate(buf, 0)?;
                let repeated = (self.column.max_rep_level() > 0).then_some(rep_level_encoding);
                let defined = (self.column.max_def_level() > 0).then_some(def_level_encoding);
                let values = repeated.into_iter().chain(defined).try_fold(buf.clone(), behind_levels);
                self.charge_values(values, num_values, encoding)?;
                Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                self.budget.replace(std::mem::take(&mut self.charged));
                let levels = (def_levels_byte_len as usize).saturating_add(rep_levels_byte_len as usize);
                if levels > buf.len() {
                    return Err(ParquetError::General("a page is shorter than its levels".to_owned()));
                }
                let buf = self.inflate(buf.clone(), if is_compressed { levels } else { buf.len() })?;
                self.charge_values(Some(buf.slice(levels..)), num_values, encoding)?;
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
        })
    }

    /// Inflates what lies behind the first `plain` bytes, and charges what the page has then.
    fn inflate(&mut self, body: Bytes, plain: usize) -> Result<Bytes> {
        let compressed = &body[plain..];
        let broken = |error: snap::Error| ParquetError::External(Box::new(error));
        let inflated = match self.compression {
            // The levels of a page without values are all there is.
            _ if compressed.is_empty() => body,
            Compression::UNCOMPRESSED => body,
            Compression::SNAPPY => {
                let length = snap::raw::decompress_len(compressed).map_err(broken)?;
                if length > self.budget.left() {
                    return Err(self.refusal());
                }
                let mut inflated = body[..plain].to_vec();
                inflated.resize(plain + length, 0);
                snap::raw::Decoder::new().decompress(compressed, &mut inflated[plain..]).map_err(broken)?;
                inflated.into()
            }
            Compression::ZSTD(_) => self.inflate_from(zstd::Decoder::new(compressed)?, &body[..plain])?,
            Compression::GZIP(_) => self.inflate_from(MultiGzDecoder::new(compressed), &body[..plain])?,
            other => return Err(ParquetError::NYI(format!("the compression {other} is not read"))),
        };
        self.charge(inflated.len())?;
        Ok(inflated)
    }

    /// What a decoder gives, behind the plain bytes.
    fn inflate_from(&self, decoder: impl Read, plain: &[u8]) -> Result<Bytes> {
        let mut inflated = plain.to_vec();
        // A byte more than there is room for tells that it does not fit.
        decoder.take(self.budget.left() as u64 + 1).read_to_end(&mut inflated)?;
        Ok(inflated.into())
    }

    /// What a value of a dictionary takes, beside the bytes of a text.
    fn decoded_bytes(&self) -> usize {
        match self.column.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::BYTE_ARRAY => 16,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(self.column.type_length()).unwrap_or(0),
        }
    }

    /// Charges what is decoded of a page at a time. Of a column without lists that is a value a row; of one with lists all may be
    /// in one row.
    fn charge_values(&mut self, values: Option<Bytes>, count: u32, encoding: Encoding) -> Result<()> {
        let lists = self.column.max_rep_level() > 0;
        let at_once = if lists { count as usize } else { self.at_once.min(count as usize) };
        let bytes = match self.column.physical_type() {
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(self.column.type_length()).unwrap_or(0),
            // Texts refer to the dictionary; numbers of many digits are copied from it.
            Type::BYTE_ARRAY if is_decimal(&self.column) => self.dictionary,
            _ => 0,
        };
        // The name is written for each value in a list.
        let name = self.column.path().string().len();
        self.charge(at_once.saturating_mul(VALUE + bytes + name))?;
        if !matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY) {
            return Ok(());
        }
        let values =
            values.ok_or_else(|| ParquetError::General("a page has levels that cannot be passed over".to_owned()))?;
        self.charge(VALUE.saturating_mul(count as usize))?;
        let first = Lengths::read(values.clone(), count)?;
        if encoding == Encoding::DELTA_BYTE_ARRAY {
            let suffixes = Lengths::read(values.slice(first.end.min(values.len())..), count)?;
            let longest = first.longest.saturating_add(suffixes.longest);
            let decoded = first.sum.saturating_add(suffixes.sum).min(at_once.saturating_mul(longest));
            // Once as it is gathered, and once as it grows.
            self.charge(decoded.saturating_mul(2))?;
        }
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        let mut charges = self.budget.0.lock();
        match charges.left.checked_sub(bytes) {
            Some(left) => {
                charges.left = left;
                drop(charges);
                self.charged += bytes;
                Ok(())
            }
            None => {
                drop(charges);
                Err(self.refusal())
            }
        }
    }

    fn refusal(&self) -> ParquetError {
        ParquetError::General(format!(
            "`{}` and what is read beside it would take more than the {} MiB that may be decoded at a time: write the file with smaller \
             pages or shorter lists",
            self.column.path().string().chars().take(100).collect::<String>(),
            BUDGET >> 20
        ))
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.raw.get_next_page()?.map(|page| self.open(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.raw.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.raw.skip_next_page()
    }
}

fn is_decimal(column: &ColumnDescPtr) -> bool {
    column.converted_type() == ConvertedType::DECIMAL
        || matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
}

/// What lies behind levels that begin with their length, as all do but those of very old files.
fn behind_levels(page: Bytes, encoding: Encoding) -> Option<Bytes> {
    let (length, _) = page.split_first_chunk().filter(|_| encoding == Encoding::RLE)?;
    let behind = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(4)?;
    (behind <= page.len()).then(|| page.slice(behind..))
}

/// What a list of lengths says, without keeping it.
struct Lengths {
    sum: usize,
    longest: usize,
    /// Where it ends.
    end: usize,
}

impl Lengths {
    /// Reads a list of at most so many.
    fn read(list: Bytes, most: u32) -> Result<Self> {
        let mut decoder = DeltaBitPackDecoder::<Int32Type>::new();
        decoder.set_data(list, 0)?;
        if decoder.values_left() > most as usize {
            return Err(ParquetError::General("a page has more lengths than values".to_owned()));
        }
        let (mut sum, mut longest, mut some) = (0_usize, 0, [0; 1024]);
        while decoder.values_left() > 0 {
            let read = decoder.get(&mut some)?;
            if read == 0 {
                return Err(ParquetError::EOF("a page has fewer lengths than it says".to_owned()));
            }
            for length in &some[..read] {
                let length = usize::try_from(*length)
                    .map_err(|_| ParquetError::General("a page has a negative length".to_owned()))?;
                sum = sum.saturating_add(length);
                longest = longest.max(length);
            }
        }
        Ok(Self { sum, longest, end: decoder.get_offset() })
    }
}
