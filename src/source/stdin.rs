//! JSON lines on standard input.

use std::collections::VecDeque;
use std::io::{self, Read as Input};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::batch::Batch;
use super::blocking::Blocking;
use super::lines::{Boundary, Cutter};
use super::place::{self, Place};
use super::{Partition, Position, Read, Record, Room, Source, SourceError};
use crate::settings::source::StdinSettings;

/// What a pipe holds.
const CHUNK: usize = 64 << 10;

/// The one standard input of the process, from which one source after the other reads. What a source took and was not told to be
/// settled, the next one gives again.
#[derive(Clone, Default)]
pub struct StandardInput(Arc<Mutex<Held>>);

#[derive(Default)]
enum Held {
    #[default]
    Untouched,
    Here(Box<Taken>),
    /// A source has it.
    Away,
}

/// What was taken from the input.
struct Taken {
    lines: Blocking<Lines, Result<Option<Vec<Record>>, SourceError>>,
    /// Given, and not settled. They share their bytes with the window of the ingestor.
    unsettled: VecDeque<Record>,
}

/// Reads standard input until it ends. Its positions cannot be gone back to: a restart of the process reads what comes then.
///
/// A read waits for the next line however long it takes, because only its end tells that a pipe has nothing left to read.
/// A thread that waits for input cannot be stopped, so the process must end by `std::process::exit`, or shut its
/// runtime down without waiting.
pub struct StdinSource {
    input: StandardInput,
    settings: StdinSettings,
    /// From its opening on.
    taken: Option<Box<Taken>>,
    /// What the source before took and did not settle, to be given first.
    again: VecDeque<Record>,
}

struct Lines {
    cutter: Cutter<Box<dyn Input + Send>>,
    place: Place,
}

impl StandardInput {
    /// What comes on another input; `base` is the version before that of its first line.
    #[cfg(test)]
    pub(crate) fn of(input: Box<dyn Input + Send>, settings: &StdinSettings, base: i64) -> Self {
        Self(Arc::new(Mutex::new(Held::Here(Taken::from(input, settings, base)))))
    }

    /// What a source may have until it gives it back. `committed`: how far the standard input of an earlier process was read.
    fn take(&self, settings: &StdinSettings, committed: &[Position]) -> Option<Box<Taken>> {
        match std::mem::replace(&mut *self.0.lock(), Held::Away) {
            Held::Untouched => {
                let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let base = base(i64::try_from(started.as_nanos()).unwrap_or(i64::MAX), committed);
                Some(Taken::from(Box::new(io::stdin()), settings, base))
            }
            Held::Here(taken) => Some(taken),
            Held::Away => None,
        }
    }
}

/// The version before the first line: behind all that an earlier process read, also when the clock was set back since.
fn base(now: i64, committed: &[Position]) -> i64 {
    let behind =
        committed.iter().filter_map(|row| Some(place::behind(row.partition.detail.parse().ok()?, row.ordinal)));
    behind.fold(now, i64::max)
}

impl Taken {
    fn from(input: Box<dyn Input + Send>, settings: &StdinSettings, base: i64) -> Box<Self> {
        let cutter = Cutter::new(input, Boundary::Line, settings.max_record.as_usize(), 0, 0).live(CHUNK);
        let partition = Arc::new(Partition { name: "stdin".to_owned(), detail: base.to_string() });
        let lines = Blocking::new(Lines { cutter, place: Place { partition, base } });
        Box::new(Self { lines, unsettled: VecDeque::new() })
    }
}

impl StdinSource {
    /// A source of what comes on this input.
    pub fn new(input: &StandardInput, settings: &StdinSettings) -> Self {
        Self { input: input.clone(), settings: settings.clone(), taken: None, again: VecDeque::new() }
    }

