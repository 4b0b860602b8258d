//! Records out of bytes: a line, or a CSV row that may span lines.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memchr2};

/// How much is read at once.
pub(super) const CHUNK: usize = 1 << 20;

/// A record that keeps its whole buffer alive counts for its own bytes only. So records share a buffer only if together they are at
/// least one part in so many of it.
const SPARSE: usize = 8;

/// How much is kept, to be shown, of a record over the limit.
pub(super) const KEPT: usize = 64 << 10;

/// What to do about a record over the limit, of which only the beginning is kept.
pub(super) const READ_WHOLE: &str = "A replay has no more than these: raise `max_record` and read it again, for which a source of files must \
                                     be given another name";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What ends a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Boundary {
    /// A line feed.
    Line,
    /// A line feed outside quotation marks.
    Row {
        /// What stands between fields.
        separator: u8,
        quoting: Quoting,
    },
}

/// Where a search for the end of a CSV row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// At the start of a field, the only place where a quotation mark opens one.
    Start,
    /// In a field without quotation marks, or behind its closing one.
    Bare,
    /// Between quotation marks.
    Open,
    /// Behind a quotation mark inside a field: it closed the field, or the next one makes it a literal.
    Closing,
}

impl Boundary {
    /// The end of a CSV row whose fields this separates.
    pub fn row(separator: u8) -> Self {
        Self::Row { separator, quoting: Quoting::Start }
    }

    /// The index of the line feed that ends the record, if these bytes hold it; the search goes on with the bytes behind them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let Self::Row { separator, quoting: state } = self else { return memchr(b'\n', bytes) };
        let separator = *separator;
        let mut at = 0;
        loop {
            let byte = *bytes.get(at)?;
            *state = match (*state, byte) {
                (Quoting::Start | Quoting::Closing, b'"') => Quoting::Open,
                (Quoting::Open, b'"') => Quoting::Closing,
                (Quoting::Open, _) => {
                    at = memchr(b'"', &bytes[at..]).map_or(bytes.len(), |found| at + found);
                    continue;
                }
                (_, b'\n') => {
                    *state = Quoting::Start;
                    return Some(at);
                }
                (_, byte) if byte == separator => Quoting::Start,
                (_, _) => {
                    *state = Quoting::Bare;
                    at = memchr2(separator, b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
                    continue;
                }
            };
            at += 1;
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Row { quoting: Quoting::Open, .. })
    }

    /// How many line feeds lie in a record, its end included.
    fn lines(&self, record: &[u8]) -> u64 {
        match self {
            Self::Line => 1,
            Self::Row { .. } => memchr_iter(b'\n', record).count() as u64,
        }
    }

    fn is_blank(&self, record: &[u8]) -> bool {
        match self {
            Self::Line => record.first().is_none_or(u8::is_ascii_whitespace) && record.trim_ascii().is_empty(),
            Self::Row { .. } => record.is_empty(),
        }
    }
}

/// One record as it was cut out.
#[derive(Debug)]
pub(super) struct Cut {
    /// Its bytes without the line ending; what is kept of it when it is broken.
    pub bytes: Bytes,
    /// The offset behind it.
    pub end: u64,
    /// How many of the bytes before that are its line ending.
    pub ending: u64,
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// Why it is none.
    pub broken: Option<String>,
}

/// A record over the limit, of which only the beginning is kept.
#[derive(Debug)]
struct Passed {
    head: Bytes,
    length: u64,
    lines: u64,
}

/// Cuts records out of bytes as they come. Records share the buffer they were read into, if it holds little else.
///
/// A decoder that fails gives what was read before as records, then one broken record that ends one byte behind the
/// last byte that could be read, so that a position can say that the damage was reported.
pub(super) struct Cutter<R> {
    input: R,
    boundary: Boundary,
    max: usize,
    chunk: usize,
    /// Whether what one read gives is enough, because more may be long in coming.
    live: bool,
    /// Whether the bytes behind the last line feed are a record when the input ends.
    whole: bool,
    /// Bytes that hold the end of a record; what lies before `cursor` is cut.
    block: Bytes,
    cursor: usize,
    /// A record whose end is not read yet.
    begun: Vec<u8>,
    /// How far `block` or `begun` was searched for the end of the record.
    searched: usize,
    passed: Option<Passed>,
    /// Where the next record begins.
    offset: u64,
    line: u64,
    failure: Option<io::Error>,
    ended: bool,
    damaged: bool,
    /// Records that are cut and not given.
    held: VecDeque<Cut>,
}

