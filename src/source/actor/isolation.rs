//! Suspects, which were lost too often to travel with others: each waits for its turn to travel alone.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

/// The suspects of one source.
#[derive(Default)]
pub(super) struct Isolation {
    /// Those that are not on their way, the next one first.
    waiting: VecDeque<u64>,
    turn: Turn,
}

/// The right to be the only suspect on its way, of all sources: two could end up in one write, and the innocent one be taken for the
/// guilty one.
#[derive(Default)]
enum Turn {
    #[default]
    None,
    Awaited,
    /// This one is on its way.
    Of {
        number: u64,
        _permit: OwnedSemaphorePermit,
    },
}

impl Isolation {
    /// Adds suspects, to have their turns behind the others.
    pub(super) fn add(&mut self, suspects: impl IntoIterator<Item = u64>) {
        self.waiting.extend(suspects);
    }

    /// Whether a suspect is on its way or waits.
    pub(super) fn has_suspects(&self) -> bool {
        !self.waiting.is_empty() || matches!(self.turn, Turn::Of { .. })
    }

    /// Whether a suspect is on its way, or about to be, and nothing else is to go with it.
    pub(super) fn keeps_others_back(&self) -> bool {
        // A turn that is still awaited when the last of them is let go is nobody's.
        self.has_suspects() && !matches!(self.turn, Turn::None)
    }

    /// Whether a suspect waits, and no turn was asked for.
    pub(super) fn wants_turn(&self) -> bool {
        !self.waiting.is_empty() && matches!(self.turn, Turn::None)
    }

    /// The turn is asked for.
    pub(super) fn await_turn(&mut self) {
        self.turn = Turn::Awaited;
    }

    /// The turn is here: the suspect that is to go on its way, if one is left.
    pub(super) fn begin_turn(&mut self, permit: OwnedSemaphorePermit) -> Option<u64> {
        self.turn = Turn::None;
        let number = self.waiting.pop_front()?;
        self.turn = Turn::Of { number, _permit: permit };
        Some(number)
    }

    /// The turn is here, and others are on their way: it is asked for again when they are back.
    pub(super) fn forgo_turn(&mut self) {
        self.turn = Turn::None;
    }

    /// A delivery is no longer on its way. If it travelled alone, its turn is over.
    pub(super) fn end_turn(&mut self, number: u64) {
        if matches!(self.turn, Turn::Of { number: one, .. } if one == number) {
            self.turn = Turn::None;
        }
    }

    /// Forgets suspects that are no longer to be delivered here. One that is on its way keeps its turn: it can harm others until it is
    /// back.
    pub(super) fn retain(&mut self, is_open: impl Fn(u64) -> bool) {
        self.waiting.retain(|number| is_open(*number));
    }
}
