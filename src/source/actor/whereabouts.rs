//! Where the source is: it does one thing at a time, and is away from the ingestor while it does.

use super::repeats::Repeats;
use crate::source::Source;

/// See the module.
pub(super) enum Whereabouts {
    Here(Feed),
    Out(Out),
}

/// A source, and what means nothing without it.
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

/// What the source is away for.
pub(super) enum Out {
    /// It is read. If it `tells`, the source learns first what was committed.
    Reading { tells: bool },
    /// It looks after itself.
    Watching,
    /// It learns what was committed.
    Telling,
    /// It failed, and is left alone for a while.
    Pausing,
}

impl Whereabouts {
    /// The source, if it is here: it is away for this from now on.
    pub(super) fn send(&mut self, out: Out) -> Option<Feed> {
        match std::mem::replace(self, Self::Out(out)) {
            Self::Here(feed) => Some(feed),
            before => {
                *self = before;
                None
            }
        }
    }

    /// The source is here again.
    pub(super) fn back(&mut self, feed: Feed) {
        *self = Self::Here(feed);
    }

    /// Whether the source is here and open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Here(Feed { opened: true, .. }))
    }

    /// Whether it is just learning what was committed.
    pub(super) fn is_being_told(&self) -> bool {
        matches!(self, Self::Out(Out::Telling | Out::Reading { tells: true }))
    }
}
