//! What is read before documents are looked at again: the files that have an end. They may bring another text, and the one of now would be
//! paid for in vain.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::settings::{Settings, SourceSettings};
use crate::telemetry::sources::{SourceBoard, SourceState};

/// For so long nothing may come of the files that are waited for: an account without credit may hold them up for ever.
const FILES_TAKE: Duration = Duration::from_secs(300);

/// Whether a file that has an end is read, or what it gave is not settled yet. What has no end is not waited for, nor what does not get on.
pub(super) fn while_files_are_read(settings: &Settings, board: &SourceBoard) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let ends = |settings: &SourceSettings| matches!(settings, SourceSettings::File(file) if !file.follow);
    let sources = settings.sources.iter().filter(|(_, settings)| ends(settings));
    while_they_get_on(board.clone(), sources.map(|(name, _)| name.clone()).collect())
}

fn while_they_get_on(board: SourceBoard, names: Vec<String>) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let seen = Mutex::new((Vec::new(), Instant::now()));
    Arc::new(move || {
        let (now, mut seen) = (board.status_of(&names), seen.lock());
        if now != seen.0 {
            *seen = (now, Instant::now());
        }
        let (sources, since) = &*seen;
        sources.iter().any(|source| source.state == SourceState::Reading) && since.elapsed() < FILES_TAKE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sources_are_waited_for_until_they_have_said_otherwise_or_nothing_comes_of_them() {
        let board = SourceBoard::default();
        let waits = while_they_get_on(board.clone(), ["one", "other"].map(str::to_owned).into());
        board.register("one").set_state(SourceState::Finished);
        assert!(waits(), "the other one has not begun");
        let other = board.register("other");
        for (state, expected) in
            [(SourceState::Reading, true), (SourceState::Idle, false), (SourceState::Finished, false)]
        {
            other.set_state(state);
            assert_eq!(waits(), expected);
        }
        other.failing("it is broken");
        assert!(!waits(), "it may be so for ever");

        other.set_state(SourceState::Reading);
        for left in [3, 2, 1] {
            other.set_window(left, 0, None);
            assert!(waits(), "it gets on");
            tokio::time::advance(FILES_TAKE - Duration::from_millis(1)).await;
            assert!(waits());
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!waits(), "it may take for ever");
        other.set_window(0, 0, None);
        assert!(waits());
        assert!(!while_they_get_on(board, vec![])());
    }
}
