//! How a run ends that is not left to end by itself: it is dropped, or told to stop after a failure. In real time.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::actor::guard::BUDGET;
use crate::actor::pulse;
use crate::pipeline::{Ending, NamedSource, Resources, RunOptions, supervise_sources};
use crate::testkit::fakes::{self, FakeIndex, FakeProvider, Fault, Script};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

/// One document, of a source that never ends.
struct Run {
    resources: Arc<Resources>,
    index: Arc<FakeIndex>,
    script: Script,
    _folder: TempDir,
}

impl Run {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (resources, index) = fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        let script = Script::with([r#"{"op":"put","id":"a","v":1,"text":"text a"}"#], 1, false);
        Self { resources, index, script, _folder: folder }
    }

    async fn supervise(&self, stop: impl Future<Output = ()>) -> Ending {
        let sources = async || Ok(vec![NamedSource { name: "script".into(), make: self.script.make() }]);
        let options = RunOptions { until_idle: false, grace: LONG, look_every: pulse::EVERY };
        supervise_sources(&self.resources, sources, options, stop).await
    }

    /// Stops it, and runs again until the document is in the index.
    async fn assert_the_next_run_does_the_rest(&self) {
        assert_eq!(self.supervise(until(|| !self.index.writes().is_empty())).await, Ending::Stopped);
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let is_so = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, is_so).await.expect("it comes so in time");
}

#[actix::test]
async fn a_run_that_nobody_waits_for_any_more_ends_with_its_actors() {
    let run = Run::new().await;
    let holders = || Arc::strong_count(&run.resources.metrics);
    let before = holders();
    tokio::select! {
        ending = run.supervise(std::future::pending()) => panic!("{ending:?}"),
        () = until(|| holders() > before && !run.index.writes().is_empty()) => {}
    }
    until(|| holders() == before).await;
}

#[actix::test]
async fn told_to_stop_between_two_generations_it_ends_with_work_left() {
    let run = Run::new().await;
    run.script.faults().order([Fault::PanicBefore; BUDGET + 1]);
    let ending = run.supervise(until(|| run.resources.metrics.rebuilds.get() > 0)).await;
    assert_eq!((ending, run.index.writes().len()), (Ending::WorkLeft, 0));
    run.assert_the_next_run_does_the_rest().await;
}
