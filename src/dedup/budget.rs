//! What large documents may take between their plan and the index. The window of their source bounds records; but a record of a few bytes
//! may bring a whole document back from the ledger, with the texts that are made of it and their vectors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Documents of fewer bytes are bounded well enough by their number, and are not counted.
const SMALL: usize = 4096;

/// How many bytes planned documents may take. Whoever holds some of it never waits for more, so all of it comes back.
pub struct Budget {
    most: usize,
    taken: AtomicUsize,
    room: Notify,
}

/// What one document takes of the budget; dropped, it comes back.
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// At most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0), room: Notify::new() }
    }

    /// How many bytes to plan at once: an eighth of the budget, which bounds how far it can be overrun.
    pub fn step(&self) -> usize {
        self.most / 8
    }

    /// Waits until some of it is free.
    pub async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Before the look: what comes back after it is not missed.
            room.as_mut().enable();
            if self.taken.load(Ordering::SeqCst) < self.most {
                return;
            }
            room.await;
        }
    }

    /// Takes these bytes, whether or not there is room: what was planned is in memory already. Nothing for a small document.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        (bytes >= SMALL).then(|| {
            self.taken.fetch_add(bytes, Ordering::SeqCst);
            Share { budget: self.clone(), bytes }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Budget { most, taken, room } = &*self.budget;
        let before = taken.fetch_sub(self.bytes, Ordering::SeqCst);
        if before >= *most && before - self.bytes < *most {
            room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_is_room_again_for_all_who_wait_when_enough_came_back() {
        let budget = Arc::new(Budget::new(3 * SMALL));
        assert!(budget.take(SMALL - 1).is_none());
        let (one, two) = (budget.take(2 * SMALL).unwrap(), budget.take(4 * SMALL).unwrap());
        let (mut first, mut second) = (Box::pin(budget.room()), Box::pin(budget.room()));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(one);
        assert!(first.as_mut().now_or_never().is_none(), "one of them alone is too much");
        drop(two);
        assert!(first.now_or_never().is_some() && second.now_or_never().is_some());
        assert_eq!(budget.taken.load(Ordering::SeqCst), 0);
    }
}
