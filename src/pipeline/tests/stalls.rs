//! What hangs is given up, and nothing that hangs can take back what comes after it. In real time: a thread that hangs knows no other.

use std::sync::Arc;
use std::time::Duration;

use actix::System;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use crate::actor::offload::on_blocking_thread;
use crate::actor::pulse::{self, Call, Pulse};
use crate::document::DocumentId;
use crate::index::{Hit, IndexError, Progress, Query, VectorIndex};
use crate::ledger::DocumentWrite;
use crate::pipeline::monitor::monitor;
use crate::pipeline::{Ending, NamedSource, Resources, RunOptions, supervise_sources};
use crate::source::actor::MakeSource;
use crate::source::{Position, Read, Room, Source, SourceError};
use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault, Script};

/// Each look stands for a second: an arbiter may be silent for half a second, and a call may take 4.5.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Lets the first that comes hang until it is opened, and all others pass.
#[derive(Default)]
struct Gate(Mutex<(bool, bool)>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.lock();
        if !std::mem::replace(&mut state.0, true) {
            self.1.wait_while(&mut state, |(_, open)| !*open);
        }
    }
}

/// So that no thread of a test is left when it ends, however it ends.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.0.lock().1 = true;
        self.0.1.notify_all();
    }
}

/// A source whose first read hangs on the thread of the actors.
struct HangingSource(Box<dyn Source>, Arc<Gate>);

impl Source for HangingSource {
    fn open(&mut self, committed: Vec<Position>) -> BoxFuture<'_, Result<(), SourceError>> {
        self.0.open(committed)
    }

    fn read(&mut self, room: Room) -> BoxFuture<'_, Result<Read, SourceError>> {
        self.1.pass();
        self.0.read(room)
    }

    fn committed(&mut self, positions: &[Position]) -> BoxFuture<'_, Result<(), SourceError>> {
        self.0.committed(positions)
    }
}

/// An index whose first write hangs on a thread of its own, and goes on when it is let go.
struct HangingIndex(Arc<FakeIndex>, Arc<Gate>);

impl VectorIndex for HangingIndex {
    fn write(&self, writes: Arc<[DocumentWrite]>) -> BoxFuture<'_, Result<Progress, IndexError>> {
        async move {
            let gate = self.1.clone();
            on_blocking_thread(move || gate.pass()).await;
            self.0.write(writes).await
        }
        .boxed()
    }

    fn search(&self, query: Query) -> BoxFuture<'_, Result<Vec<Hit>, IndexError>> {
        self.0.search(query)
    }
}

struct Pipeline {
    resources: Arc<Resources>,
    index: Arc<FakeIndex>,
    provider: Arc<FakeProvider>,
    script: Script,
    _folder: TempDir,
}

impl Pipeline {
    async fn new() -> Self {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Arc::new(FakeProvider::default()));
        let (resources, index) = fakes::resources(folder.path(), provider.clone()).await;
        let script = Script::new([
            r#"{"op":"put","id":"a","v":1,"text":"text a"}"#,
            r#"{"op":"put","id":"b","v":1,"text":"text b"}"#,
        ]);
        Self { resources, index, provider, script, _folder: folder }
    }

    async fn supervise(&self, make: MakeSource) -> Ending {
        let sources = async || Ok(vec![NamedSource { name: "script".into(), make: make.clone() }]);
        let options = RunOptions { until_idle: true, grace: Duration::from_secs(30), look_every: LOOK_EVERY };
        supervise_sources(&self.resources, sources, options, std::future::pending()).await
    }

    /// Reads the script through a source that hangs.
    async fn supervise_hanging(&self, gate: &Arc<Gate>) -> Ending {
        let (script, gate) = (self.script.make(), gate.clone());
        self.supervise(Arc::new(move || Box::new(HangingSource(script(), gate.clone())))).await
    }

    fn assert_in_step(&self) {
        let ids = ["a", "b"].map(|id| DocumentId::new(id).unwrap());
        assert_eq!(self.index.holds(&ids).len(), 2);
        assert_eq!(self.resources.ledger.dead_letter_count().unwrap(), 0);
    }
}

fn run(test: impl AsyncFnOnce(Pipeline, Arc<Gate>)) {
    System::new().block_on(async {
        let opens = Opens(Arc::default());
        test(Pipeline::new().await, opens.0.clone()).await;
    });
}

#[test]
fn an_arbiter_that_hangs_is_left_behind_and_its_work_is_done_by_the_next_one() {
    run(async |pipeline, gate| {
        assert_eq!(pipeline.supervise_hanging(&gate).await, Ending::Done);
        pipeline.assert_in_step();
        assert!(pipeline.resources.metrics.rebuilds.get() > 0);
    });
}

#[test]
fn an_arbiter_that_hangs_beside_a_read_of_the_ledger_that_does_not_end_is_left_behind() {
    run(async |pipeline, gate| {
        let call = Call { callee: "the ledger", purpose: "read vectors", writes: false, may_take: Duration::MAX };
        let _underway = pipeline.resources.ledger.underway().begin(call);
        assert_eq!(pipeline.supervise_hanging(&gate).await, Ending::Done);
        pipeline.assert_in_step();
    });
}

#[test]
fn an_arbiter_that_hangs_beside_a_write_to_the_ledger_that_does_not_end_ends_the_run() {
    run(async |pipeline, gate| {
        let call =
            Call { callee: "the ledger", purpose: "write documents", writes: true, may_take: pulse::CALL_MAY_TAKE };
        let _underway = pipeline.resources.ledger.underway().begin(call);
        let Ending::Hangs(reason) = pipeline.supervise_hanging(&gate).await else { panic!("it goes on") };
        assert!(reason.contains("the thread of the actors hangs"), "{reason}");
        assert!(reason.contains("the ledger does not end a call to write documents"), "{reason}");
    });
}

#[test]
fn calls_that_never_answer_are_dropped_and_made_again() {
    run(async |pipeline, _| {
        pipeline.provider.faults.order([Fault::Hang]);
        pipeline.index.faults.order([Fault::Hang]);
        assert_eq!(pipeline.supervise(pipeline.script.make()).await, Ending::Done);
        pipeline.assert_in_step();
        assert!(pipeline.resources.metrics.rebuilds.get() >= 2, "one for each of them");
        assert!(pipeline.provider.paid().values().all(|times| *times == 1), "vectors outlive the actors");
    });
}

#[test]
fn a_write_that_hangs_on_its_thread_ends_the_run() {
    run(async |pipeline, gate| {
        let index = Arc::new(HangingIndex(pipeline.index.clone(), gate));
        let resources = Arc::into_inner(pipeline.resources).expect("nobody else has them");
        let pipeline = Pipeline { resources: Arc::new(Resources { index, ..resources }), ..pipeline };
        let ending = pipeline.supervise(pipeline.script.make()).await;
        let Ending::Hangs(reason) = ending else { panic!("{ending:?}") };
        assert!(reason.contains("the index hangs: a call to write documents has not ended"), "{reason}");
        assert!(reason.contains("and the index does not end a call to write documents"), "{reason}");
        assert!(pipeline.index.writes().is_empty(), "nothing is written beside a write that may yet come");
    });
}

#[test]
fn who_looks_on_ends_with_what_is_looked_at() {
    let pulse = Arc::<Pulse>::default();
    let monitoring = monitor(pulse.clone(), Arc::default(), pulse::EVERY, |stall| panic!("{stall}")).unwrap();
    drop(monitoring);
    while Arc::strong_count(&pulse) > 1 {
        std::thread::yield_now();
    }
}
