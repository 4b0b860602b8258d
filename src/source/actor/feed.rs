//! A source, and what means nothing without it.

use super::repeats::Repeats;
use crate::source::{Position, Source, SourceError};

/// See the module.
pub(super) struct Feed {
    pub(super) source: Box<dyn Source>,
    /// Whether it was opened.
    pub(super) opened: bool,
    /// What it is to be told on its errand: what was committed since it was told last.
    pub(super) untold: Vec<Position>,
    /// How many of these it was told.
    pub(super) told: usize,
    pub(super) repeats: Repeats,
}

impl Feed {
    /// Of a source that is to be opened.
    pub(super) fn of(source: Box<dyn Source>) -> Self {
        Self { source, opened: false, untold: Vec::new(), told: 0, repeats: Repeats::default() }
    }

    /// Tells the source what was committed.
    pub(super) async fn tell(&mut self) -> Result<(), SourceError> {
        if !self.untold.is_empty() {
            self.source.committed(&self.untold).await?;
        }
        self.told = self.untold.len();
        Ok(())
    }
}
