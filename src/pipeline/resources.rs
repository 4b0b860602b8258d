//! What outlives the actors: the ledger, the index, the provider, the caches, and what pages and metrics read.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::actor::offload::on_blocking_thread;
use crate::batch::Estimator;
use crate::dedup::{Departures, VectorCache};
use crate::document::chunk::Chunker;
use crate::document::template::Template;
use crate::embed::Provider;
use crate::embed::limiter::Limiter;
use crate::embed::status::ProviderStatus;
use crate::index::space::{self, SpaceError};
use crate::index::{IndexError, VectorIndex};
use crate::ledger::{Ledger, LedgerError, LedgerErrorKind, LedgerOptions, Points, Totals};
use crate::open_files;
use crate::search::Searcher;
use crate::settings::{IndexSettings, Settings, SourceSettings};
use crate::source::Surroundings;
use crate::source::clients::Clients;
use crate::source::http::Intake;
use crate::source::mappers::Mappers;
use crate::source::stdin::StandardInput;
use crate::telemetry::{ActorBoard, Health, Metrics, SourceBoard};

/// Bumped when the same settings make other texts or chunks than before, so that documents are compared again.
const PLAN_REVISION: u32 = 2;

/// See the module. Share it as `Arc<Resources>`.
pub struct Resources {
    /// The configuration.
    pub settings: Settings,
    /// The durable record.
    pub ledger: Arc<Ledger>,
    /// What turns texts into vectors.
    pub provider: Arc<dyn Provider>,
    /// Lets calls out.
    pub limiter: Limiter,
    /// Guesses how many tokens they have.
    pub estimator: Arc<Estimator>,
    /// How the provider is doing.
    pub provider_status: Arc<ProviderStatus>,
    /// Where vectors are kept and searched.
    pub index: Arc<dyn VectorIndex>,
    /// Vectors in memory.
    pub cache: VectorCache,
    /// Reads records.
    pub mappers: Mappers,
    /// Renders texts and metadata.
    pub template: Arc<Template>,
    /// Cuts long texts.
    pub chunker: Arc<Chunker>,
    /// The HTTP source's way in, when one is configured.
    pub intake: Option<Intake>,
    /// Standard input, from which generation after generation of actors may read.
    pub stdin: StandardInput,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What earlier runs counted.
    pub earlier: Totals,
    /// Documents that left the index for want of a text.
    pub departures: Arc<Departures>,
    /// The state of each actor.
    pub actors: ActorBoard,
    /// The state of each source.
    pub sources: SourceBoard,
    /// Threads of sources that say goodbye to their servers.
    pub clients: Clients,
    /// Whether the process is ready, with reasons.
    pub health: Arc<Health>,
    /// When the process began its work.
    pub since: Instant,
    /// Names what documents are planned with: when it differs from what the ledger holds, all are compared anew.
    pub plan: Arc<str>,
}

/// Why a run cannot start. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what cannot be: exit code 78.
    #[error("{0}")]
    Configuration(String),
    /// Something else is in the way.
    #[error("{0}")]
    Unavailable(String),
}

impl From<SpaceError> for StartError {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::Differs { .. } | SpaceError::Unreadable { .. } => Self::Configuration(error.to_string()),
            SpaceError::Ledger(error) => error.into(),
        }
    }
}

