//! How much is taken in while the index takes nothing: exactly what the bounds say, and no more however long it lasts.

use std::io::Cursor;

use bytes::Bytes;

use super::super::build::WRITING;
use super::*;
use crate::settings::{
    source::{FileSettings, StdinSettings},
    units::ByteSize,
};
use crate::source::actor::MakeSource;
use crate::source::file::FileSource;
use crate::source::http::{HttpSource, Intake, IntakeError};
use crate::source::replan::{self, ReplanSource};
use crate::source::stdin::{StandardInput, StdinSource};

/// Documents that are answered by the provider and wait for the index: the writer holds so many messages, the one that is written
/// among them, and each call one more.
const ANSWERED: usize = (WRITING + CALLS) * ITEMS;

/// Documents that the sources of these tests may have on their way.
const ADMITTED: usize = ANSWERED + 240;

/// What the sources have.
const ALL: usize = ADMITTED + 500;

/// Lines of one length, each a document with a text of its own.
fn lines() -> Vec<String> {
    let line = |n| json!({ "op": "put", "id": format!("d{n:04}"), "v": 1, "text": format!("text {n:04}") }).to_string();
    (0..ALL).map(line).collect()
}

/// Two windows with room for the same number of these lines, one in records and one in bytes.
fn windows(lines: &[String]) -> [Room; 2] {
    let bytes = lines[0].len() * ADMITTED;
    [Room { records: ADMITTED, bytes: 2 * bytes }, Room { records: 2 * ADMITTED, bytes }]
}

/// What is where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// Documents in the source's window.
    window: usize,
    /// Of these, texts that wait for a call.
    batcher: usize,
    calls: usize,
    writes: usize,
}

impl Held {
    fn by(pipeline: &Pipeline, source: &str) -> Self {
        Self {
            window: pipeline.shown(source).window_documents as usize,
            batcher: pipeline.resources.metrics.embedding_queue.get() as usize,
            calls: pipeline.provider.calls().len(),
            writes: pipeline.index.writes().len(),
        }
    }
}

/// Reads a source against an index that is blocked for hours, and then no more. `full`: what else must be so all the while.
async fn blocked(world: &World, pipeline: &Pipeline, window: Room, make: MakeSource, full: impl AsyncFn()) {
    pipeline.index.block();
    let (sources, _failures) = pipeline.start_reading(window, vec![NamedSource { name: "source".into(), make }]);
    let held = Held { window: ADMITTED, batcher: ADMITTED - ANSWERED, calls: WRITING + CALLS, writes: 0 };
    for _ in 0..20 {
        world.rest().await;
        assert_eq!(Held::by(pipeline, "source"), held);
        full().await;
    }
    pipeline.index.unblock();
    rest(&sources).await;
    let events: Vec<Value> = lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    pipeline.assert_in_step(&events);
    assert_eq!(pipeline.paid_again(), 0);
}

/// A source of lines that are all there at the start.
fn of_lines(make: impl Fn(&TempDir, &str) -> MakeSource) {
    let lines = lines();
    for window in windows(&lines) {
        World::run(1, async |world| {
            let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
            let folder = tempfile::tempdir().unwrap();
            let make = make(&folder, &(lines.join("\n") + "\n"));
            blocked(&world, &pipeline, window, make, async || {}).await;
        });
    }
}

fn file(folder: &TempDir, lines: &str, follow: bool) -> MakeSource {
    let path = folder.path().join("lines.jsonl");
    std::fs::write(&path, lines).unwrap();
    let settings: FileSettings = serde_json::from_value(json!({ "path": path, "follow": follow })).unwrap();
    Arc::new(move || Box::new(FileSource::new(&settings)))
}

#[test]
fn with_a_blocked_index_a_file_is_read_exactly_as_far_as_its_window_goes() {
    of_lines(|folder, lines| file(folder, lines, false));
}

#[test]
fn with_a_blocked_index_a_followed_file_is_read_exactly_as_far_as_its_window_goes() {
    of_lines(|folder, lines| file(folder, lines, true));
}

