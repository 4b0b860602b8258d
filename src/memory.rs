//! Memory that requests take shares of, so that all together hold no more than there is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long a request waits for room before its caller is asked to come back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Time that is used up by waits, one after the other.
pub(crate) struct Patience(Duration);

/// So many bytes, in whole kibibytes.
pub(crate) struct Pool {
    free: Arc<Semaphore>,
    all: u32,
    holders: &'static str,
}

/// What a request takes of a pool, until it is dropped.
#[derive(Default)]
pub(crate) struct Taken(Option<OwnedSemaphorePermit>);

impl Default for Patience {
    /// That of a request for room.
    fn default() -> Self {
        Self(PATIENCE)
    }
}

impl Patience {
    pub(crate) fn new(time: Duration) -> Self {
        Self(time)
    }

    /// Waits for this, unless the time is up before.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let came = timeout(self.0, what).await.ok();
        self.0 = self.0.saturating_sub(began.elapsed());
        came
    }
}

impl Pool {
    /// `holders`: who takes it, in the plural, as who finds no room is told.
    pub(crate) fn new(bytes: u64, holders: &'static str) -> Self {
        let all = kibibytes(bytes);
        Self { free: Arc::new(Semaphore::new(all as usize)), all, holders }
    }

    /// Takes what is missing for so many bytes as soon as it is free. More than there is takes all. Nobody waits for ever: of requests
    /// that wait for each other one gives up, and what it had is free.
    pub(crate) async fn grow(&self, taken: &mut Taken, bytes: u64, patience: &mut Patience) -> Result<(), NoRoom> {
        let missing = self.missing(taken, bytes);
        if missing > 0 {
            let more = patience.wait(self.free.clone().acquire_many_owned(missing)).await;
            taken.add(more.ok_or(NoRoom(self.holders))?.expect("the semaphore is never closed"));
        }
        Ok(())
    }

    /// As [`Self::grow`], but without waiting. There never is room while anybody waits: who waits has all that is free.
    pub(crate) fn try_grow(&self, taken: &mut Taken, bytes: u64) -> Result<(), NoRoom> {
        let missing = self.missing(taken, bytes);
        if missing > 0 {
            taken.add(self.free.clone().try_acquire_many_owned(missing).map_err(|_| NoRoom(self.holders))?);
        }
        Ok(())
    }

    fn missing(&self, taken: &Taken, bytes: u64) -> u32 {
        kibibytes(bytes).min(self.all).saturating_sub(taken.kibibytes())
    }

    /// Kibibytes that are free.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.free.available_permits()
    }
}

impl Taken {
    /// Gives back what so many bytes do not need.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let surplus = self.kibibytes().saturating_sub(kibibytes(bytes));
        if let Some(held) = &mut self.0 {
            drop(held.split(surplus as usize));
        }
    }

    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.kibibytes()) << 10
    }

    fn kibibytes(&self) -> u32 {
        self.0.as_ref().map_or(0, |held| u32::try_from(held.num_permits()).unwrap_or(u32::MAX))
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// These take all the memory that there is.
#[derive(Debug, thiserror::Error)]
#[error("{0} take all the memory that there is for them; send this request again later")]
pub(crate) struct NoRoom(&'static str);

impl NoRoom {
    /// When to send it again: room comes back whenever another request is done.
    pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
}
