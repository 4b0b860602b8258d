//! Files as a source: JSON lines, CSV and Parquet; a path, a folder or a glob; read once or followed as they grow.
//!
//! A partition is a file, named by its path (`name`). Positions of one name come in the order of reading, and start again at 0 when
//! another file, or another content, takes the name: commit them in that order.
//!
//! `scan` finds the files and `walk` what a glob matches, `kind` tells how they are read, `identity` knows them again, `gone` bounds what
//! is known and `telling` what is said, `csv`, `parquet` and the source's `lines` cut records out of them, and `once` and `follow` are the
//! two ways to go through them.

mod content;
mod csv;
mod decompress;
mod follow;
mod gone;
mod gzip;
mod identity;
mod kind;
mod name;
mod once;
#[cfg(feature = "parquet")]
mod parquet;
mod scan;
mod telling;
#[cfg(test)]
mod tests;
mod walk;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::decompress::Compression;
pub(crate) use self::kind::Kind;

use self::follow::{Descriptors, Follow};
use self::once::Once;
use super::blocking::Blocking;
use super::{IDLE_WAIT, Position, Read, Room, Source, SourceError};
use crate::settings::source::FileSettings;

/// How often followed files are looked at.
const POLL: Duration = Duration::from_millis(125);

/// Reads files.
pub struct FileSource {
    reader: Blocking<Reader, Answer>,
    /// Not before this are the files looked at again: the last look found nothing.
    next_look: Instant,
    remaining: Option<u64>,
    trouble: Option<String>,
}

enum Reader {
    Once(Box<Once>),
    Follow(Box<Follow>),
}

/// What one look at the files gave, how many bytes were left behind it, and what cannot be read.
struct Answer {
    read: Result<Read, SourceError>,
    remaining: u64,
    trouble: Option<String>,
}

impl FileSource {
    /// A source of these files. Nothing is touched before it is opened.
    pub fn new(settings: &FileSettings) -> Self {
        let settings = settings.clone();
        let reader = if settings.follow {
            Reader::Follow(Box::new(Follow::new(settings, Descriptors::of_process())))
        } else {
            Reader::Once(Box::new(Once::new(settings)))
        };
        Self::of(reader)
    }

    fn of(reader: Reader) -> Self {
        Self { reader: Blocking::new(reader), next_look: Instant::now(), remaining: None, trouble: None }
    }

    async fn step(
        &mut self,
        work: impl FnOnce(&mut Reader) -> Result<Read, SourceError> + Send + 'static,
    ) -> Result<Read, SourceError> {
        let answer = self.reader.run(|reader| {
            let read = work(reader);
            Answer { read, remaining: reader.remaining(), trouble: reader.trouble() }
        });
        let Answer { read, remaining, trouble } = answer.await?;
        self.remaining = Some(remaining);
        self.trouble = trouble;
        read
    }
}

impl Reader {
    fn open(&mut self, committed: &[Position], now: Instant) -> Result<(), SourceError> {
        match self {
            Self::Once(once) => once.open(committed),
            Self::Follow(follow) => follow.open(committed, now),
        }
    }

    fn step(&mut self, room: Room, now: Instant) -> Result<Read, SourceError> {
        match self {
            Self::Once(once) => once.step(room),
            Self::Follow(follow) => Ok(follow.step(room, now)),
        }
    }

    fn watch(&mut self, now: Instant) {
        match self {
            Self::Once(_) => {}
            Self::Follow(follow) => follow.watch(now),
        }
    }

    fn remaining(&self) -> u64 {
        match self {
            Self::Once(once) => once.remaining(),
            Self::Follow(follow) => follow.remaining(),
        }
    }

    fn trouble(&self) -> Option<String> {
        match self {
            // A read fails when nothing else is left.
            Self::Once(_) => None,
            Self::Follow(follow) => follow.trouble(),
        }
    }
}

impl Source for FileSource {
    /// Looks for the files.
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        let now = Instant::now();
        self.step(move |reader| reader.open(&committed, now).map(|()| Read::Idle))
            .map(|opened| opened.map(drop))
            .boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            let idle = Instant::now() + IDLE_WAIT;
            loop {
                sleep_until(self.next_look).await;
                let now = Instant::now();
                let read = self.step(move |reader| reader.step(room, now)).await?;
                if !matches!(read, Read::Idle) {
                    return Ok(read);
                }
                self.next_look = now + POLL;
                if now >= idle {
                    return Ok(Read::Idle);
                }
            }
        }
        .boxed()
    }

    /// Followed files may be rotated away meanwhile.
    fn watch(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        let now = Instant::now();
        let watch = move |reader: &mut Reader| {
            reader.watch(now);
            Ok(Read::Idle)
        };
        self.step(watch).map(|watched| watched.map(drop)).boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn remaining_bytes(&self) -> Option<u64> {
        self.remaining
    }
}
