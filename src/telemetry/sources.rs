//! Which sources there are and what they are doing.

use serde::{Deserialize, Serialize};

use super::board::{Board, Handle};
use super::labels::labels;

/// What every ingestor tells.
pub type SourceBoard = Board<SourceStatus>;

/// One source's place on the board.
pub type SourceHandle = Handle<SourceStatus>;

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourceState,
    /// What is wrong, while it is failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the source itself has to say, also while it reads: that its server cannot be reached, that it waits, or that it
    /// reads a part only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Documents that take room in the window: everything read from the oldest that is not settled on, and what was let go and is still
    /// on its way.
    pub window_documents: u64,
    /// What they hold in memory, bytes.
    pub window_bytes: u64,
    /// Bytes left to read, where the source knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_bytes: Option<u64>,
}

impl SourceStatus {
    /// What a person is to know of it: what it says itself, before how it failed.
    pub fn problem(&self) -> Option<&str> {
        self.remark.as_deref().or(self.reason.as_deref())
    }
}

labels! {
    /// What a source is doing.
    #[derive(Default)]
    pub enum SourceState {
        /// It reads, or its window is full.
        #[default]
        Reading = "reading",
        /// It has nothing to read now; more may come.
        Idle = "idle",
        /// It has nothing more to read, ever.
        Finished = "finished",
        /// It cannot read and is tried again.
        Failing = "failing",
    }
}

impl SourceBoard {
    /// Enters a source as reading.
    pub fn register(&self, name: &str) -> SourceHandle {
        let handle = self.of(name);
        handle.update(|status| *status = SourceStatus::default());
        handle
    }

    /// What these sources are doing, of which some are yet to begin.
    pub fn status_of(&self, names: &[String]) -> Vec<SourceStatus> {
        let board = self.0.lock();
        names.iter().map(|name| board.get(name.as_str()).cloned().unwrap_or_default()).collect()
    }

    /// Takes the sources off it that may not be read any more.
    pub fn keep(&self, stays: impl Fn(&str) -> bool) {
        self.0.lock().retain(|name, _| stays(name));
    }
}

impl SourceHandle {
    /// What the source is doing now, unless it is failing.
    pub fn set_state(&self, state: SourceState) {
        self.update(|status| {
            status.state = state;
            status.reason = None;
        });
    }

    /// The source could not read and is tried again.
    pub fn failing(&self, reason: &str) {
        self.update(|status| {
            status.state = SourceState::Failing;
            status.reason = Some(reason.to_owned());
        });
    }

    /// What the source itself has to say, whatever it is doing.
    pub fn remark(&self, remark: Option<String>) {
        self.update(|status| status.remark = remark);
    }

    /// How much takes room in the window, and how much is left to read.
    pub fn set_window(&self, documents: u64, bytes: u64, remaining_bytes: Option<u64>) {
        self.update(|status| {
            status.window_documents = documents;
            status.window_bytes = bytes;
            status.remaining_bytes = remaining_bytes;
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
    fn what_a_source_says_itself_is_told_before_how_it_failed() {
        let status = |remark: Option<&str>, reason: Option<&str>| SourceStatus {
            remark: remark.map(str::to_owned),
            reason: reason.map(str::to_owned),
            ..SourceStatus::default()
        };
        for (remark, reason, told) in
            [(Some("m"), Some("r"), Some("m")), (None, Some("r"), Some("r")), (None, None, None)]
        {
            assert_eq!(status(remark, reason).problem(), told);
        }
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
        let api = SourceStatus {
            state: SourceState::Failing,
            reason: Some("the disk is gone".into()),
            window_documents: 3,
            window_bytes: 300,
            remaining_bytes: None,
            remark: None,
        };
        assert_eq!(snapshot["api"], api);
        let file = SourceStatus { state: SourceState::Finished, remaining_bytes: Some(0), ..SourceStatus::default() };
        assert_eq!(snapshot["file"], file, "a source that works again has no reason to show");
    }
}