#[test]
fn with_a_blocked_index_standard_input_is_read_exactly_as_far_as_its_window_goes() {
    of_lines(|_, lines| {
        let lines = lines.to_owned();
        let settings = StdinSettings { operation: None, max_record: ByteSize::bytes(1000) };
        Arc::new(move || {
            let input = StandardInput::of(Box::new(Cursor::new(lines.clone())), &settings, 0);
            Box::new(StdinSource::new(&input, &settings))
        })
    });
}

/// The journal takes in what `max_pending` says, of which the window's part is in memory.
#[test]
fn with_a_blocked_index_http_accepts_exactly_what_may_be_pending_and_has_its_window_in_memory() {
    let lines = lines();
    for window in windows(&lines) {
        World::run(1, async |world| {
            let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
            let intake = Intake::open(pipeline.resources.ledger.clone(), "source", ALL).await.unwrap();
            for some in lines.chunks(100) {
                let events = some.iter().map(|line| Bytes::from(line.clone())).collect();
                intake.accept(events).await.unwrap();
            }
            let full = async || {
                let more = intake.accept(vec![Bytes::from(lines[0].clone())]).await;
                assert!(matches!(more, Err(IntakeError::Full { pending: ALL, limit: ALL, .. })), "{more:?}");
            };
            let of = intake.clone();
            let make: MakeSource = Arc::new(move || Box::new(HttpSource::new(&of)));
            blocked(&world, &pipeline, window, make, full).await;
            assert_eq!(intake.pending(), 0);
            intake.accept(vec![Bytes::from(lines[0].clone())]).await.expect("there is room again");
        });
    }
}

/// The window that every configured source has, in its real size.
#[test]
fn with_a_blocked_index_a_source_admits_exactly_its_window_and_nothing_grows() {
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        let events = puts(WINDOW.records + 500);
        let script = script(&events, 1024);
        pipeline.index.block();
        let (sources, _failures) = pipeline.start(WINDOW, &[&script]);
        world.rest().await;
        let calls = pipeline.provider.calls().len();
        assert_eq!(script.given().len(), WINDOW.records);
        world.rest().await;
        assert_eq!((script.given().len(), pipeline.provider.calls().len()), (WINDOW.records, calls));
        assert!(pipeline.index.writes().is_empty());
        pipeline.index.unblock();
        assert!(at_rest(sources.rests).await.is_empty());
        assert_eq!(pipeline.index.writes().concat().len(), events.len());
        assert_eq!(pipeline.paid_again(), 0);
    });
}

/// Their records are empty, and what comes of them is as large as the documents.
#[test]
fn with_a_blocked_index_large_documents_are_looked_at_again_exactly_as_far_as_the_window_has_bytes() {
    const ROOM: usize = 7;
    World::run(1, async |world| {
        let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
        let tag = "☂".repeat(5_000);
        let put =
            |n| json!({ "op": "put", "id": format!("d{n:02}"), "v": 1, "text": format!("text {n:02}"), "tag": tag });
        let events: Vec<Value> = (0..40).map(put).collect();
        let writes: Vec<DocumentWrite> = events.iter().map(|event| pipeline.not_indexed(event)).collect();
        let length = writes[0].document.len();
        pipeline.resources.ledger.write(&writes).unwrap();

        pipeline.index.block();
        let (ledger, window) = (pipeline.resources.ledger.clone(), Room { records: 1000, bytes: ROOM * length });
        let make: MakeSource = Arc::new(move || Box::new(ReplanSource::new(ledger.clone(), "plan".into())));
        let (sources, _failures) =
            pipeline.start_reading(window, vec![NamedSource { name: replan::NAME.into(), make }]);
        for _ in 0..20 {
            world.rest().await;
            let held = pipeline.shown(replan::NAME);
            assert_eq!((held.window_documents, held.window_bytes), (ROOM as u64, window.bytes as u64));
        }
        pipeline.index.unblock();
        rest(&sources).await;
        pipeline.assert_in_step(&events);
        assert_eq!(pipeline.paid_again(), 0);
    });
}
