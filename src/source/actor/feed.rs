//! A source, and what means nothing without it.

use super::repeats::Repeats;
use crate::source::Source;

/// See the module.
pub(super) struct Feed {
    pub(super) source: Box<dyn Source>,
    /// Whether it was opened.
    pub(super) opened: bool,
    pub(super) repeats: Repeats,
}

impl Feed {
    /// Of a source that is to be opened.
    pub(super) fn of(source: Box<dyn Source>) -> Self {
        Self { source, opened: false, repeats: Repeats::default() }
    }
}
