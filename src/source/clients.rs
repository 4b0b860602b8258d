//! Threads of sources that outlive the actors for a moment: a client says goodbye to its servers before the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;

/// Counts them. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<Register>);

#[derive(Debug, Default)]
struct Register {
    running: watch::Sender<usize>,
    /// How often they were dismissed.
    dismissed: AtomicU64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Client {
    register: Arc<Register>,
    /// How often others were dismissed before it.
    before: u64,
}

impl Clients {
    /// One begins its work.
    pub fn enter(&self) -> Client {
        self.0.running.send_modify(|count| *count += 1);
        Client { register: self.0.clone(), before: self.0.dismissed.load(Relaxed) }
    }

    /// Tells all that there are to end, though their sources do not: those lie on a thread of actors that hangs and was left behind.
    pub fn dismiss(&self) {
        self.0.dismissed.fetch_add(1, Relaxed);
    }

    /// Waits until the last one has ended, but no longer than `patience`; says whether it has.
    pub async fn ended(&self, patience: Duration) -> bool {
        let mut count = self.0.running.subscribe();
        let ended = count.wait_for(|count| *count == 0);
        tokio::time::timeout(patience, ended).await.is_ok()
    }
}

impl Client {
    /// Whether it is to end, whatever its source does.
    pub fn is_dismissed(&self) -> bool {
        self.register.dismissed.load(Relaxed) > self.before
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.register.running.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_last_one_is_waited_for_and_not_for_ever() {
        let clients = Clients::default();
        assert!(clients.ended(Duration::ZERO).await);
        let (one, other) = (clients.enter(), clients.enter());
        drop(one);
        assert!(!clients.ended(Duration::from_secs(5)).await);
        drop(other);
        assert!(clients.ended(Duration::from_secs(5)).await);
    }

    #[test]
    fn who_comes_after_a_dismissal_is_not_dismissed() {
        let clients = Clients::default();
        let before = clients.enter();
        assert!(!before.is_dismissed());
        clients.dismiss();
        assert!(before.is_dismissed() && !clients.enter().is_dismissed());
    }
}
