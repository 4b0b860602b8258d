//! What commands open to look at what `run` wrote. All of it works while `run` is running and when it is not.

use std::sync::Arc;

use anyhow::Context;

use crate::embed;
use crate::index::{self, space};
use crate::ledger::{Ledger, LedgerError};
use crate::pipeline::resources::StartError;
use crate::search::Searcher;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// The ledger, to read.
pub fn ledger(settings: &Settings) -> anyhow::Result<Ledger> {
    of_this_pipeline(Ledger::open_to_read(&settings.state.path), settings)
}

/// The ledger, to read it and to edit its dead letters.
pub fn ledger_to_edit(settings: &Settings) -> anyhow::Result<Ledger> {
    of_this_pipeline(Ledger::open_to_edit(&settings.state.path), settings)
}

/// What another pipeline holds is nothing to answer with, and its dead letters are not for this one to drop. Ends as `run` would.
fn of_this_pipeline(ledger: Result<Ledger, LedgerError>, settings: &Settings) -> anyhow::Result<Ledger> {
    let ours = ledger.and_then(|ledger| ledger.check_pipeline(&settings.pipeline).map(|()| ledger));
    Ok(ours.map_err(StartError::from)?)
}

/// What answers searches, and the ledger that it reads. To be called inside [`block_on`].
///
/// # Errors
/// The configuration names another model than the one that the index was made with, among others.
pub fn searcher(settings: &Settings) -> anyhow::Result<(Searcher, Arc<Ledger>)> {
    let ledger = Arc::new(ledger(settings)?);
    let provider = embed::build(&settings.embedding).map_err(StartError::Configuration)?;
    space::compare(&ledger, provider.space()).map_err(StartError::from)?;
    let index = index::build(settings, ledger.clone(), provider.space().dimensions)?;
    let metadata = settings.document.metadata.clone().into();
    let searcher = Searcher::new(provider, None, index, ledger.clone(), metadata, &Metrics::new());
    Ok((searcher, ledger))
}

/// Runs async work to its end on this thread.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime could not be started")?.block_on(work)
}