impl From<LedgerError> for StartError {
    fn from(error: LedgerError) -> Self {
        match error.kind() {
            LedgerErrorKind::Schema => Self::Configuration(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// What the ledger must keep for an index.
pub fn ledger_options(settings: &Settings) -> LedgerOptions {
    let points = match settings.index {
        IndexSettings::Discard(_) => Points::Nowhere,
        _ if settings.index.external().is_some() => Points::Elsewhere,
        _ => Points::Here,
    };
    LedgerOptions { pipeline: settings.pipeline.clone(), persist_vectors: settings.dedup.persist, points }
}

impl Resources {
    /// Opens everything that the configuration names. Takes the data folder's lock for as long as the resources live.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        let provider = crate::embed::build(&settings.embedding).map_err(StartError::Configuration)?;
        Self::open_with(settings, provider, crate::index::build).await
    }

    /// As [`Resources::open`], with this provider instead of the configured one, and with the index that this makes. What the ledger keeps
    /// for it still goes by the type that is configured, and how many calls the provider gets at once by its settings.
    pub async fn open_with(
        settings: Settings,
        provider: Arc<dyn Provider>,
        index: impl FnOnce(&Settings, Arc<Ledger>, usize) -> Result<Arc<dyn VectorIndex>, IndexError>,
    ) -> Result<Self, StartError> {
        // Those of callers, of sources and of the ledger add up.
        open_files::allow_all();
        let mappers = Mappers::new(&settings).map_err(StartError::Configuration)?;
        let template = Template::new(&settings.document).map_err(StartError::Configuration)?;
        let chunker = Chunker::new(&settings.chunking, provider.tokenizer(), provider.max_text_tokens());
        let words = provider.clone();
        let chunker = chunker.map_err(StartError::Configuration)?.leaving_out(move |chunk| words.has_words(chunk));
        let folder = settings.state.path.clone();
        let options = ledger_options(&settings);
        let space = provider.space().clone();
        let open = move || {
            let ledger = space::open(&folder, options, &space)?;
            space::claim(&ledger, &space)?;
            let earlier = ledger.totals()?;
            Ok::<_, SpaceError>((ledger, earlier))
        };
        let (ledger, earlier) = on_blocking_thread(open).await?;
        let health = Arc::new(Health::default());
        let ledger = Arc::new(ledger.reporting_to(health.clone()));
        let index = index(&settings, ledger.clone(), provider.space().dimensions)
            .map_err(|error| StartError::Unavailable(error.to_string()))?;
        // An index that is not what the configuration says is told at once. One that cannot be reached is waited for.
        if let Err(IndexError::Unfit(reason)) = index.prepare().await {
            return Err(StartError::Configuration(reason));
        }
        let intake = open_intake(&settings, &ledger).await?;
        let dedup = &settings.dedup;
        Ok(Self {
            limiter: Limiter::new(settings.embedding.rate_limit()),
            estimator: Arc::default(),
            provider_status: Arc::new(ProviderStatus::new(health.clone())),
            cache: VectorCache::new(dedup.max_memory, dedup.ttl.as_duration(), provider.space().dimensions),
            mappers,
            plan: plan_of(&settings, &*provider).into(),
            template: Arc::new(template),
            chunker: Arc::new(chunker),
            intake,
            stdin: StandardInput::default(),
            metrics: Arc::new(Metrics::new()),
            earlier,
            departures: Arc::default(),
            actors: ActorBoard::default(),
            sources: SourceBoard::default(),
            clients: Clients::default(),
            health,
            since: Instant::now(),
            settings,
            ledger,
            provider,
            index,
        })
    }

    /// Answers questions.
    pub fn searcher(&self) -> Searcher {
        let metadata = self.settings.document.metadata.clone().into();
        let (provider, status) = (self.provider.clone(), self.provider_status.clone());
        Searcher::new(provider, Some(status), self.index.clone(), self.ledger.clone(), metadata, &self.metrics)
    }

    /// What a source of this name may need.
    pub fn around<'a>(&'a self, name: &'a str) -> Surroundings<'a> {
        Surroundings {
            name,
            intake: self.intake.as_ref(),
            stdin: &self.stdin,
            document: &self.settings.document,
            metrics: &self.metrics,
            clients: &self.clients,
        }
    }
}

async fn open_intake(settings: &Settings, ledger: &Arc<Ledger>) -> Result<Option<Intake>, StartError> {
    for (name, source) in &settings.sources {
        if let SourceSettings::Http(http) = source {
            let intake = Intake::open(ledger.clone(), name, http.max_pending).await;
            return intake.map(Some).map_err(StartError::Unavailable);
        }
    }
    Ok(None)
}

/// A name for everything that decides which texts, chunks and metadata a document's fields make.
fn plan_of(settings: &Settings, provider: &dyn Provider) -> String {
    let parts = format!(
        "{PLAN_REVISION} {:?} {:?} {:?} {:?} {:?} {}",
        settings.document.text,
        settings.document.metadata,
        settings.document.numbers,
        settings.chunking,
        provider.max_text_tokens(),
        provider.space().key(),
    );
    Sha256::digest(parts).iter().map(|byte| format!("{byte:02x}")).collect()
}
