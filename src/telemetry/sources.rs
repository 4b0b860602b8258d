//! Which sources there are and what they are doing.

use super::board::{Board, Handle};
use super::stats::{SourceState, SourceStats};

/// What every ingestor tells.
pub type SourceBoard = Board<SourceStats>;

/// One source's place on the board.
pub type SourceHandle = Handle<SourceStats>;

impl SourceBoard {
    /// Enters a source as reading.
    pub fn register(&self, name: &str) -> SourceHandle {
        let handle = self.of(name);
        handle.update(|stats| *stats = SourceStats::default());
        handle
    }

    /// Takes the sources off it that may not be read any more.
    pub fn keep(&self, stays: impl Fn(&str) -> bool) {
        self.0.lock().retain(|name, _| stays(name));
    }
}

impl SourceHandle {
    /// What the source is doing now, unless it is failing.
    pub fn set_state(&self, state: SourceState) {
        self.update(|stats| {
            stats.state = state;
            stats.reason = None;
        });
    }

    /// The source could not read and is tried again.
    pub fn failing(&self, reason: &str) {
        self.update(|stats| {
            stats.state = SourceState::Failing;
            stats.reason = Some(reason.to_owned());
        });
    }

    /// What the source itself has to say, whatever it is doing.
    pub fn remark(&self, remark: Option<String>) {
        self.update(|stats| stats.remark = remark);
    }

    /// How much was read and is not settled, and how much is left to read.
    pub fn set_window(&self, documents: u64, bytes: u64, remaining_bytes: Option<u64>) {
        self.update(|stats| {
            stats.window_documents = documents;
            stats.window_bytes = bytes;
            stats.remaining_bytes = remaining_bytes;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_any_more_is_taken_off() {
        let board = SourceBoard::default();
        for name in ["catalogue", "replan"] {
            board.register(name);
        }
        board.keep(|name| name == "catalogue");
        assert_eq!(board.snapshot().into_keys().collect::<Vec<_>>(), ["catalogue"]);
    }

    #[test]
    fn the_board_shows_what_was_last_written() {
        let board = SourceBoard::default();
        let (api, file) = (board.register("api"), board.register("file"));
        api.set_window(3, 300, None);
        api.failing("the disk is gone");
        file.failing("no such file");
        file.set_window(0, 0, Some(0));
        file.set_state(SourceState::Finished);
        let snapshot = board.snapshot();
        let api = SourceStats {
            state: SourceState::Failing,
            reason: Some("the disk is gone".into()),
            window_documents: 3,
            window_bytes: 300,
            remaining_bytes: None,
            remark: None,
        };
        assert_eq!(snapshot["api"], api);
        let file = SourceStats { state: SourceState::Finished, remaining_bytes: Some(0), ..SourceStats::default() };
        assert_eq!(snapshot["file"], file, "a source that works again has no reason to show");
    }
}
