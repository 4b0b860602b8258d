//! How the records of each source are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::mapping::Mapper;
use crate::settings::Settings;

/// The mappers of all sources. Clones share them.
#[derive(Clone)]
pub struct Mappers {
    by_events: Arc<Mapper>,
    /// Those of sources that say themselves what their records do.
    own: Arc<BTreeMap<String, Arc<Mapper>>>,
}

impl Mappers {
    /// Checks the names of fields in the settings.
    ///
    /// # Errors
    /// Names the setting and what is wrong with it.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let own = settings.sources.iter().filter_map(|(name, source)| Some((name, source.operation()?)));
        let own = own.map(|(name, operation)| {
            Ok((name.clone(), Arc::new(Mapper::of_source(&settings.document, Some(operation))?)))
        });
        Ok(Self {
            by_events: Arc::new(Mapper::new(&settings.document)?),
            own: Arc::new(own.collect::<Result<_, String>>()?),
        })
    }

    /// That of the source with this name, which may be one that is not configured.
    pub fn of(&self, source: &str) -> Arc<Mapper> {
        self.own.get(source).unwrap_or(&self.by_events).clone()
    }
}
