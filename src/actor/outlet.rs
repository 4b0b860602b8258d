//! A bounded edge between two actors.
//!
//! A sender first takes a *credit*; only then is there a message. The receiver gives the credit back when the work is done, by
//! dropping it, so the number of credits bounds what is queued *and* what is worked on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often a wait that lasts is counted: a stall shows while it lasts, and is not lost with a sender that is dropped in it.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

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

/// Told how many seconds a sender waited for a credit: once a second while it waits, and at the end.
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
            Err(_) => self.wait().await,
        };
        Slot { to: self.to.clone(), credit: Credit { _permit: permit } }
    }

    async fn wait(&self) -> OwnedSemaphorePermit {
        let mut coming = pin!(self.credits.clone().acquire_owned());
        let mut since = Instant::now();
        loop {
            let permit = tokio::time::timeout(COUNTED_EVERY, &mut coming).await;
            let now = Instant::now();
            (self.waited)((now - since).as_secs_f64());
            since = now;
            if let Ok(permit) = permit {
                return permit.expect("the semaphore is never closed");
            }
        }
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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::testkit::World;

    #[test]
    fn a_wait_is_counted_while_it_lasts_and_no_second_twice() {
        World::run(1, async |world| {
            let (_receiver, mut outlet) = world.probe::<()>("receiver", 1);
            let seconds = Arc::new(Mutex::new(0.0));
            let counted = seconds.clone();
            outlet.waited = Arc::new(move |seconds| *counted.lock() += seconds);
            let counted = || (*seconds.lock() * 10.0_f64).round() / 10.0;

            let slot = outlet.reserve().await;
            assert_eq!(counted(), 0.0, "a credit was free");
            let stalled = tokio::time::timeout(Duration::from_millis(60_500), outlet.reserve()).await;
            assert!(stalled.is_err());
            assert_eq!(counted(), 60.0, "though the sender was dropped before a credit came");
            let back = async {
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                drop(slot);
            };
            tokio::join!(outlet.reserve(), back);
            assert_eq!(counted(), 62.5);
        });
    }
}
