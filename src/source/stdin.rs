//! JSON lines on standard input.

use std::io::{self, Read as Input};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::file::lines::{Boundary, Cutter};
use super::file::offload::Offload;
use super::file::{Batch, Place};
use super::{Committed, Partition, Read, Room, Source, SourceError};
use crate::settings::source::StdinSettings;

/// What a pipe holds.
const CHUNK: usize = 64 << 10;

/// Reads standard input until it ends. Its positions cannot be gone back to: a restart reads what comes then.
///
/// A read waits for the next line however long it takes, because only its end tells that a pipe has nothing left to read.
/// A thread that waits for input cannot be stopped, so the process must end by `std::process::exit`, or shut its
/// runtime down without waiting.
pub struct StdinSource {
    lines: Offload<Lines, Result<Option<Vec<super::Record>>, SourceError>>,
}

struct Lines {
    cutter: Cutter<Box<dyn Input + Send>>,
    place: Place,
}

impl StdinSource {
    /// A source of what comes on standard input from now on.
    pub fn new(settings: &StdinSettings) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = i64::try_from(started.as_nanos()).unwrap_or(i64::MAX);
        Self::of(Box::new(io::stdin()), settings, base)
    }

    /// A source of what comes on this input; `base` is the version before that of its first line.
    pub(crate) fn of(input: Box<dyn Input + Send>, settings: &StdinSettings, base: i64) -> Self {
        let cutter = Cutter::new(input, Boundary::Line, settings.max_record.as_usize(), 0, 0).live(CHUNK);
        let partition = Arc::new(Partition { name: "stdin".to_owned(), detail: String::new() });
        Self { lines: Offload::new(Lines { cutter, place: Place { partition, base } }) }
    }
}

impl Lines {
    /// Waits for one record, and adds those that came with it.
    fn read(&mut self, room: Room) -> Result<Option<Vec<super::Record>>, SourceError> {
        let mut batch = Batch::new(room);
        let mut next =
            self.cutter.next().map_err(|error| SourceError(format!("standard input cannot be read: {error}")))?;
        while let Some(cut) = next {
            if !batch.fits(cut.bytes.len()) {
                self.cutter.put_back(cut);
                break;
            }
            batch.push(self.place.record(cut.bytes, cut.end, cut.line, cut.broken));
            next = self.cutter.at_hand();
        }
        Ok(batch.records())
    }
}

impl Source for StdinSource {
    fn open(&mut self, _committed: Vec<Committed>) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let records = self.lines.run(move |lines| lines.read(room)).await??;
            Ok(records.map_or(Read::Finished, Read::Records))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, Write};

    use super::*;
    use crate::settings::units::ByteSize;

    const ROOM: Room = Room { records: 10, bytes: 100 };

    fn source(input: impl Input + Send + 'static) -> StdinSource {
        StdinSource::of(Box::new(input), &StdinSettings { max_record: ByteSize::bytes(20) }, 1_000)
    }

    /// The payloads of the next records; none at the end.
    async fn next(source: &mut StdinSource, room: Room) -> Option<Vec<Vec<u8>>> {
        match source.read(room).await.unwrap() {
            Read::Records(records) => Some(records.iter().map(|record| record.payload.to_vec()).collect()),
            Read::Finished => None,
            Read::Idle | Read::Revoked(_) => panic!("a pipe that is open may have more at any time"),
        }
    }

    #[tokio::test]
    async fn lines_are_records_numbered_in_their_order() {
        let mut source = source(&b"{1}\r\n\n{3}\n"[..]);
        source.open(vec![]).await.unwrap();
        let Read::Records(records) = source.read(ROOM).await.unwrap() else { panic!("there are lines") };
        let told = |record: &super::super::Record| {
            (record.payload.to_vec(), record.position.to_string(), record.version.as_nanos())
        };
        let expected = [(b"{1}".to_vec(), "stdin:1".to_owned(), 1_001), (b"{3}".to_vec(), "stdin:3".to_owned(), 1_003)];
        assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
        assert_eq!(next(&mut source, ROOM).await, None);
        assert_eq!(next(&mut source, ROOM).await, None, "the end stays the end");
    }

    #[tokio::test]
    async fn a_line_is_given_as_soon_as_it_is_there() {
        let (input, mut output) = io::pipe().unwrap();
        let mut source = source(input);
        output.write_all(b"{1}\n{2").unwrap();
        assert_eq!(next(&mut source, ROOM).await, Some(vec![b"{1}".to_vec()]));
        output.write_all(b"}").unwrap();
        drop(output);
        assert_eq!(
            next(&mut source, ROOM).await,
            Some(vec![b"{2}".to_vec()]),
            "the end of the input ends its last line"
        );
        assert_eq!(next(&mut source, ROOM).await, None);
    }

    #[tokio::test]
    async fn what_does_not_fit_comes_with_the_next_read() {
        let mut source = source(&b"1234\n1234\n123456789012\n1\n"[..]);
        let room = Room { records: 3, bytes: 10 };
        let mut lengths = Vec::new();
        while let Some(lines) = next(&mut source, room).await {
            lengths.push(lines.iter().map(Vec::len).collect::<Vec<_>>());
        }
        assert_eq!(lengths, [vec![4, 4], vec![12], vec![1]]);
    }

    #[tokio::test]
    async fn a_long_line_is_broken_and_the_next_is_sound() {
        let mut source = source(&b"123456789012345678901\n{2}\n"[..]);
        let Read::Records(records) = source.read(ROOM).await.unwrap() else { panic!("there are lines") };
        assert!(records[0].broken.as_deref().unwrap().contains("`max_record`"));
        assert_eq!((&records[1].payload[..], &records[1].broken), (&b"{2}"[..], &None));
    }

    #[tokio::test]
    async fn input_that_cannot_be_read_is_an_error_that_names_it() {
        struct Unreadable;
        impl Input for Unreadable {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                // As the system says it: a disk that fails, a terminal that is gone.
                Err(Error::from_raw_os_error(5))
            }
        }
        let error = source(Unreadable).read(ROOM).await.unwrap_err().to_string();
        assert!(error.starts_with("standard input cannot be read: "), "{error}");
    }
}