impl<R: Read> Cutter<R> {
    /// Cuts `input`, whose first byte has this offset, after so many lines.
    pub fn new(input: R, boundary: Boundary, max: usize, offset: u64, lines: u64) -> Self {
        Self {
            input,
            boundary,
            max,
            chunk: CHUNK,
            live: false,
            whole: true,
            block: Bytes::new(),
            cursor: 0,
            begun: Vec::new(),
            searched: 0,
            passed: None,
            offset,
            line: lines + 1,
            failure: None,
            ended: false,
            damaged: false,
            held: VecDeque::new(),
        }
    }

    /// Gives records as soon as they come in, for a pipe or a terminal.
    pub fn live(mut self, chunk: usize) -> Self {
        (self.live, self.chunk) = (true, chunk);
        self
    }

    /// Takes the bytes behind the last line feed for a record that is still being written.
    pub fn growing(mut self) -> Self {
        self.whole = false;
        self
    }

    /// No more will be written: what stands behind the last line feed is a record.
    pub fn end(&mut self) {
        self.whole = true;
    }

    /// Says how many bytes are there to read, so that no more memory is taken for them.
    pub fn expect(&mut self, bytes: u64) {
        self.chunk = usize::try_from(bytes).unwrap_or(CHUNK).clamp(4 << 10, CHUNK);
    }

    /// How far the input was read.
    pub fn read_to(&self) -> u64 {
        let before = self.passed.as_ref().map_or(0, |passed| passed.length);
        self.offset + before + (self.block.len() - self.cursor + self.begun.len()) as u64
    }

