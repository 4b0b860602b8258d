//! Threads of sources that outlive the actors for a moment: a client says goodbye to its servers before the process ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Counts them. Clones share the count.
#[derive(Debug, Clone)]
pub struct Clients(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Client(Arc<watch::Sender<usize>>);

impl Default for Clients {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Clients {
    /// One begins its work.
    pub fn enter(&self) -> Client {
        self.0.send_modify(|count| *count += 1);
        Client(self.0.clone())
    }

    /// Waits until the last one has ended, and no longer than that; says whether it has.
    pub async fn ended(&self, patience: Duration) -> bool {
        let mut count = self.0.subscribe();
        let ended = count.wait_for(|count| *count == 0);
        tokio::time::timeout(patience, ended).await.is_ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
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
}
