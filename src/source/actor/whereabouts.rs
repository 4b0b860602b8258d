//! Where the source is: it does one thing at a time, and is away from the ingestor while it does.

use crate::source::Source;

/// See the module.
pub(super) enum Whereabouts {
    Here(Box<dyn Source>),
    Out(Out),
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
    pub(super) fn send(&mut self, out: Out) -> Option<Box<dyn Source>> {
        match std::mem::replace(self, Self::Out(out)) {
            Self::Here(source) => Some(source),
            before => {
                *self = before;
                None
            }
        }
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Whether it is just learning what was committed.
    pub(super) fn is_being_told(&self) -> bool {
        matches!(self, Self::Out(Out::Telling | Out::Reading { tells: true }))
    }
}
