//! Which actors there are and how they are doing.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::board::{Board, Handle};
use super::calendar;
use super::labels::labels;

labels! {
    /// What an actor is doing.
    #[derive(Default)]
    pub enum ActorState {
        /// At work, or waiting for some.
        #[default]
        Running = "running",
        /// It panicked and waits out a pause before it goes on.
        Restarting = "restarting",
        /// It ended.
        Stopped = "stopped",
    }
}

/// One actor's entry on the board.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActorStatus {
    /// What it is doing.
    pub state: ActorState,
    /// How often it was restarted since the process started.
    pub restarts: u64,
    /// Its last panic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_panic: Option<Panic>,
}

/// A panic of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// What it said.
    pub reason: String,
    /// When it was: an RFC 3339 time in UTC.
    pub at: String,
}

/// What every actor's guard tells.
pub type ActorBoard = Board<ActorStatus>;

/// One actor's place on the board.
pub type ActorHandle = Handle<ActorStatus>;

impl ActorBoard {
    /// Enters an actor as running. An actor that was entered before (an earlier generation) keeps its count of restarts.
    pub fn register(&self, name: &str) -> ActorHandle {
        let handle = self.of(name);
        handle.running();
        handle
    }

    /// All actors ended together.
    pub fn all_stopped(&self) {
        self.0.lock().values_mut().for_each(|status| status.state = ActorState::Stopped);
    }
}

impl ActorHandle {
    /// The actor works again, after a pause or a rebuild.
    pub fn running(&self) {
        self.update(|status| status.state = ActorState::Running);
    }

    /// The actor panicked and will be restarted.
    pub fn panicked(&self, message: &str) {
        self.update(|status| {
            status.state = ActorState::Restarting;
            status.restarts += 1;
            status.last_panic = Some(Panic { reason: message.to_owned(), at: calendar::of(SystemTime::now()) });
        });
    }

    /// The actor ended.
    pub fn stopped(&self) {
        self.update(|status| status.state = ActorState::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn the_board_shows_what_was_last_written_and_counts_across_generations() {
        let board = ActorBoard::default();
        let batcher = board.register("batcher");
        batcher.panicked("index out of bounds");
        assert_eq!(board.snapshot()["batcher"].state, ActorState::Restarting);
        batcher.running();
        batcher.stopped();
        board.register("batcher").panicked("again");
        board.register("embedder");
        let snapshot = board.snapshot();
        let status = &snapshot["batcher"];
        assert_eq!((status.state, status.restarts), (ActorState::Restarting, 2));
        let last = status.last_panic.as_ref().unwrap();
        assert_eq!(last.reason, "again");
        OffsetDateTime::parse(&last.at, &Rfc3339).unwrap();
        assert_eq!(snapshot["embedder"], ActorStatus::default());
        board.all_stopped();
        assert!(board.snapshot().values().all(|status| status.state == ActorState::Stopped));
        assert_eq!(board.snapshot()["batcher"].restarts, 2);
    }
}
