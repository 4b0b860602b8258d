//! The pipeline as `vectide run --until-idle` runs it.

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use vectide::actor::pulse;
use vectide::document::chunk::Tokenizer;
use vectide::embed::provider::{Embeddings, InputType, Provider, ProviderError};
use vectide::embed::space::Space;
use vectide::pipeline::totals::TotalsKeeper;
use vectide::pipeline::{Ending, Resources, RunOptions, supervise};
use vectide::settings::{self, Settings};

use crate::measure::{Case, Index, Measured, Meter, What};
use crate::process;

/// The file of the catalogue in the folder of a case.
pub const CATALOGUE: &str = "catalogue.jsonl";

/// Default settings, but for what the case says.
pub fn settings(case: &Case, folder: &Path) -> Settings {
    let folder = folder.display();
    let embedding = match &case.provider {
        Some(url) => format!(
            "{{ provider: openai, preset: openai-small, base_url: '{url}', concurrency: {} }}",
            case.concurrency
        ),
        None => "{ provider: builtin }".to_owned(),
    };
    let index = match case.index {
        Index::Discard => "discard",
        Index::Embedded => "embedded",
    };
    let yaml = format!(
        "
pipeline: bench
document: {{ id: id, version: timestamp, text: '{{{{ title }}}} {{{{ description }}}}', metadata: [category, price] }}
sources: {{ catalogue: {{ type: file, path: '{folder}/{CATALOGUE}' }} }}
batching: {{ max_items: {} }}
dedup: {{ persist: {} }}
embedding: {embedding}
index: {{ type: {index} }}
state: {{ path: '{folder}/data' }}
",
        case.batch, case.persist
    );
    settings::load_text(Path::new("bench.yaml"), &yaml, &Default::default(), &[])
        .expect("the settings of the bench are valid")
}

/// Runs the case in this process.
pub fn run(case: &Case, folder: &Path) -> Measured {
    actix::System::new().block_on(async {
        let settings = settings(case, folder);
        let inner = vectide::embed::build(&settings.embedding).expect("a provider");
        let timed = Arc::new(Timed { inner, calls: Mutex::default() });
        let resources = Resources::open_with(settings, timed.clone(), vectide::index::build)
            .await
            .expect("the resources of the bench");
        let resources = Arc::new(resources);
        if case.what == What::Again {
            resources.ledger.forget_positions("catalogue").expect("a ledger that can be written");
        }
        let mut totals = TotalsKeeper::new(resources.ledger.clone(), resources.metrics.clone());
        let options = RunOptions { until_idle: true, grace: Duration::from_secs(30), look_every: pulse::EVERY };
        let actors = Cell::new(0.0);
        let meter = Meter::start();
        let ending = tokio::select! {
            ending = supervise(&resources, options, std::future::pending()) => ending,
            never = totals.run() => match never {},
            () = watch_actors(&actors) => unreachable!("the actors are watched for as long as the run lasts"),
        };
        let mut measured = meter.stop(case.documents);
        assert_eq!(ending, Ending::Done);
        assert_eq!(resources.metrics.events.settled(), case.documents as u64);
        measured.actors = actors.get();
        if case.index == Index::Embedded && case.what == What::Pipeline {
            while resources.index.graph_lag() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            measured.graph = Some(meter.read());
        }
        measured.latency = timed.latency();
        measured
    })
}

/// Notes what the thread of the actors takes, again and again: it is gone with them.
async fn watch_actors(seconds: &Cell<f64>) {
    let mut thread = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // To ask every thread for its name each time would take a hundredth of what is measured.
        if thread.is_empty() {
            thread = process::threads("actix-rt");
        }
        seconds.set(process::thread_seconds(&thread).max(seconds.get()));
    }
}

/// A provider whose calls are timed one by one: the metrics only know them by buckets.
struct Timed {
    inner: Arc<dyn Provider>,
    calls: Mutex<Vec<f64>>,
}

impl Timed {
    fn latency(&self) -> [f64; 3] {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.sort_unstable_by(f64::total_cmp);
        if calls.is_empty() {
            return [0.0; 3];
        }
        let part = |part: usize| calls[(calls.len() * part / 100).min(calls.len() - 1)];
        [calls.iter().sum::<f64>() / calls.len() as f64, part(95), part(99)]
    }
}

impl Provider for Timed {
    fn space(&self) -> &Space {
        self.inner.space()
    }

    fn embed(&self, texts: Vec<Arc<str>>, input: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        Box::pin(async move {
            let since = Instant::now();
            let answer = self.inner.embed(texts, input).await;
            let call = since.elapsed().as_secs_f64();
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            answer
        })
    }

    fn has_words(&self, text: &str) -> bool {
        self.inner.has_words(text)
    }

    fn tokenizer(&self) -> Option<Arc<dyn Tokenizer>> {
        self.inner.tokenizer()
    }

    fn max_text_tokens(&self) -> Option<usize> {
        self.inner.max_text_tokens()
    }

    fn max_items(&self) -> usize {
        self.inner.max_items()
    }

    fn price_per_million_tokens(&self) -> f64 {
        self.inner.price_per_million_tokens()
    }
}
