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

    fn of(input: Box<dyn Input + Send>, settings: &StdinSettings, base: i64) -> Self {
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