    /// Of what the source before did not settle, as much as there is room for.
    fn give_again(&mut self, room: Room) -> Option<Vec<Record>> {
        let mut batch = Batch::new(room);
        while let Some(record) = self.again.pop_front_if(|record| batch.fits(record.payload.len())) {
            batch.push(record);
        }
        batch.records()
    }
}

impl Drop for StdinSource {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            *self.input.0.lock() = Held::Here(taken);
        }
    }
}

impl Lines {
    /// Waits for one record, and adds those that came with it.
    fn read(&mut self, room: Room) -> Result<Option<Vec<Record>>, SourceError> {
        let mut batch = Batch::new(room);
        let mut next =
            self.cutter.next().map_err(|error| SourceError(format!("standard input cannot be read: {error}")))?;
        while let Some(cut) = next {
            if !batch.fits(cut.bytes.len()) {
                self.cutter.put_back(cut);
                break;
            }
            batch.push(self.place.record(cut));
            next = self.cutter.at_hand();
        }
        Ok(batch.records())
    }
}

impl Source for StdinSource {
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        async move {
            // The actors that have it are ending.
            let taken = self
                .input
                .take(&self.settings, &committed)
                .ok_or_else(|| SourceError("standard input is in use".into()))?;
            if taken.lines.is_lost() {
                *self.input.0.lock() = Held::Here(taken);
                return Err(SourceError(
                    "what was read of standard input is lost with a read that failed: start again".into(),
                ));
            }
            self.again.clone_from(&taken.unsettled);
            self.taken = Some(taken);
            Ok(())
        }
        .boxed()
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        async move {
            if let Some(records) = self.give_again(room) {
                return Ok(Read::Records(records));
            }
            let taken = self.taken.as_mut().ok_or_else(|| SourceError("standard input was not opened".into()))?;
            let Some(records) = taken.lines.run(move |lines| lines.read(room)).await?? else {
                return Ok(Read::Finished);
            };
            taken.unsettled.extend(records.iter().cloned());
            Ok(Read::Records(records))
        }
        .boxed()
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        let settled = positions.iter().map(|position| position.offset).max().unwrap_or(0);
        if let Some(taken) = &mut self.taken {
            while taken.unsettled.pop_front_if(|record| record.position.offset <= settled).is_some() {}
        }
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, Write};

    use super::*;
    use crate::settings::units::ByteSize;

    const ROOM: Room = Room { records: 10, bytes: 100 };

    const SETTINGS: StdinSettings = StdinSettings { operation: None, max_record: ByteSize::bytes(20) };

    fn input(input: impl Input + Send + 'static) -> StandardInput {
        StandardInput::of(Box::new(input), &SETTINGS, 1_000)
    }

    async fn open(input: &StandardInput) -> StdinSource {
        let mut source = StdinSource::new(input, &SETTINGS);
        source.open(vec![]).await.unwrap();
        source
    }

    async fn source(from: impl Input + Send + 'static) -> StdinSource {
        open(&input(from)).await
    }

    /// The payloads of the next records; none at the end.
    async fn next(source: &mut StdinSource, room: Room) -> Option<Vec<Vec<u8>>> {
        match source.read(room).await.unwrap() {
            Read::Records(records) => Some(records.iter().map(|record| record.payload.to_vec()).collect()),
            Read::Finished => None,
            Read::Idle | Read::Waiting => panic!("a pipe that is open may have more at any time"),
            Read::Positions(_) | Read::Revoked(_) | Read::Forgotten(_) => panic!("a pipe is one partition"),
        }
    }

    #[tokio::test]
    async fn lines_are_records_numbered_in_their_order() {
        let mut source = source(&b"{1}\r\n\n{3}\n"[..]).await;
        let Read::Records(records) = source.read(ROOM).await.unwrap() else { panic!("there are lines") };
        let told = |record: &Record| (record.payload.to_vec(), record.position.to_string(), record.version.as_nanos());
        let expected = [(b"{1}".to_vec(), "stdin:1".to_owned(), 1_001), (b"{3}".to_vec(), "stdin:3".to_owned(), 1_003)];
        assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
        assert_eq!(next(&mut source, ROOM).await, None);
        assert_eq!(next(&mut source, ROOM).await, None, "the end stays the end");
    }

    #[tokio::test]
    async fn what_a_later_process_reads_is_newer_whatever_its_clock_says() {
        let mut source = source(&b"{1}\n{2}\n"[..]).await;
        let Read::Records(records) = source.read(ROOM).await.unwrap() else { panic!("there are lines") };
        let committed = [records[1].position.clone()];
        assert!(i128::from(base(900, &committed)) > records[1].version.as_nanos());
        assert_eq!(base(i64::MAX, &committed), i64::MAX);
        let partition = Arc::new(Partition { name: "stdin".to_owned(), detail: "{}".to_owned() });
        let of_files = Position { partition, ..committed[0].clone() };
        assert_eq!(base(900, &[of_files]), 900, "a source of another kind had this name");
    }

    #[tokio::test]
    async fn a_line_is_given_as_soon_as_it_is_there() {
        let (input, mut output) = io::pipe().unwrap();
        let mut source = source(input).await;
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
        let mut source = source(&b"1234\n1234\n123456789012\n1\n"[..]).await;
        let room = Room { records: 3, bytes: 10 };
        let mut lengths = Vec::new();
        while let Some(lines) = next(&mut source, room).await {
            lengths.push(lines.iter().map(Vec::len).collect::<Vec<_>>());
        }
        assert_eq!(lengths, [vec![4, 4], vec![12], vec![1]]);
    }

    #[tokio::test]
    async fn a_long_line_is_broken_and_the_next_is_sound() {
        let mut source = source(&b"123456789012345678901\n{2}\n"[..]).await;
        let Read::Records(records) = source.read(ROOM).await.unwrap() else { panic!("there are lines") };
        assert!(records[0].why_broken().unwrap().contains("`max_record`"));
        assert_eq!((&records[1].payload[..], records[1].why_broken()), (&b"{2}"[..], None));
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
        let error = source(Unreadable).await.read(ROOM).await.unwrap_err().to_string();
        assert!(error.starts_with("standard input cannot be read: "), "{error}");
    }

    #[tokio::test]
    async fn what_a_source_did_not_settle_is_given_by_the_next_as_it_was() {
        let (input_end, mut output) = io::pipe().unwrap();
        let input = input(input_end);
        let mut first = open(&input).await;
        output.write_all(b"{1}\n{2}\n{3}\n").unwrap();
        let Read::Records(given) = first.read(ROOM).await.unwrap() else { panic!("there are lines") };
        first.committed(&[given[0].position.clone()]).await.unwrap();
        assert!(first.read(ROOM).now_or_never().is_none(), "it waits for a line, and goes on waiting when nobody does");
        let mut second = StdinSource::new(&input, &SETTINGS);
        assert!(second.open(vec![]).await.unwrap_err().to_string().contains("in use"));
        drop(first);
        second.open(vec![]).await.unwrap();
        let Read::Records(again) = second.read(Room { records: 1, bytes: 100 }).await.unwrap() else { panic!("again") };
        let told = |record: &Record| (record.payload.clone(), record.position.offset, record.version);
        assert_eq!(again.iter().map(told).collect::<Vec<_>>(), [told(&given[1])]);
        assert_eq!(next(&mut second, ROOM).await, Some(vec![b"{3}".to_vec()]));
        output.write_all(b"{4}\n").unwrap();
        assert_eq!(next(&mut second, ROOM).await, Some(vec![b"{4}".to_vec()]), "also what the wait of before took");
        drop((second, output));
        let mut third = open(&input).await;
        let all = [b"{2}", b"{3}", b"{4}"].map(|line| line.to_vec());
        assert_eq!(next(&mut third, ROOM).await, Some(all.to_vec()));
        assert_eq!(next(&mut third, ROOM).await, None);
    }
}