    /// The next record, or none when the input has no more of them for now.
    ///
    /// # Errors
    /// The input could not be read. Damage inside a compressed stream is no error but a broken record.
    pub fn next(&mut self) -> io::Result<Option<Cut>> {
        loop {
            if let Some(cut) = self.at_hand() {
                return Ok(Some(cut));
            }
            if self.ended {
                return Ok(None);
            }
            if self.begun.len() > self.max || self.passed.is_some() {
                self.pass_over();
            }
            match self.fill() {
                Ok(0) if self.whole => {
                    self.ended = true;
                    return Ok(self.last());
                }
                Ok(0) => {
                    if self.begun.is_empty() {
                        // A file that is followed may have nothing for long.
                        self.begun = Vec::new();
                    }
                    return Ok(None);
                }
                Ok(_) => self.seal(),
                Err(error) if error.raw_os_error().is_none() => {
                    self.ended = true;
                    return Ok(Some(self.damage(&error)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the last record that was given says that the input is damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The next record that was read already.
    pub fn at_hand(&mut self) -> Option<Cut> {
        if self.held.is_empty() {
            // It may have held many short records, and a file that is followed keeps its cutter for long.
            self.held = VecDeque::new();
        }
        self.held.pop_front().or_else(|| self.cut_next())
    }

    fn cut_next(&mut self) -> Option<Cut> {
        if self.block.is_empty() {
            return None;
        }
        while let Some(found) = self.boundary.find(&self.block[self.searched..]) {
            if let Some(cut) = self.cut(self.searched + found + 1, 1) {
                return Some(cut);
            }
        }
        self.begun.extend_from_slice(&self.block[self.cursor..]);
        (self.block, self.cursor, self.searched) = (Bytes::new(), 0, self.begun.len());
        None
    }

    /// Gives a record back, to be the next again.
    pub fn put_back(&mut self, cut: Cut) {
        self.held.push_front(cut);
    }

    /// Goes on until a record ends at this offset: how input that cannot seek is resumed.
    pub fn advance_to(&mut self, offset: u64) -> io::Result<()> {
        while let Some(cut) = self.next()? {
            if cut.end > offset {
                self.put_back(cut);
                break;
            }
        }
        Ok(())
    }

    /// Cuts `block` at `end`, where a line ending of so many bytes lies; a blank line is none.
    fn cut(&mut self, end: usize, ending: usize) -> Option<Cut> {
        let from = self.cursor;
        let raw = &self.block[from..end];
        let mut text = from..end - ending;
        if self.block[text.clone()].last() == Some(&b'\r') {
            text.end -= 1;
        }
        if self.offset == 0 && self.passed.is_none() && self.block[text.clone()].starts_with(BYTE_ORDER_MARK) {
            text.start += BYTE_ORDER_MARK.len();
        }
        let (line, mut length, mut lines) = (self.line, raw.len() as u64, self.boundary.lines(raw));
        let passed = self.passed.take();
        if let Some(passed) = &passed {
            length += passed.length;
            lines += passed.lines;
        }
        self.offset += length;
        self.line += lines;
        (self.cursor, self.searched) = (end, end);
        let behind = (end - text.end) as u64;
        let (bytes, broken) = match passed {
            Some(Passed { head, .. }) => {
                let reason = self.too_long(length - ending as u64, head.len());
                (head, Some(reason))
            }
            None if text.len() > self.max => {
                let kept = &self.block[text.start..text.start + KEPT.min(text.len())];
                (Bytes::copy_from_slice(kept), Some(self.too_long(text.len() as u64, kept.len())))
            }
            None if self.boundary.is_blank(&self.block[text.clone()]) => return None,
            None => (self.block.slice(text), None),
        };
        Some(Cut { bytes, end: self.offset, ending: behind, line, broken })
    }

    /// The bytes behind the last line feed as a record.
    fn last(&mut self) -> Option<Cut> {
        if self.begun.is_empty() && self.passed.is_none() {
            return None;
        }
        let unclosed = self.boundary.is_open();
        self.block = self.take_begun();
        let mut cut = self.cut(self.block.len(), 0)?;
        if unclosed && cut.broken.is_none() {
            cut.broken =
                Some(format!("the row that begins in line {} opens a quotation mark that is never closed", cut.line));
        }
        Some(cut)
    }

    fn damage(&mut self, error: &io::Error) -> Cut {
        let at = self.read_to();
        let kept = self.begun.len().min(KEPT);
        let head = self.passed.take().map(|passed| passed.head);
        let bytes = head.unwrap_or_else(|| Bytes::copy_from_slice(&self.begun[..kept]));
        self.begun = Vec::new();
        self.offset = at + 1;
        self.damaged = true;
        let broken = format!(
            "the file cannot be decompressed further: {error} (line {}, after {at} decompressed bytes); what follows is not \
             read until the file is replaced",
            self.line
        );
        Cut { bytes, end: self.offset, ending: 0, line: self.line, broken: Some(broken) }
    }

    fn too_long(&self, length: u64, kept: usize) -> String {
        let (what, hint) = match self.boundary {
            Boundary::Line => ("line", ""),
            Boundary::Row { .. } => ("row", "; or close the quotation mark that it may have opened"),
        };
        format!(
            "the {what} has {length} bytes, more than the {} that `max_record` allows; its first {kept} bytes are kept. {READ_WHOLE}{hint}",
            self.max
        )
    }

    /// Drops the bytes of a record over the limit, except its beginning.
    fn pass_over(&mut self) {
        let begun = &self.begun;
        let kept = begun.len().min(KEPT);
        let passed = self.passed.get_or_insert_with(|| Passed {
            head: Bytes::copy_from_slice(&begun[..kept]),
            length: 0,
            lines: 0,
        });
        passed.length += self.begun.len() as u64;
        passed.lines += memchr_iter(b'\n', &self.begun).count() as u64;
        self.begun.clear();
        self.searched = 0;
    }

    /// Reads the next chunk behind what is begun.
    fn fill(&mut self) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let from = self.begun.len();
        let mut filled = from;
        self.begun.resize(from + self.chunk, 0);
        while filled < self.begun.len() {
            match self.input.read(&mut self.begun[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
            if self.live {
                break;
            }
        }
        self.begun.truncate(filled);
        match (filled - from, self.failure.take()) {
            (0, Some(failure)) => Err(failure),
            (read, failure) => {
                self.failure = failure;
                Ok(read)
            }
        }
    }

    /// Turns what is begun into a block to cut, once it holds the end of a record.
    fn seal(&mut self) {
        if self.offset == 0 && self.searched == 0 && self.passed.is_none() {
            if self.begun.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.begun) {
                return;
            }
            // The mark is no part of the header line: a quotation mark opens a field only where the field begins.
            if self.begun.starts_with(BYTE_ORDER_MARK) {
                self.searched = BYTE_ORDER_MARK.len();
            }
        }
        let before = self.boundary;
        match self.boundary.find(&self.begun[self.searched..]) {
            None => self.searched = self.begun.len(),
            Some(_) => {
                self.boundary = before;
                self.block = self.take_begun();
                self.share();
            }
        }
    }

    fn take_begun(&mut self) -> Bytes {
        if self.begun.len() < self.begun.capacity() / 2 {
            self.begun.shrink_to_fit();
        }
        std::mem::take(&mut self.begun).into()
    }

    /// Cuts the first records of a block, until it is known that records are enough of it to share it. If they are not, for blank lines
    /// or records over the limit, each has memory of its own.
    fn share(&mut self) {
        let (mut found, enough) = (0, self.block.len() / SPARSE);
        while found < enough {
            let Some(cut) = self.cut_next() else {
                for cut in &mut self.held {
                    cut.bytes = Bytes::copy_from_slice(&cut.bytes);
                }
                return;
            };
            // What is kept of one over the limit has memory of its own already.
            found += if cut.broken.is_none() { cut.bytes.len() } else { 0 };
            self.held.push_back(cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_has_nothing_for_now_takes_no_memory() {
        let mut cutter = Cutter::new(io::empty(), Boundary::Line, 100, 0, 0).growing();
        assert!(cutter.next().unwrap().is_none());
        assert_eq!(cutter.begun.capacity(), 0);
    }
}
