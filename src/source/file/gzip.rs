//! Gzip: members one behind the other, and zeros behind the last, with which tapes and blocks of disks are filled up. `gzip` ignores them
//! too.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The bytes that were compressed.
pub(super) struct Members<R> {
    /// None behind the last member.
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub fn new(input: R) -> Self {
        Self { current: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            self.current = self.current.take().map(GzDecoder::into_inner).map_or(Ok(None), next)?;
        }
        Ok(0)
    }
}

/// The member behind zeros, if there is one.
fn next<R: BufRead>(mut input: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let bytes = match input.fill_buf() {
            // Asked again, the reader would be told of an end.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let (length, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
        input.consume(zeros);
        if zeros < length {
            return Ok(Some(GzDecoder::new(input)));
        }
    }
}
