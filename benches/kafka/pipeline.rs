//! The pipeline as `vectide run --until-idle` runs it, with an index that keeps nothing.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vectide::actor::pulse;
use vectide::pipeline::totals::TotalsKeeper;
use vectide::pipeline::{Ending, Resources, RunOptions, supervise};
use vectide::settings::{self, Settings};

use crate::broker::TOPIC;
use crate::{Measured, RECORDS, cpu};

/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_millis(1);

/// Reads the whole topic with the ledger in this folder, and measures from the first records that it is seen to have read until every one
/// is settled.
pub fn read(address: &str, folder: &Path) -> Measured {
    actix::System::new().block_on(async {
        let resources = Resources::open(settings(address, folder)).await.expect("the resources of the bench");
        let resources = Arc::new(resources);
        resources.ledger.forget_positions("events").expect("a ledger that can be written");
        let mut totals = TotalsKeeper::new(resources.ledger.clone(), resources.metrics.clone());
        let options = RunOptions { until_idle: true, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        let mut measured = None;
        let all_settled = async {
            let (board, events) = (&resources.sources, &resources.metrics.events);
            while board.status_of(&["events".to_owned()])[0].window_documents == 0 && events.settled() == 0 {
                tokio::time::sleep(LOOK).await;
            }
            let (since, before) = (Instant::now(), events.settled());
            while events.settled() < RECORDS as u64 {
                tokio::time::sleep(LOOK).await;
            }
            let texts = resources.metrics.texts.sum();
            let records = RECORDS as u64 - before;
            measured = Some(Measured { records, elapsed: since.elapsed().as_secs_f64(), cpu: cpu::by_thread(), texts });
            std::future::pending::<Infallible>().await
        };
        let ending = tokio::select! {
            ending = supervise(&resources, options, std::future::pending()) => ending,
            never = totals.run() => match never {},
            never = all_settled => match never {},
        };
        assert_eq!(ending, Ending::Done);
        assert_eq!(resources.metrics.events.settled(), RECORDS as u64);
        measured.expect("all was settled before the run ended")
    })
}

fn settings(address: &str, folder: &Path) -> Settings {
    let yaml = format!(
        "
pipeline: bench
document: {{ id: id, version: timestamp, text: '{{{{ title }}}} {{{{ description }}}}', metadata: [category, price] }}
sources: {{ events: {{ type: kafka, brokers: ['{address}'], topics: [{TOPIC}], group: vectide-{} }} }}
embedding: {{ provider: hashed, dimensions: 16 }}
index: {{ type: discard }}
state: {{ path: '{}' }}
",
        std::process::id(),
        folder.display()
    );
    settings::load_text(Path::new("bench.yaml"), &yaml, &Default::default(), &[])
        .expect("the settings of the bench are valid")
}
