//! Which sources a generation reads: those of the configuration, and those that Vectide itself adds.

use std::sync::Arc;

use super::Resources;
use super::files_first::while_files_are_read;
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;
use crate::source::actor::MakeSource;
use crate::source::replan::{self, ReplanSource};
use crate::source::replay::{self, ReplaySource};
use crate::source::rewrite::{self, RewriteSource};

/// A source that is to be read, by its name.
pub struct NamedSource {
    /// As configured, or as an internal source calls itself.
    pub name: Arc<str>,
    /// Makes it.
    pub make: MakeSource,
}

/// The configured sources, and Vectide's own: without those, no dead letter is replayed, and a document that the index lacks stays away.
pub async fn sources(resources: &Arc<Resources>) -> Result<Vec<NamedSource>, String> {
    let mut sources = Vec::new();
    for (name, settings) in &resources.settings.sources {
        let make = crate::source::build(settings, resources.around(name))?;
        sources.push(NamedSource { name: name.as_str().into(), make });
    }
    let (ledger, mappers) = (resources.ledger.clone(), resources.mappers.clone());
    sources.push(NamedSource {
        name: replay::NAME.into(),
        make: Arc::new(move || Box::new(ReplaySource::new(ledger.clone(), mappers.clone()))),
    });
    let plan = resources.plan.clone();
    if patiently(&resources.ledger, move |ledger| replan::is_due(ledger, &plan)).await {
        let (ledger, plan) = (resources.ledger.clone(), resources.plan.clone());
        let waits = while_files_are_read(&resources.settings, &resources.sources);
        sources.push(NamedSource {
            name: replan::NAME.into(),
            make: Arc::new(move || {
                Box::new(ReplanSource::new(ledger.clone(), plan.clone()).waiting_while(waits.clone()))
            }),
        });
    }
    if let Some(end) = patiently(&resources.ledger, Ledger::last_unwritten).await {
        let ledger = resources.ledger.clone();
        sources.push(NamedSource {
            name: rewrite::NAME.into(),
            make: Arc::new(move || Box::new(RewriteSource::new(ledger.clone(), end))),
        });
    }
    Ok(sources)
}
