//! Memory that requests take shares of, so that all together hold no more than there is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::ApiError;
use crate::search::SearchError;

/// How long a request waits for room before its caller is asked to come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// When to come back then: room comes back whenever another request is done.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// So many bytes, in whole kibibytes.
pub(super) struct Pool {
    free: Arc<Semaphore>,
    all: u32,
}

/// What a request takes of a pool, until it is dropped.
#[derive(Default)]
pub(super) struct Taken(Option<OwnedSemaphorePermit>);

impl Pool {
    pub(super) fn new(bytes: u64) -> Self {
        let all = kibibytes(bytes);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Takes what is missing for so many bytes as soon as it is free. More than there is takes all.
    pub(super) async fn grow(&self, taken: &mut Taken, bytes: u64) {
        let missing = self.missing(taken, bytes);
        if missing > 0 {
            taken.add(self.free.clone().acquire_many_owned(missing).await.expect("the semaphore is never closed"));
        }
    }

    /// As [`Self::grow`], but whether it is free already. It never is while anybody waits: who waits has all that is free.
    pub(super) fn try_grow(&self, taken: &mut Taken, bytes: u64) -> bool {
        let missing = self.missing(taken, bytes);
        if missing > 0 {
            let Ok(more) = self.free.clone().try_acquire_many_owned(missing) else { return false };
            taken.add(more);
        }
        true
    }

    fn missing(&self, taken: &Taken, bytes: u64) -> u32 {
        kibibytes(bytes).min(self.all).saturating_sub(taken.kibibytes())
    }

    /// Kibibytes that are free.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.free.available_permits()
    }
}

impl Taken {
    /// Gives back what so many bytes do not need.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let surplus = self.kibibytes().saturating_sub(kibibytes(bytes));
        if let Some(held) = &mut self.0 {
            drop(held.split(surplus as usize));
        }
    }

    /// How many bytes they are.
    pub(super) fn bytes(&self) -> u64 {
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

/// Waits some seconds for room. Requests that wait for each other do not wait for ever: one gives up, and what it had is free.
pub(super) async fn patiently(room: impl Future<Output = ()>, holders: &'static str) -> Result<(), NoRoom> {
    timeout(PATIENCE, room).await.map_err(|_| NoRoom(holders))
}

/// These take all the memory that there is.
#[derive(Debug)]
pub(super) struct NoRoom(pub(super) &'static str);

impl From<NoRoom> for SearchError {
    fn from(NoRoom(holders): NoRoom) -> Self {
        let reason = format!("{holders} take all the memory that there is for them; send this request again later");
        Self::Unavailable { reason, retry_after: Some(RETRY_AFTER) }
    }
}

impl From<NoRoom> for ApiError {
    fn from(no_room: NoRoom) -> Self {
        SearchError::from(no_room).into()
    }
}
