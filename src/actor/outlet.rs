//! A bounded edge between two actors.
//!
//! A sender first takes a *credit*; only then is there a message. The receiver gives the credit back when the work is done, by
//! dropping it, so the number of credits bounds what is queued *and* what is worked on.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The right to have one message on an edge. Dropping it lets the next one through.
#[derive(Debug)]
pub struct Credit {
    _permit: OwnedSemaphorePermit,
}

/// A message with its credit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Parcel<M: 'static> {
    /// What is sent.
    pub body: M,
    /// To be dropped when the work on `body` is done, not when its handler returns.
    pub credit: Credit,
}

/// The receiver is gone for good. A sender treats it as "stop": the generation is ending.
#[derive(Debug)]
pub struct Closed;

/// Told how many seconds a sender waited for a credit.
pub type WaitMeter = Arc<dyn Fn(f64) + Send + Sync>;

/// The sending end of an edge.
pub struct Outlet<M: Send + 'static> {
    to: Recipient<Parcel<M>>,
    credits: Arc<Semaphore>,
    waited: WaitMeter,
}

impl<M: Send + 'static> Clone for Outlet<M> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), credits: self.credits.clone(), waited: self.waited.clone() }
    }
}

impl<M: Send + 'static> Outlet<M> {
    /// An edge to an actor whose mailbox holds at least `credits + 1` messages (see [`super::guard::spawn`]).
    pub fn new<A>(to: Addr<A>, credits: usize, waited: WaitMeter) -> Self
    where
        A: Actor + Handler<Parcel<M>>,
        A::Context: ToEnvelope<A, Parcel<M>>,
    {
        Self { to: to.recipient(), credits: Arc::new(Semaphore::new(credits)), waited }
    }

    /// Waits for a credit, then sends.
    pub async fn send(&self, body: M) -> Result<(), Closed> {
        self.reserve().await.send(body)
    }

    /// Waits for a credit and keeps it, for a sender that decides what to send only when it may.
    pub async fn reserve(&self) -> Slot<M> {
        let permit = match self.credits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let since = Instant::now();
                let permit = self.credits.clone().acquire_owned().await.expect("the semaphore is never closed");
                (self.waited)(since.elapsed().as_secs_f64());
                permit
            }
        };
        Slot { to: self.to.clone(), credit: Credit { _permit: permit } }
    }

    /// How many credits are free now.
    pub fn free(&self) -> usize {
        self.credits.available_permits()
    }
}

/// A reserved place on an edge. Dropped unused, it gives its credit back.
pub struct Slot<M: Send + 'static> {
    to: Recipient<Parcel<M>>,
    credit: Credit,
}

impl<M: Send + 'static> Slot<M> {
    /// Sends on the reserved place.
    pub fn send(self, body: M) -> Result<(), Closed> {
        // `Full` cannot happen: the mailbox has room for every credit there is.
        self.to.try_send(Parcel { body, credit: self.credit }).map_err(|_| Closed)
    }
}
