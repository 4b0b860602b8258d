//! How the records of each source are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::mapping::Mapper;
use crate::settings::Settings;

/// The mappers of all sources. Clones share them.
#[derive(Clone)]
pub struct Mappers {
    by_events: Arc<Mapper>,
    /// Whether records themselves say what they do.
    has_events: bool,
    /// By the names of the configured sources.
    configured: Arc<BTreeMap<String, Arc<Mapper>>>,
}

impl Mappers {
    /// Checks the names of fields in the settings.
    ///
    /// # Errors
    /// Names the setting and what is wrong with it.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let by_events = Arc::new(Mapper::new(&settings.document)?);
        let configured = settings.sources.iter().map(|(name, source)| {
            let own = source.operation().map(|operation| Mapper::of_source(&settings.document, Some(operation)));
            Ok((name.clone(), own.transpose()?.map_or_else(|| by_events.clone(), Arc::new)))
        });
        let configured = Arc::new(configured.collect::<Result<_, String>>()?);
        Ok(Self { by_events, has_events: settings.document.events.is_some(), configured })
    }

    /// That of the source with this name, or one of Vectide's own.
    pub fn of(&self, source: &str) -> Arc<Mapper> {
        self.configured.get(source).unwrap_or(&self.by_events).clone()
    }

    /// That of a source which may not be configured any more. `None` where nothing tells then what its records do: to take those of a list
    /// of prices for whole documents would empty these.
    pub fn of_former(&self, source: &str) -> Option<Arc<Mapper>> {
        (self.has_events || self.configured.contains_key(source)).then(|| self.of(source))
    }
}
